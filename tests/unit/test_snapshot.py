"""Snapshots: what the digest depends on and what it does not, what goes in, and what is refused."""

from __future__ import annotations

import os
import random
import subprocess
import zipfile
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from outhaul.errors import Conflict, Refused
from outhaul.home import Home
from outhaul.snapshot.limits import Limits, check_limits
from outhaul.snapshot.pack import pack
from outhaul.snapshot.reader import BLOCK, FileContent
from outhaul.snapshot.stat_cache import StatCache
from outhaul.snapshot.taking import Snapshot, SnapshotFile, digest_of, take, take_and_zip
from outhaul.snapshot.tree import find_project_files
from outhaul.snapshot.zip_format import STORED, ZipEntry, directory

FILES = {"train.py": b"print()\n", "src/a b.py": b"", "src/\xe9.bin": bytes(range(256)), "data/x/y": b"y" * 100_000}


@pytest.fixture
def project(tmp_path: Path) -> Path:
    return write(tmp_path / "project", FILES)


def write(root: Path, files: dict[str, bytes]) -> Path:
    for path, content in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(content)
    return root


def snapshot(root: Path, limits: Limits | None = None) -> Snapshot:
    """Without anything remembered of earlier snapshots."""
    cache = StatCache(root.parent / "none.stat", root, 0)
    taken = take(root, limits=limits or Limits(), cache=cache)
    (root.parent / "none.stat").unlink(missing_ok=True)
    return taken


def refusal(root: Path) -> Refused:
    with pytest.raises(Refused) as refused:
        snapshot(root)
    return refused.value


HASHES = st.integers(0, 2**256 - 1).map(lambda number: f"{number:064x}")
SNAPSHOT_FILES = st.lists(
    st.builds(SnapshotFile, path=st.text(min_size=1), bytes=st.integers(0), mode=st.just("0644"), sha256=HASHES),
    unique_by=lambda file: file.path,
    max_size=5,
)


GOLDEN_DIGEST = "b783d2f371bd19340abbfd5abe9b08484d54be32b31e01983730207c6c192c4f"


def test_the_digest_is_this_one_for_ever() -> None:
    files = [
        SnapshotFile(path="train.py", bytes=8, mode="0644", sha256="aa" * 32),
        SnapshotFile(path="run.sh", bytes=0, mode="0755", sha256="bb" * 32),
    ]
    assert digest_of(files) == GOLDEN_DIGEST


@given(files=SNAPSHOT_FILES, seed=st.randoms())
def test_the_digest_does_not_depend_on_the_order_of_the_files(files: list[SnapshotFile], seed: random.Random) -> None:
    shuffled = list(files)
    seed.shuffle(shuffled)

    assert digest_of(shuffled) == digest_of(files)


@given(files=SNAPSHOT_FILES.filter(bool), other=HASHES)
def test_the_digest_depends_on_path_mode_and_content(files: list[SnapshotFile], other: str) -> None:
    first, *rest = files
    others = [
        msgspec.structs.replace(first, mode="0755"),
        msgspec.structs.replace(first, path=first.path + "x" * 40),
        msgspec.structs.replace(first, sha256=f"{(int(other, 16) | 1) ^ int(first.sha256, 16):064x}"),
    ]
    assert digest_of(files) not in {digest_of([changed, *rest]) for changed in others}
    assert digest_of(files) != digest_of(rest)


def test_equal_files_elsewhere_at_another_time_make_the_same_digest_and_zip(project: Path, tmp_path: Path) -> None:
    elsewhere = write(tmp_path / "elsewhere/deep", dict(reversed(FILES.items())))
    os.utime(elsewhere / "train.py", (0, 0))
    (elsewhere / "train.py").chmod(0o600)

    here, here_zip = take_and_zip(project, Home(tmp_path / "home1"), Limits())
    there, there_zip = take_and_zip(elsewhere, Home(tmp_path / "home2"), Limits())

    assert here == there == snapshot(project)
    assert here_zip.read_bytes() == there_zip.read_bytes()


def test_the_executable_bit_is_the_only_permission_that_counts(project: Path) -> None:
    plain = snapshot(project)
    (project / "train.py").chmod(0o700)

    executable = snapshot(project)

    assert plain.digest != executable.digest
    assert {file.path: file.mode for file in executable.files}["train.py"] == "0755"


def test_an_unchanged_project_keeps_its_zip_and_a_changed_one_gets_another(project: Path, tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    first, first_zip = take_and_zip(project, home, Limits())
    made = first_zip.stat().st_ino

    again, again_zip = take_and_zip(project, home, Limits())
    (project / "train.py").write_bytes(b"print(1)\n")
    changed, changed_zip = take_and_zip(project, home, Limits())

    assert (again, again_zip.stat().st_ino) == (first, made)
    assert changed.digest != first.digest
    assert changed_zip.name == f"{changed.digest}.zip"
    with zipfile.ZipFile(changed_zip) as archive:
        assert archive.read("train.py") == b"print(1)\n"


def test_old_zips_and_what_a_killed_process_left_are_removed(project: Path, tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    write(home.cache / "zips", {".part-old": b"half", ".part-new": b"half"})
    os.utime(home.cache / "zips/.part-old", (0, 0))

    for number in range(10):
        (project / "train.py").write_text(str(number) * (number + 1))
        _, last = take_and_zip(project, home, Limits())

    left = {path.name for path in (home.cache / "zips").iterdir()}
    assert last.name in left
    assert len(left) == 9
    assert ".part-new" in left


def test_large_files_are_streamed_and_come_out_whole(tmp_path: Path) -> None:
    contents = {
        "noise": random.Random(1).randbytes(BLOCK + 1),
        "text": b"0123456789abcdef" * (BLOCK // 8),
        "text that fits exactly": b"0" * BLOCK,
    }
    taken, place = take_and_zip(write(tmp_path / "project", contents), Home(tmp_path / "home"), Limits())

    assert taken == snapshot(tmp_path / "project")
    with zipfile.ZipFile(place) as archive:
        assert {name: archive.read(name) for name in archive.namelist()} == contents
        assert {info.filename: info.compress_type for info in archive.infolist()}["noise"] == zipfile.ZIP_STORED
    assert place.stat().st_size < BLOCK * 1.2


def test_the_zip_is_sound_for_unzip(project: Path, tmp_path: Path) -> None:
    _, place = take_and_zip(project, Home(tmp_path / "home"), Limits())

    done = subprocess.run(["unzip", "-tq", place], capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stdout


def test_sizes_and_offsets_beyond_32_bits_are_read_back(tmp_path: Path) -> None:
    entries = [
        ZipEntry("huge", 0o644, STORED, 1, 5 << 30, 5 << 30, 0),
        ZipEntry("behind it", 0o755, STORED, 2, 3, 3, (5 << 30) + 100),
    ]
    with (tmp_path / "sparse.zip").open("wb") as file:
        file.seek(6 << 30)
        file.write(directory(entries, 6 << 30))

    with zipfile.ZipFile(tmp_path / "sparse.zip") as archive:
        assert [(info.file_size, info.header_offset) for info in archive.infolist()] == [
            (5 << 30, 0),
            (3, (5 << 30) + 100),
        ]


@pytest.mark.parametrize("change", [b"print(12)\n", b"print2)\n", None])
def test_a_file_that_changes_after_it_was_found_is_noticed(project: Path, change: bytes | None) -> None:
    tree = find_project_files(project)
    train = next(file for file in tree.files if file.path == "train.py")
    if change:
        (project / "train.py").write_bytes(change)
    else:
        (project / "train.py").unlink()

    with pytest.raises(Conflict, match=r"`train.py` changed"):
        list(FileContent(train, 0).blocks())


def test_a_change_while_a_large_file_is_zipped_is_noticed(project: Path, tmp_path: Path) -> None:
    (project / "train.py").write_bytes(b"a" * (BLOCK + 1))
    tree = find_project_files(project)
    (project / "train.py").write_bytes(b"a" * (BLOCK + 2))

    with (tmp_path / "out.zip").open("wb") as out, pytest.raises(Conflict):
        pack(tree.files, out, 0)


def test_links_inside_count_as_what_they_point_to(project: Path) -> None:
    (project / "again.py").symlink_to("train.py")
    (project / "linked").symlink_to("data/x")

    found = {file.path: file.sha256 for file in snapshot(project).files}

    assert found["again.py"] == found["train.py"]
    assert found["linked/y"] == found["data/x/y"]


def test_links_that_cannot_be_followed_are_refused_all_at_once(project: Path, tmp_path: Path) -> None:
    (tmp_path / "outside").write_text("secret")
    (project / "absolute").symlink_to(tmp_path / "outside")
    (project / "relative").symlink_to("../outside")
    (project / "nowhere").symlink_to("missing")
    (project / "self").symlink_to("self")
    (project / "data/up").symlink_to("..")

    refused = refusal(project)

    assert refused.code == "project-problems"
    for part in ("relative -> ../outside", "nowhere -> missing", "self -> self", "data/up -> ..", "absolute -> /"):
        assert part in refused.found


def test_an_ignored_link_is_no_problem(project: Path) -> None:
    (project / "data/up").symlink_to("/")
    (project / ".amlignore").write_text("up\n")

    assert len(snapshot(project).files) == len(FILES) + 1


def test_a_name_that_is_not_utf8_is_refused_and_shown(project: Path) -> None:
    (project / os.fsdecode(b"caf\xe9")).touch()

    refused = refusal(project)

    assert refused.code == "snapshot-name-not-utf8"
    assert refused.found == "caf\\xe9"


def test_a_name_that_could_not_be_unpacked_again_is_refused(project: Path) -> None:
    (project / "c:x").touch()

    assert refusal(project).code == "snapshot-name"


def test_what_is_no_file_stays_out_with_a_warning(project: Path) -> None:
    os.mkfifo(project / "pipe")

    assert snapshot(project).warnings == ("`pipe` is a named pipe and stays out of the snapshot",)


def test_a_missing_project_folder_is_refused(tmp_path: Path) -> None:
    assert refusal(tmp_path / "none").code == "project-folder-missing"


def test_an_amlignore_that_cannot_be_read_is_refused_rather_than_passed_over(project: Path) -> None:
    (project / ".amlignore").symlink_to(".amlignore")

    refused = refusal(project)

    assert refused.code == "snapshot-unreadable"
    assert refused.found.startswith(".amlignore: ")


def test_a_home_that_cannot_be_written_is_refused(project: Path, tmp_path: Path) -> None:
    (tmp_path / "home").write_text("a file")

    with pytest.raises(Refused) as refused:
        take_and_zip(project, Home(tmp_path / "home"), Limits())
    assert refused.value.code == "cache-unwritable"


def test_service_keys_do_not_reach_the_zip(project: Path, tmp_path: Path) -> None:
    (project / "deploymentconfig.json").write_text('{"keys": {"primaryKey": "s3cret"}}')

    taken, place = take_and_zip(project, Home(tmp_path / "home"), Limits())

    assert taken.redacted == ("deploymentconfig.json",)
    with zipfile.ZipFile(place) as archive:
        assert b"s3cret" not in archive.read("deploymentconfig.json")
    assert take_and_zip(project, Home(tmp_path / "home"), Limits())[0] == taken


def test_the_same_project_with_another_key_is_the_same_snapshot(project: Path) -> None:
    (project / "outhaul.yaml").write_text("service: {keys: {primary_key: one}}")
    one = snapshot(project)
    (project / "outhaul.yaml").write_text("service: {keys: {primary_key: another}}")

    assert snapshot(project).digest == one.digest


def test_too_large_lists_the_biggest_files_and_folders() -> None:
    sizes = {"data/a/big.bin": 250_000_000, "data/a/small.bin": 60_000_000, "data/b.bin": 1_500_000, "train.py": 900}

    with pytest.raises(Refused) as refused:
        check_limits(sizes, Limits())

    assert refused.value.code == "snapshot-too-large"
    assert (
        str(refused.value)
        == """\
the project has 311.5 MB, more than the 300.0 MB that a snapshot may have
  found: 4 files. Biggest files:
    250.0 MB  data/a/big.bin
     60.0 MB  data/a/small.bin
      1.5 MB  data/b.bin
      0.0 MB  train.py
Biggest folders:
    311.5 MB  data/ (3 files)
    310.0 MB  data/a/ (2 files)
  expected: at most 300000000 bytes after ignore rules
  remedy: list what the run does not need in .amlignore (it replaces .gitignore), or set \
OUTHAUL_SNAPSHOT_MAX_BYTES=311500900"""
    )


def test_too_many_files_lists_the_fullest_folders() -> None:
    sizes = {**{f"node_modules/{number}": 10 for number in range(2_000)}, "train.py": 10}

    with pytest.raises(Refused) as refused:
        check_limits(sizes, Limits())

    assert refused.value.code == "snapshot-too-many-files"
    assert (
        str(refused.value)
        == """\
the project has 2001 files, more than the 2000 that a snapshot may have
  found: 0.0 MB. Fullest folders:
    2000 files  node_modules/ (0.0 MB)
  expected: at most 2000 files after ignore rules
  remedy: list what the run does not need in .amlignore (it replaces .gitignore), or set \
OUTHAUL_SNAPSHOT_MAX_FILES=2001"""
    )


def test_a_project_at_the_limits_is_taken_and_ignored_files_do_not_count(project: Path) -> None:
    write(project, {".amlignore": b"data/\n"})
    size = sum(len(content) for content in FILES.values()) - 100_000 + len(b"data/\n")

    assert snapshot(project, Limits(bytes=size, files=4)).bytes == size
    with pytest.raises(Refused, match="more than the 3 that"):
        snapshot(project, Limits(files=3))


def test_the_manifest_reads_back_as_the_snapshot(project: Path) -> None:
    taken = snapshot(project)

    assert msgspec.json.decode(msgspec.json.encode(taken), type=Snapshot) == taken
