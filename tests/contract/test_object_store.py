"""The contract of ObjectStore, over every adapter. Only what a store on the network can promise, too, is asked here."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pytest

from outhaul.adapters.folder_store import FolderStore
from outhaul.errors import Conflict, Denied, Failed, NotFound, Refused
from outhaul.ports import ObjectStore
from outhaul.store.records import Records
from tests.fakes import FakeObjectStore


@pytest.fixture(params=["fake", "folder"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> ObjectStore:
    return FakeObjectStore() if request.param == "fake" else FolderStore(tmp_path / "store")


@pytest.fixture
def folder_store(tmp_path: Path) -> FolderStore:
    return FolderStore(tmp_path / "store")


def test_what_was_put_is_got_with_the_etag_that_put_returned(store: ObjectStore) -> None:
    etag = store.put("a/b.json", b"one")
    assert store.get("a/b.json") == (b"one", etag)


def test_every_description_of_an_object_agrees(store: ObjectStore) -> None:
    etag = store.put("a/b.json", b"one")
    head = store.head("a/b.json")
    assert head is not None
    assert (head.key, head.etag, head.bytes) == ("a/b.json", etag, 3)
    assert list(store.list("a/")) == [head]


def test_an_empty_store_has_nothing(store: ObjectStore) -> None:
    assert store.head("a") is None
    assert list(store.list("")) == []


def test_an_absent_object_is_not_found(store: ObjectStore, tmp_path: Path) -> None:
    store.put("a/b", b"1")
    for key in ("a/c", "a", "a/b/c"):
        with pytest.raises(NotFound):
            store.get(key)
        with pytest.raises(NotFound):
            store.download(key, tmp_path / "target")
        assert store.head(key) is None
    assert not (tmp_path / "target").exists()


def test_an_unconditional_put_replaces(store: ObjectStore) -> None:
    first = store.put("a", b"1")
    second = store.put("a", b"2")
    assert first != second
    assert store.get("a") == (b"2", second)


def test_put_if_absent_takes_a_free_key_once(store: ObjectStore) -> None:
    store.put("a", b"1", if_absent=True)
    with pytest.raises(Conflict) as caught:
        store.put("a", b"2", if_absent=True)
    assert caught.value.code == "object-changed"
    assert store.get("a")[0] == b"1"


def test_put_if_match_replaces_only_what_it_names(store: ObjectStore) -> None:
    first = store.put("a", b"1")
    second = store.put("a", b"2", if_match=first)
    with pytest.raises(Conflict) as caught:
        store.put("a", b"3", if_match=first)
    assert caught.value.code == "object-changed"
    assert store.get("a") == (b"2", second)


def test_put_if_match_on_an_absent_key_is_a_conflict(store: ObjectStore) -> None:
    with pytest.raises(Conflict):
        store.put("a", b"1", if_match="0-0")
    assert store.head("a") is None


def test_quick_rewrites_of_equal_size_have_etags_of_their_own(store: ObjectStore) -> None:
    etags = [store.put("a", b"%4d" % number) for number in range(200)]
    assert len(set(etags)) == 200


def test_a_file_is_uploaded_and_downloaded_with_progress(store: ObjectStore, tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    source.write_bytes(os.urandom(3_500_000))
    up: list[tuple[int, int]] = []
    down: list[tuple[int, int]] = []
    etag = store.upload("a/big", source, lambda done, total: up.append((done, total)))
    store.download("a/big", target, lambda done, total: down.append((done, total)))
    assert target.read_bytes() == source.read_bytes()
    assert store.get("a/big")[1] == etag
    assert up[-1] == down[-1] == (3_500_000, 3_500_000)
    assert up == sorted(up)


def test_uploading_an_absent_file_is_not_found(store: ObjectStore, tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        store.upload("a", tmp_path / "absent")
    assert store.head("a") is None


def test_a_download_replaces_the_target(store: ObjectStore, tmp_path: Path) -> None:
    store.put("a", b"new")
    (tmp_path / "target").write_bytes(b"old")
    store.download("a", tmp_path / "target")
    assert (tmp_path / "target").read_bytes() == b"new"


def test_listings_are_sorted_by_key_and_begin_with_the_prefix(store: ObjectStore) -> None:
    keys = ["runs/a.json", "runs/a/x", "runs/a/y/z", "runs/a-b", "runs/ab", "runs/b", "run", "zoo/a"]
    for key in keys:
        store.put(key, b"")
    assert [s.key for s in store.list("")] == sorted(keys)
    assert [s.key for s in store.list("runs/a")] == sorted(k for k in keys if k.startswith("runs/a"))
    assert [s.key for s in store.list("runs/a/")] == ["runs/a/x", "runs/a/y/z"]
    assert list(store.list("nothing/here/")) == []
    assert list(store.list("run/under/an/object")) == []


def test_deleting_is_final_and_absent_is_fine(store: ObjectStore) -> None:
    store.put("a/b", b"1")
    store.delete("a/b")
    store.delete("a/b")
    store.delete("never/was")
    assert store.head("a/b") is None
    assert list(store.list("")) == []


@pytest.mark.parametrize("key", ["../a", "a/../b", "/a", "a//b", "a/", "", "./a", "a/..", "a\0b", "\udcff", "x" * 300])
def test_a_key_that_would_leave_the_store_is_refused(folder_store: FolderStore, key: str, tmp_path: Path) -> None:
    with pytest.raises(Refused):
        folder_store.put(key, b"1")
    assert not (tmp_path / "store").exists()


@pytest.mark.parametrize("key", ["white space", "äöü/日本", "a'\"$`;*?", "-rf", "~", "%2e%2e", ".hidden", "new\nline"])
def test_odd_names_are_names(store: ObjectStore, key: str) -> None:
    store.put(key, b"1")
    assert [s.key for s in store.list("")] == [key]
    assert store.get(key)[0] == b"1"


class Counter(msgspec.Struct, kw_only=True):
    schema: int = 1
    value: int = 0


def test_of_many_threads_one_creates(store: ObjectStore) -> None:
    won: list[int] = []
    lost: list[str] = []
    gate = threading.Barrier(8)

    def create(number: int) -> None:
        gate.wait()
        try:
            store.put("a", b"%d" % number, if_absent=True)
            won.append(number)
        except Conflict as error:
            lost.append(error.code)

    threads = [threading.Thread(target=create, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert store.get("a")[0] == b"%d" % won[0]
    assert lost == ["object-changed"] * 7


COUNT = """
import sys
from pathlib import Path
from outhaul.adapters.folder_store import FolderStore
from outhaul.store.records import Records
from tests.contract.test_object_store import Counter

records = Records(FolderStore(Path(sys.argv[1])))
for _ in range(50):
    records.update("c.json", Counter, lambda c: Counter(value=c.value + 1), attempts=1000)
"""


def test_no_increment_of_four_processes_is_lost(folder_store: FolderStore, tmp_path: Path) -> None:
    records = Records(folder_store)
    records.create("c.json", Counter())
    command = [sys.executable, "-c", COUNT, str(tmp_path / "store")]
    processes = [subprocess.Popen(command, cwd=Path(__file__).parents[2]) for _ in range(4)]
    assert [process.wait(30) for process in processes] == [0] * 4
    assert records.read("c.json", Counter)[0].value == 200


HALF_AN_UPLOAD = """
import sys, time
from pathlib import Path
from outhaul.adapters.folder_store import FolderStore

def stall(done, total):
    if done >= total // 2:
        print("half", flush=True)
        time.sleep(60)

FolderStore(Path(sys.argv[1])).upload("a/big", Path(sys.argv[2]), stall)
"""


def test_an_upload_that_is_killed_halfway_leaves_nothing_visible(folder_store: FolderStore, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.write_bytes(b"x" * 8_000_000)
    command = [sys.executable, "-c", HALF_AN_UPLOAD, str(tmp_path / "store"), str(source)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"half\n"
        assert folder_store.sweep() == 0, "the writer is alive"
        process.send_signal(signal.SIGKILL)
    assert list(folder_store.list("")) == []
    assert folder_store.head("a/big") is None
    uploads = tmp_path / "store/.outhaul/uploads"
    assert len(list(uploads.iterdir())) == 1
    folder_store.put("b", b"1")
    assert list(uploads.iterdir()) == [], "the first write of a program sweeps"
    folder_store.upload("a/big", source)
    assert [s.bytes for s in folder_store.list("")] == [8_000_000, 1]


def test_a_reader_sees_whole_objects_only_while_they_are_rewritten(folder_store: FolderStore) -> None:
    folder_store.put("a", b"0" * 20_000)
    seen: set[bytes] = set()
    done = threading.Event()

    def read() -> None:
        while not done.is_set():
            data = folder_store.get("a")[0]
            seen.add(data[:1] if data == data[:1] * 20_000 else b"torn")

    reader = threading.Thread(target=read)
    reader.start()
    for number in range(60):
        folder_store.put("a", b"%d" % (number % 10) * 20_000)
    done.set()
    reader.join()
    assert b"torn" not in seen
    assert seen


def test_an_object_in_the_place_of_a_folder_is_a_conflict(folder_store: FolderStore) -> None:
    folder_store.put("a", b"1")
    folder_store.put("b/c", b"1")
    for key in ("a/b", "b"):
        with pytest.raises(Conflict) as caught:
            folder_store.put(key, b"2")
        assert caught.value.code == "object-in-the-way"
    assert [s.key for s in folder_store.list("")] == ["a", "b/c"]


def test_the_stores_own_files_are_neither_listed_nor_reachable(folder_store: FolderStore) -> None:
    folder_store.put("a", b"1")
    with pytest.raises(Refused):
        folder_store.get(".outhaul/locks/00")


@contextmanager
def as_ordinary_user() -> Iterator[None]:
    """Root may write everywhere, so root gives its rights up for a while."""
    if os.getuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


def test_a_folder_without_rights_is_denied(folder_store: FolderStore, tmp_path: Path) -> None:
    (tmp_path / "store").mkdir(mode=0o500)
    with as_ordinary_user(), pytest.raises(Denied) as caught:
        folder_store.put("a", b"1")
    assert caught.value.code == "store-denied"
    assert "right to read and write" in caught.value.remedy


def test_a_full_disk_fails_says_so_and_keeps_the_old_object(folder_store: FolderStore, tmp_path: Path) -> None:
    folder_store.put("a", b"old")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
    try:
        with pytest.raises(Failed) as caught:
            folder_store.put("a", b"x" * 2000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert caught.value.code == "store-full"
    assert folder_store.get("a")[0] == b"old"
    assert list((tmp_path / "store/.outhaul/uploads").iterdir()) == []
