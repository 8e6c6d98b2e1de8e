"""The contract of EnvironmentStore, over the folder store under both of its names."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from outhaul.adapters.environment_folder import MARKER, Entry, FolderEnvironmentStore
from outhaul.errors import Conflict, NotFound, Refused, Unreachable
from outhaul.ports import BuiltEnvironment, EnvironmentStore

HASH = "0123456789abcdef0123456789abcdef"
HOLDER = """
import subprocess, sys
from pathlib import Path
from outhaul.adapters.environment_folder import FolderEnvironmentStore
store = FolderEnvironmentStore(Path(sys.argv[1]), "workspace")
with store.lock(sys.argv[2]) as held, store.making(sys.argv[2]) as folder:
    (folder / "half").write_text("half")
    child = subprocess.Popen(["sleep", sys.argv[3]], pass_fds=(held,), stdout=subprocess.DEVNULL)
    print(child.pid, flush=True)
    child.wait()
"""


@pytest.fixture(params=["workspace", "global"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> FolderEnvironmentStore:
    return FolderEnvironmentStore(tmp_path / "store", request.param)


@pytest.fixture
def other(tmp_path: Path) -> FolderEnvironmentStore:
    return FolderEnvironmentStore(tmp_path / "other", "other")


def entry(**changes: Any) -> Entry:
    fields: dict[str, Any] = {
        "hash": HASH,
        "kind": "venv",
        "python_version": "3.11.7",
        "packages": {"six": "1.16.0"},
        "built_at": "2026-01-01T00:00:00.000Z",
        "seconds": 1.5,
        "definition": {},
    }
    return Entry(**{**fields, **changes})


def fill(folder: Path) -> None:
    (folder / "env" / "bin").mkdir(parents=True)
    (folder / "env" / "bin" / "python").symlink_to(sys.executable)
    (folder / "env" / "six.py").write_text("answer = 42")


def made(store: FolderEnvironmentStore, *, default_python: bool = False, **changes: Any) -> BuiltEnvironment:
    key = store.key(changes.get("hash", HASH), default_python=default_python)
    with store.lock(key), store.making(key) as folder:
        fill(folder)
        return store.complete(key, entry(**changes))


def test_an_environment_that_nobody_built_is_not_found(store: EnvironmentStore) -> None:
    assert store.find(HASH) is None
    assert list(store.list()) == []


@pytest.mark.parametrize("default_python", [False, True])
def test_what_was_built_is_found_by_its_hash(store: FolderEnvironmentStore, default_python: bool) -> None:
    built = made(store, default_python=default_python)
    assert store.find(HASH) == built
    assert (built.hash, built.store, built.packages) == (HASH, store.name, {"six": "1.16.0"})
    assert built.python.exists()
    assert [one.hash for one in store.list()] == [HASH]


def test_environments_are_listed_in_the_order_of_their_keys(store: FolderEnvironmentStore) -> None:
    for digit in "ca":
        made(store, hash=digit * 32)
    assert [one.hash[0] for one in store.list()] == ["a", "c"]


def test_environments_of_other_machines_are_not_listed(store: FolderEnvironmentStore) -> None:
    built = made(store)
    folder = built.python.parents[2]
    for other in (f"{built.key}9", built.key.replace("linux", "plan9")):
        (store.root / other).mkdir()
        (store.root / other / MARKER).write_bytes((folder / MARKER).read_bytes())
        (store.root / other / "env").symlink_to(folder / "env")
    assert list(store.list()) == [built]


def test_an_adopted_environment_outlives_the_one_it_came_from(
    store: FolderEnvironmentStore, other: FolderEnvironmentStore
) -> None:
    adopted = store.adopt(made(other))
    with pytest.raises(ZeroDivisionError):
        fail_to_build(other)
    assert other.find(HASH) is None
    assert store.find(HASH) == adopted
    assert adopted.store == store.name
    assert (adopted.python.parents[1] / "six.py").read_text() == "answer = 42"


def test_adopting_twice_changes_nothing(store: FolderEnvironmentStore, other: FolderEnvironmentStore) -> None:
    built = made(other)
    first = store.adopt(built)
    seen = (first.python.parents[2] / MARKER).stat().st_mtime_ns
    assert store.adopt(built) == first
    assert (first.python.parents[2] / MARKER).stat().st_mtime_ns == seen


def test_adopting_what_is_gone_leaves_nothing(store: FolderEnvironmentStore, other: FolderEnvironmentStore) -> None:
    built = made(other)
    (built.python.parents[2] / MARKER).unlink()
    with pytest.raises(NotFound):
        store.adopt(built)
    assert list(store.list()) == []


def test_an_entry_without_its_marker_is_not_there_and_is_made_anew(
    store: FolderEnvironmentStore,
) -> None:
    key = store.key(HASH)
    fill(store.root / key)
    (store.root / key / "half").write_text("half")
    assert store.find(HASH) is None
    assert list(store.list()) == []
    with store.lock(key), store.making(key) as folder:
        assert list(folder.iterdir()) == []
        fill(folder)
        store.complete(key, entry())


def fail_to_build(store: FolderEnvironmentStore) -> None:
    key = store.key(HASH)
    with store.lock(key), store.making(key) as folder:
        fill(folder)
        raise ZeroDivisionError


def test_a_build_that_fails_leaves_nothing(store: FolderEnvironmentStore) -> None:
    with pytest.raises(ZeroDivisionError):
        fail_to_build(store)
    assert [name for name in os.listdir(store.root) if not name.startswith(".")] == []


def test_an_environment_whose_interpreter_was_removed_is_not_there(store: FolderEnvironmentStore) -> None:
    built = made(store)
    built.python.unlink()
    built.python.symlink_to("/gone/python")
    assert store.find(HASH) is None


def test_a_newer_record_is_refused_and_a_broken_one_is_a_conflict(store: FolderEnvironmentStore) -> None:
    marker = made(store).python.parents[2] / MARKER
    marker.write_bytes(marker.read_bytes().replace(b'"schema": 1', b'"schema": 2'))
    with pytest.raises(Refused, match="newer"):
        store.find(HASH)
    marker.write_bytes(b"{")
    with pytest.raises(Conflict) as caught:
        store.find(HASH)
    assert str(marker) in caught.value.found


def test_a_store_that_cannot_be_used_is_unreachable_and_not_empty(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    store = FolderEnvironmentStore(tmp_path / "file", "global")
    with pytest.raises(Unreachable):
        store.find(HASH)
    with pytest.raises(Unreachable):
        made(store)


def test_two_builds_at_once_take_turns_and_readers_do_not_wait(store: FolderEnvironmentStore) -> None:
    key = store.key(HASH)
    said: list[str] = []
    second = threading.Event()

    def build() -> None:
        with store.lock(key, said.append):
            second.set()

    with store.lock(key):
        thread = threading.Thread(target=build)
        thread.start()
        assert not second.wait(0.3)
        assert store.find(HASH) is None
    thread.join(10)
    assert second.is_set()
    assert len(said) == 1
    assert "another process is building" in said[0]


def test_after_a_killed_build_the_next_waits_for_what_it_left_running(tmp_path: Path) -> None:
    store = FolderEnvironmentStore(tmp_path, "workspace")
    key = store.key(HASH)
    argv = [sys.executable, "-c", HOLDER, str(tmp_path), key, "60"]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        orphan = int(holder.stdout.readline())
        holder.kill()
    freed = threading.Event()

    def build() -> None:
        with store.lock(key), store.making(key) as folder:
            freed.set()
            fill(folder)
            store.complete(key, entry())

    thread = threading.Thread(target=build)
    thread.start()
    waited = not freed.wait(0.5)
    os.kill(orphan, signal.SIGKILL)
    thread.join(10)
    assert waited
    built = store.find(HASH)
    assert built is not None
    assert not (built.python.parents[2] / "half").exists()
