"""Saving what a run wrote."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from outhaul.errors import Unreachable
from outhaul.ports import Progress
from outhaul.run.outputs import read_manifest, save_log, save_outputs, upload_tree
from tests.fakes import FakeObjectStore

PREFIX = "run-files/r1/"


def unwatched(done: int, total: int) -> None:
    """No progress wanted."""


class CountingStore(FakeObjectStore):
    """Notes what is uploaded, and is away for the keys in `away`."""

    def __init__(self) -> None:
        super().__init__()
        self.uploaded: list[str] = []
        self.away: set[str] = set()

    def upload(self, key: str, source: Path, progress: Progress | None = None) -> str:
        if key in self.away:
            raise Unreachable("store-unreachable", "no answer")
        self.uploaded.append(key)
        return super().upload(key, source, progress)


@pytest.fixture
def store() -> CountingStore:
    return CountingStore()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "outputs/deep/er").mkdir(parents=True)
    (tmp_path / "outputs/model.bin").write_bytes(b"model")
    (tmp_path / "outputs/deep/er/plot.png").write_bytes(b"plot")
    (tmp_path / "outputs/empty").write_bytes(b"")
    return tmp_path / "outputs"


def test_every_file_is_saved_and_listed_with_size_and_digest(store: CountingStore, folder: Path) -> None:
    files = save_outputs(folder, store, "r1", unwatched)
    assert [(file.path, file.bytes) for file in files] == [("deep/er/plot.png", 4), ("empty", 0), ("model.bin", 5)]
    assert files[2].sha256 == hashlib.sha256(b"model").hexdigest()
    assert store.get(PREFIX + "outputs/deep/er/plot.png")[0] == b"plot"
    assert read_manifest(store, "r1") == files


def test_a_run_without_outputs_has_an_empty_manifest(store: CountingStore, tmp_path: Path) -> None:
    assert save_outputs(tmp_path / "absent", store, "r1", unwatched) == []
    assert read_manifest(store, "r1") == []
    assert store.head(PREFIX + "outputs.json") is not None


def test_saving_again_uploads_only_what_changed(store: CountingStore, folder: Path) -> None:
    save_outputs(folder, store, "r1", unwatched)
    store.uploaded.clear()
    (folder / "model.bin").write_bytes(b"MODEL")
    (folder / "empty").unlink()
    files = save_outputs(folder, store, "r1", unwatched)
    assert store.uploaded == [PREFIX + "outputs/model.bin"]
    assert [file.path for file in files] == ["deep/er/plot.png", "model.bin"]
    assert read_manifest(store, "r1") == files


def test_there_is_no_manifest_until_every_file_is_there(store: CountingStore, folder: Path) -> None:
    store.away = {PREFIX + "outputs/model.bin"}
    with pytest.raises(Unreachable):
        save_outputs(folder, store, "r1", unwatched)
    assert store.head(PREFIX + "outputs.json") is None
    store.away = set()
    assert len(save_outputs(folder, store, "r1", unwatched)) == 3


def test_links_out_of_the_folder_loops_and_pipes_are_left_out(
    store: CountingStore, folder: Path, tmp_path: Path
) -> None:
    (tmp_path / "secret").write_bytes(b"secret")
    (folder / "out").symlink_to(tmp_path / "secret")
    (folder / "loop").symlink_to(folder)
    (folder / "broken").symlink_to("nowhere")
    (folder / "latest").symlink_to("model.bin")
    os.mkfifo(folder / "pipe")
    files = save_outputs(folder, store, "r1", unwatched)
    assert [file.path for file in files] == ["deep/er/plot.png", "empty", "latest", "model.bin"]
    assert store.get(PREFIX + "outputs/latest")[0] == b"model"


@pytest.mark.parametrize(
    ("name", "key"),
    [
        (b"white space", "white space"),
        ("日本.txt".encode(), "日本.txt"),
        (b"latin-\xe9", "latin-%E9"),
        (b"-rf *", "-rf *"),
        (b"new\nline", "new\nline"),
    ],
)
def test_odd_names_are_kept_readable(store: CountingStore, tmp_path: Path, name: bytes, key: str) -> None:
    (tmp_path / "outputs").mkdir()
    Path(os.fsdecode(os.path.join(os.fsencode(tmp_path / "outputs"), name))).write_bytes(b"1")
    assert [file.path for file in save_outputs(tmp_path / "outputs", store, "r1", unwatched)] == [key]
    assert store.get(PREFIX + "outputs/" + key)[0] == b"1"
    assert [file.path for file in read_manifest(store, "r1")] == [key]


def test_progress_grows_to_the_sum_of_all_files(store: CountingStore, folder: Path) -> None:
    seen: list[tuple[int, int]] = []
    save_outputs(folder, store, "r1", lambda done, total: seen.append((done, total)))
    assert seen[-1] == (9, 9)
    assert seen == sorted(seen)


def test_a_log_is_uploaded_when_it_has_grown(store: CountingStore, tmp_path: Path) -> None:
    log = tmp_path / "log.txt"
    log.write_bytes(b"one\n")
    save_log(log, store, "r1", 2)
    save_log(log, store, "r1", 2)
    log.write_bytes(b"one\ntwo\n")
    save_log(log, store, "r1", 2)
    assert store.uploaded == [PREFIX + "logs/attempt-2.txt"] * 2
    assert store.get(PREFIX + "logs/attempt-2.txt")[0] == b"one\ntwo\n"


def test_a_tree_is_a_single_file_or_a_folder_with_its_links_followed(
    store: CountingStore, folder: Path, tmp_path: Path
) -> None:
    (tmp_path / "blob").write_bytes(b"blob")
    (folder / "weights").symlink_to(tmp_path / "blob")
    assert [file.path for file in upload_tree(tmp_path / "blob", store, "model-files/m/1/")] == ["blob"]
    files = upload_tree(folder, store, "model-files/m/2/")
    assert [file.path for file in files] == ["deep/er/plot.png", "empty", "model.bin", "weights"]
    assert store.get("model-files/m/2/weights")[0] == b"blob"
