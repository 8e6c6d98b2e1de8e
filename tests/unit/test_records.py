"""The record layer: nothing is lost between writers, between program versions, or with an answer."""

from __future__ import annotations

import json
import threading
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from outhaul.errors import Conflict, Failed, NotFound, Refused
from outhaul.run.record import Run, RunState
from outhaul.service.record import Score, Service, Version
from outhaul.store.format import merged
from outhaul.store.records import Records
from tests.fakes import FakeObjectStore


class Counter(msgspec.Struct, kw_only=True):
    schema: int = 1
    value: int = 0


def service(**fields: Any) -> Service:
    version = Version(number=1, created_at="2026-01-01", snapshot="s", environment="e", score=Score(script="score.py"))
    given = {"name": "digits", "created_at": "2026-01-01", "updated_at": "2026-01-01", "versions": [version], **fields}
    return Service(**given)


@pytest.fixture
def store() -> FakeObjectStore:
    return FakeObjectStore()


@pytest.fixture
def records(store: FakeObjectStore) -> Records:
    return Records(store, pause=lambda seconds: None)


def stored_json(store: FakeObjectStore, key: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(store.get(key)[0])
    return found


def test_a_created_record_is_read_back_with_its_etag(records: Records, store: FakeObjectStore) -> None:
    etag = records.create("services/digits.json", service())
    assert records.read("services/digits.json", Service) == (service(), etag)
    assert store.get("services/digits.json")[1] == etag


def test_a_second_create_is_a_conflict_and_changes_nothing(records: Records) -> None:
    records.create("c.json", Counter(value=1))
    with pytest.raises(Conflict):
        records.create("c.json", Counter(value=2))
    assert records.read("c.json", Counter)[0].value == 1


def test_an_absent_record_is_found_as_none_and_cannot_be_read_or_updated(records: Records) -> None:
    assert records.find("c.json", Counter) is None
    with pytest.raises(NotFound):
        records.read("c.json", Counter)
    with pytest.raises(NotFound):
        records.update("c.json", Counter, lambda c: c)


def test_upsert_makes_the_absent_record_and_changes_the_present_one(records: Records) -> None:
    def plus_one(found: Counter | None) -> Counter:
        return Counter(value=found.value + 1 if found else 1)

    assert records.upsert("c.json", Counter, plus_one).value == 1
    assert records.upsert("c.json", Counter, plus_one).value == 2


def test_equal_records_are_different_objects_because_of_the_nonce(records: Records, store: FakeObjectStore) -> None:
    records.create("a.json", Counter())
    records.create("b.json", Counter())
    assert stored_json(store, "a.json")["nonce"] != stored_json(store, "b.json")["nonce"]


def test_no_increment_of_eight_writers_is_lost(records: Records) -> None:
    records.create("c.json", Counter())

    def work() -> None:
        for _ in range(25):
            records.update("c.json", Counter, lambda c: Counter(value=c.value + 1), attempts=10_000)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert records.read("c.json", Counter)[0].value == 200


def test_a_writer_that_is_overtaken_every_time_gives_up_with_a_conflict(records: Records) -> None:
    records.create("c.json", Counter())
    other = Records(records.store)

    def overtaken(counter: Counter) -> Counter:
        other.update("c.json", Counter, lambda c: Counter(value=c.value + 1))
        return Counter(value=-1)

    with pytest.raises(Conflict, match="too many writers"):
        records.update("c.json", Counter, overtaken, attempts=3)
    assert records.read("c.json", Counter)[0].value == 3


def test_an_error_of_the_change_passes_through_and_nothing_is_written(records: Records) -> None:
    etag = records.create("c.json", Counter())

    def refuse(counter: Counter) -> Counter:
        counter.value = 9
        raise Refused("no", "no")

    with pytest.raises(Refused):
        records.update("c.json", Counter, refuse)
    assert records.read("c.json", Counter) == (Counter(), etag)


def test_a_change_in_place_is_written_and_an_equal_result_is_not(records: Records) -> None:
    etag = records.create("c.json", Counter())

    def in_place(counter: Counter) -> Counter:
        counter.value = 5
        return counter

    records.update("c.json", Counter, lambda c: Counter(value=c.value))
    assert records.read("c.json", Counter)[1] == etag
    records.update("c.json", Counter, in_place)
    assert records.read("c.json", Counter)[0].value == 5


def test_a_write_whose_answer_was_lost_counts_once(records: Records, store: FakeObjectStore) -> None:
    store.lose_next_answer = True
    records.create("c.json", Counter())
    store.lose_next_answer = True
    records.update("c.json", Counter, lambda c: Counter(value=c.value + 1))
    assert records.read("c.json", Counter)[0].value == 1


def test_an_older_program_keeps_what_a_newer_one_wrote_at_every_depth(records: Records, store: FakeObjectStore) -> None:
    records.create("s.json", service())
    newer = stored_json(store, "s.json")
    newer["colour"] = {"deep": [1]}
    newer["versions"][0]["spec"]["auto_scaler"]["mood"] = "calm"
    newer["versions"][0]["score"]["entry"] = "main"
    store.put("s.json", json.dumps(newer).encode())

    def add_version(found: Service) -> Service:
        second = msgspec.structs.replace(found.versions[0], number=2)
        return msgspec.structs.replace(found, versions=[second, *found.versions], state="Healthy")

    records.update("s.json", Service, add_version)
    after = stored_json(store, "s.json")
    assert after["colour"] == {"deep": [1]}
    assert [v["number"] for v in after["versions"]] == [2, 1]
    assert after["versions"][1]["spec"]["auto_scaler"]["mood"] == "calm"
    assert after["versions"][1]["score"]["entry"] == "main"
    assert "entry" not in after["versions"][0]["score"]
    assert after["state"] == "Healthy"


def test_an_entry_that_was_taken_out_of_a_dictionary_stays_out(records: Records) -> None:
    run = Run(id="r", name="n", project="p", kind="train", created_at="now", metrics={"a": 1, "b": 2})
    records.create("r.json", run)
    records.update("r.json", Run, lambda r: msgspec.structs.replace(r, metrics={"b": 3}, state=RunState.RUNNING))
    found = records.read("r.json", Run)[0]
    assert (found.metrics, found.state) == ({"b": 3}, RunState.RUNNING)


def test_a_newer_schema_is_refused_with_the_remedy_for_reading_and_writing(
    records: Records, store: FakeObjectStore
) -> None:
    store.put("c.json", b'{"schema": 2, "value": 1}')
    with pytest.raises(Refused, match="upgrade outhaul"):
        records.read("c.json", Counter)
    with pytest.raises(Refused, match="upgrade outhaul"):
        records.update("c.json", Counter, lambda c: Counter(value=9))
    assert stored_json(store, "c.json")["value"] == 1


def test_an_older_schema_is_upgraded_when_it_is_written(records: Records, store: FakeObjectStore) -> None:
    store.put("c.json", b'{"schema": 0, "value": 1}')
    assert records.read("c.json", Counter)[0] == Counter(value=1)
    records.update("c.json", Counter, lambda c: Counter(value=2))
    assert stored_json(store, "c.json")["schema"] == 1


@pytest.mark.parametrize(
    "data",
    [b"", b"{", b"[]", b'{"value": 1}', b'{"schema": "1"}', b'{"schema": 1, "value": "x"}', b"\xff\xfe", b'"\xff"'],
)
def test_a_corrupt_record_fails_with_its_key(records: Records, store: FakeObjectStore, data: bytes) -> None:
    store.put("models/m/1.json", data)
    with pytest.raises(Failed, match=r"models/m/1\.json") as caught:
        records.read("models/m/1.json", Counter)
    assert caught.value.code == "record-corrupt"


def test_a_listing_holds_the_records_below_the_prefix_only(records: Records, store: FakeObjectStore) -> None:
    for number, key in enumerate(["models/b/1.json", "models/a/2.json", "models/a/1.json", "other/d.json"]):
        records.create(key, Counter(value=number))
    store.put("models/a.zip", b"no record")
    assert [record.value for record in records.list("models/", Counter)] == [2, 1, 0]


json_values = st.recursive(
    st.integers() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=2), inner, max_size=3),
    max_leaves=12,
)


@given(json_values, json_values)
def test_merging_without_unknown_fields_gives_what_the_change_gave(before: Any, after: Any) -> None:
    assert merged(before, before, after) == after


@given(st.dictionaries(st.text(max_size=2), json_values, max_size=4), st.data())
def test_merging_an_unchanged_record_gives_the_stored_one(stored: dict[str, Any], data: st.DataObject) -> None:
    known = {name: stored[name] for name in stored if data.draw(st.booleans())}
    assert merged(stored, known, known) == stored
