"""The stat cache: believes what cannot have changed, and nothing else."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from outhaul.snapshot.limits import Limits
from outhaul.snapshot.stat_cache import RACY_NS, SCHEMA, Reading, Stat, StatCache, still_true
from outhaul.snapshot.taking import take

STAT = Stat(size=3, mtime_ns=1_000, ctime_ns=1_000, inode=7, mode=0o100644)
SETTLED = 1_000 + RACY_NS


def reading(at: int = SETTLED, stat: Stat = STAT) -> Reading:
    return Reading(stat, at, 3, "ab" * 32)


def test_an_unchanged_file_that_had_settled_is_believed() -> None:
    assert still_true(reading(), STAT)


@pytest.mark.parametrize("field", STAT.__struct_fields__)
def test_any_difference_means_reading_again(field: str) -> None:
    other = msgspec.structs.replace(STAT, **{field: getattr(STAT, field) + 1})

    assert not still_true(reading(at=SETTLED + 1), other)


@given(
    mtime=st.integers(0, 10**18),
    ctime=st.integers(0, 10**18),
    began=st.integers(0, 10**18),
)
def test_a_file_changed_shortly_before_it_was_read_is_read_again(mtime: int, ctime: int, began: int) -> None:
    stat = msgspec.structs.replace(STAT, mtime_ns=mtime, ctime_ns=ctime)

    assert still_true(reading(began, stat), stat) == (began - mtime >= RACY_NS and began - ctime >= RACY_NS)


def test_what_was_kept_is_found_by_the_next_snapshot(tmp_path: Path) -> None:
    StatCache.of_project(tmp_path / "stat", tmp_path, SETTLED).replace({"a": reading()})

    cache = StatCache.of_project(tmp_path / "stat", tmp_path, SETTLED)

    assert cache.find("a", STAT) == reading()
    assert cache.find("b", STAT) is None
    assert StatCache.of_project(tmp_path / "stat", tmp_path / "..", SETTLED).empty


@pytest.mark.parametrize(
    "content",
    [b"", b"\x00", b"nonsense", msgspec.msgpack.encode([SCHEMA + 1, "", {}]), msgspec.msgpack.encode({"schema": 0})],
)
def test_a_cache_that_cannot_be_understood_counts_as_absent_and_is_replaced(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "x.stat"
    file.write_bytes(content)

    cache = StatCache(file, tmp_path, SETTLED)
    assert cache.empty
    cache.replace({"a": reading()})

    assert StatCache(file, tmp_path, SETTLED).find("a", STAT) == reading()


def test_a_truncated_cache_counts_as_absent(tmp_path: Path) -> None:
    file = tmp_path / "x.stat"
    StatCache(file, tmp_path, SETTLED).replace({"a": reading(), "b": reading()})
    file.write_bytes(file.read_bytes()[:-5])

    assert StatCache(file, tmp_path, SETTLED).empty


def test_the_same_readings_are_not_written_again(tmp_path: Path) -> None:
    file = tmp_path / "x.stat"
    cache = StatCache(file, tmp_path, SETTLED)
    cache.replace({"a": reading()})
    before = file.stat().st_ino

    cache.replace({"a": reading()})

    assert file.stat().st_ino == before


def test_a_second_change_within_the_same_time_stamp_is_seen(tmp_path: Path) -> None:
    """Same size, same mtime, read at once: only the rule for freshly changed files can notice."""
    project = tmp_path / "project"
    project.mkdir()
    file = project / "a"
    file.write_bytes(b"one")
    changed = file.stat().st_mtime_ns
    first = take(project, limits=Limits(), cache=StatCache(tmp_path / "c.stat", project, changed))
    file.write_bytes(b"two")
    os.utime(file, ns=(changed, changed))

    second = take(project, limits=Limits(), cache=StatCache(tmp_path / "c.stat", project, changed))

    assert first.digest != second.digest


def test_settled_files_are_not_read_again(tmp_path: Path) -> None:
    """Shown by a cache whose sha256 is not the file's: it is believed."""
    project = tmp_path / "project"
    project.mkdir()
    (project / "a").write_bytes(b"one")
    began = (project / "a").stat().st_ctime_ns + RACY_NS
    cache = StatCache(tmp_path / "c.stat", project, began)
    take(project, limits=Limits(), cache=cache)
    known = msgspec.msgpack.decode((tmp_path / "c.stat").read_bytes())
    known[2]["a"][3] = "ab" * 32
    (tmp_path / "c.stat").write_bytes(msgspec.msgpack.encode(known))

    again = take(project, limits=Limits(), cache=StatCache(tmp_path / "c.stat", project, began))

    assert again.files[0].sha256 == "ab" * 32
