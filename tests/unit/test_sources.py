"""Where a project's files came from, as its run will remember it."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from outhaul.project.sources import git_state, snapshot_reference

DIGEST = "ab" * 32


def git(folder: Path, *arguments: str) -> None:
    who = ["-c", "user.name=someone", "-c", "user.email=someone@example.org"]
    subprocess.run(["git", "-C", str(folder), *who, *arguments], check=True, capture_output=True)


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    git(tmp_path, "init")
    (tmp_path / "train.py").write_text("print(1)\n")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-m", "first")
    return tmp_path


@pytest.mark.parametrize("change", ["", "print(2)\n"])
def test_a_snapshot_remembers_the_commit_it_was_taken_from(checkout: Path, change: str) -> None:
    if change:
        (checkout / "train.py").write_text(change)
    commit, dirty = git_state(str(checkout), checkout)
    assert (len(commit), dirty) == (40, bool(change))
    reference = snapshot_reference(DIGEST, commit, dirty)
    assert git_state(reference, Path("/nowhere")) == (commit, dirty)


def test_a_snapshot_without_a_commit_does_not_take_one_from_where_it_is_unpacked(checkout: Path) -> None:
    reference = snapshot_reference(DIGEST, *git_state(str(checkout.parent), checkout.parent))
    assert reference == f"snapshot:{DIGEST}"
    assert git_state(reference, checkout) == ("", False)
