"""Half-written files of dead processes go; those of living ones, and whole ones, stay."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from outhaul.home import Home
from outhaul.run.leftovers import passing_name, sweep_leftovers

PLACES = (
    "secrets",
    "slots/slot-1",
    "cluster/deployments",
    "cluster/deployments/digits-1",
    "runs/0",
    "runs/0/attempt-1",
)


@pytest.fixture
def dead() -> int:
    """The pid of a process that has ended."""
    child = subprocess.Popen(["true"])
    child.wait()
    return child.pid


@pytest.mark.parametrize("place", PLACES)
def test_only_what_a_dead_process_left_is_removed(tmp_path: Path, dead: int, place: str) -> None:
    folder = tmp_path / place
    folder.mkdir(parents=True)
    mine, whole, hidden = folder / passing_name("lease.json"), folder / "lease.json", folder / ".lock"
    left = folder / f".lease.json-{dead}-0f"
    for path in (mine, whole, hidden, left):
        path.touch()
    assert sweep_leftovers(Home(tmp_path)) == [left]
    assert sorted(folder.iterdir()) == sorted([mine, whole, hidden])


def test_a_half_made_folder_is_removed_whole(tmp_path: Path, dead: int) -> None:
    left = tmp_path / "cluster" / "deployments" / f".new-{dead}-0f"
    left.mkdir(parents=True)
    (left / "template.json").touch()
    assert sweep_leftovers(Home(tmp_path)) == [left]
    assert not left.exists()


def test_a_home_without_anything_has_no_leftovers(tmp_path: Path) -> None:
    assert sweep_leftovers(Home(tmp_path / "none")) == []
