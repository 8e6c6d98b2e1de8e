"""Unpacking: an honest zip comes out as it went in, and a hostile one leaves nothing behind."""

from __future__ import annotations

import io
import stat
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from outhaul.errors import Conflict, NotFound, OuthaulError, Refused
from outhaul.home import Home
from outhaul.snapshot.archive import unzip
from outhaul.snapshot.limits import Limits
from outhaul.snapshot.taking import snapshot_of, take_and_zip

LIMITS = Limits(bytes=1_000_000, files=10)
Write = Callable[[zipfile.ZipFile], None]


def zip_with(place: Path, write: Write) -> Path:
    with zipfile.ZipFile(place, "w", zipfile.ZIP_DEFLATED) as archive:
        write(archive)
    return place


def entry(name: str, content: bytes = b"x", mode: int = stat.S_IFREG | 0o644) -> Write:
    info = zipfile.ZipInfo(name)
    info.compress_type = zipfile.ZIP_DEFLATED
    info.external_attr = mode << 16
    return lambda archive: archive.writestr(info, content)


def link(name: str, target: str) -> Write:
    return entry(name, target.encode(), stat.S_IFLNK | 0o777)


def each(*writes: Write) -> Write:
    def write_all(archive: zipfile.ZipFile) -> None:
        for write in writes:
            write(archive)

    return write_all


ATTACKS = {
    "parent folder": (entry("../evil"), "'../evil' leads out"),
    "parent folder in the middle": (entry("a/../../evil"), "leads out"),
    "parent folder with backslashes": (entry("..\\evil"), "leads out"),
    "absolute": (entry("/etc/evil"), "'/etc/evil' is an absolute path"),
    "drive": (entry("C:evil"), "'C:evil' names a drive"),
    "link to an absolute path": (link("a", "/etc/passwd"), "'a' is a link to '/etc/passwd'"),
    "link to the parent": (link("a", "../x"), "out of the folder"),
    "link through another link": (each(link("d", "."), link("a", "d/../x")), "out of the folder"),
    "file below a link": (each(link("a", "."), entry("a/b")), "stands below 'a'"),
    "file below a file": (each(entry("a"), entry("a/b")), "stands below 'a'"),
    "pipe": (entry("p", b"", stat.S_IFIFO | 0o644), "'p' is a device"),
    "device": (entry("d", b"", stat.S_IFBLK | 0o644), "'d' is a device"),
    "the same place by another name": (each(entry("a"), entry("./a")), "is there twice"),
    "empty link": (link("a", ""), "is a link to ''"),
    "long link": (link("a", "b" * 5000), "too long a target"),
    "bzip2": (lambda archive: archive.writestr("a", b"x" * 9999, zipfile.ZIP_BZIP2), "method 12"),
}


@pytest.mark.parametrize("attack", ATTACKS)
def test_a_hostile_entry_is_refused_by_name_and_nothing_is_left(tmp_path: Path, attack: str) -> None:
    write, named = ATTACKS[attack]
    place = zip_with(tmp_path / "evil.zip", each(entry("fine"), write))

    with pytest.raises(Refused) as refused:
        unzip(place, tmp_path / "target", limits=LIMITS)

    assert refused.value.code == "zip-unsafe"
    assert named in refused.value.found
    assert [path.name for path in tmp_path.iterdir()] == ["evil.zip"]


def test_two_entries_of_one_name_are_refused(tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match="Duplicate name"):
        place = zip_with(tmp_path / "evil.zip", each(entry("a"), entry("a")))

    with pytest.raises(Refused, match="unsafe") as refused:
        unzip(place, tmp_path / "target", limits=LIMITS)
    assert "'a' is there twice" in refused.value.found


@pytest.mark.parametrize(
    "write",
    [
        entry("zeros", bytes(1_000_001)),
        each(entry("a", bytes(600_000)), entry("b", bytes(600_000))),
        each(*(entry(f"f{number}") for number in range(11))),
        each(*(entry(f"f{number}/", b"", stat.S_IFDIR | 0o755) for number in range(11))),
    ],
    ids=["one too large", "too large together", "too many files", "too many folders"],
)
def test_more_than_the_limits_is_refused(tmp_path: Path, write: Write) -> None:
    with pytest.raises(Refused) as refused:
        unzip(zip_with(tmp_path / "big.zip", write), tmp_path / "target", limits=LIMITS)
    assert refused.value.code == "zip-too-large"
    assert not (tmp_path / "target").exists()


def changed(place: Path, change: Callable[[bytearray], None]) -> Path:
    data = bytearray(place.read_bytes())
    change(data)
    place.write_bytes(data)
    return place


def directory_at(data: bytearray) -> int:
    return data.rindex(b"PK\x01\x02")


def claim_size(data: bytearray) -> None:
    struct.pack_into("<L", data, directory_at(data) + 24, 900_000)


def encrypt(data: bytearray) -> None:
    struct.pack_into("<H", data, directory_at(data) + 8, 1)


def point_to_first(data: bytearray) -> None:
    struct.pack_into("<L", data, directory_at(data) + 42, 0)


@pytest.mark.parametrize(
    ("change", "named"),
    [(claim_size, "a bomb"), (encrypt, "is encrypted"), (point_to_first, "overlaps another entry")],
)
def test_a_lying_directory_is_refused(tmp_path: Path, change: Callable[[bytearray], None], named: str) -> None:
    place = changed(zip_with(tmp_path / "evil.zip", each(entry("a", b"abc"), entry("b", b"abc"))), change)

    with pytest.raises(Refused) as refused:
        unzip(place, tmp_path / "target", limits=LIMITS)
    assert named in refused.value.found


def flip_content(data: bytearray) -> None:
    data[data.index(b"0123456789")] ^= 1


def cut(data: bytearray) -> None:
    del data[-30:]


@pytest.mark.parametrize("change", [flip_content, cut])
def test_a_damaged_zip_is_refused_and_leaves_nothing(tmp_path: Path, change: Callable[[bytearray], None]) -> None:
    def stored(archive: zipfile.ZipFile) -> None:
        archive.writestr("a", b"0123456789", zipfile.ZIP_STORED)

    place = changed(zip_with(tmp_path / "broken.zip", stored), change)

    with pytest.raises(Refused) as refused:
        unzip(place, tmp_path / "target", limits=LIMITS)
    assert refused.value.code == "zip-broken"
    assert [path.name for path in tmp_path.iterdir()] == ["broken.zip"]


def test_links_inside_folders_and_modes_come_out_as_they_went_in(tmp_path: Path) -> None:
    write = each(
        entry("bin/run", b"#!", stat.S_IFREG | 0o755),
        entry("data/", b"", stat.S_IFDIR | 0o755),
        link("data/run", "../bin/run"),
    )

    assert unzip(zip_with(tmp_path / "a.zip", write), tmp_path / "target", limits=LIMITS) == 2

    assert (tmp_path / "target/data/run").read_bytes() == b"#!"
    assert stat.S_IMODE((tmp_path / "target/bin/run").stat().st_mode) == 0o755


def test_a_folder_that_holds_something_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "target").mkdir()
    (tmp_path / "target/mine").write_text("mine")

    with pytest.raises(Conflict):
        unzip(zip_with(tmp_path / "a.zip", entry("a")), tmp_path / "target", limits=LIMITS)
    assert [path.name for path in (tmp_path / "target").iterdir()] == ["mine"]


def test_what_a_killed_unzip_left_is_replaced(tmp_path: Path) -> None:
    (tmp_path / ".target.unzipping").mkdir()
    (tmp_path / ".target.unzipping/half").write_text("half")
    (tmp_path / "target").mkdir()

    unzip(zip_with(tmp_path / "a.zip", entry("a")), tmp_path / "target", limits=LIMITS)

    assert [path.name for path in (tmp_path / "target").iterdir()] == ["a"]
    assert not (tmp_path / ".target.unzipping").exists()


def test_no_zip_is_not_found_and_no_zip_at_all_is_refused(tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        unzip(tmp_path / "none.zip", tmp_path / "target", limits=LIMITS)
    (tmp_path / "text.zip").write_text("text")
    with pytest.raises(OuthaulError, match="not a sound zip"):
        unzip(tmp_path / "text.zip", tmp_path / "target", limits=LIMITS)


def test_a_snapshot_comes_out_with_the_digest_it_went_in_with(tmp_path: Path) -> None:
    project = tmp_path / "project"
    (project / "sub").mkdir(parents=True)
    (project / "train.py").write_text("print()\n" * 2000)
    (project / "sub/große [1].bin").write_bytes(bytes(range(256)) * 20_000)
    (project / "sub/empty").touch()
    (project / "run.sh").write_text("#!/bin/sh\n")
    (project / "run.sh").chmod(0o744)
    (project / "linked").symlink_to("sub")
    limits = Limits()

    snapshot, place = take_and_zip(project, Home(tmp_path / "home"), limits)

    assert unzip(place, tmp_path / "target", limits=limits) == len(snapshot.files) == 6
    assert snapshot_of(tmp_path / "target").digest == snapshot.digest
    assert stat.S_IMODE((tmp_path / "target/run.sh").stat().st_mode) == 0o755
    with zipfile.ZipFile(io.BytesIO(place.read_bytes())) as archive:
        assert archive.testzip() is None
        assert {info.date_time for info in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}
