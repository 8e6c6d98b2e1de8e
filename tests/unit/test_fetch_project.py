"""Where a project comes from: references to folders, snapshots and git repositories."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from outhaul.errors import Failed, NotFound, Refused
from outhaul.project.sources import fetch_project, forget_clone
from outhaul.run.planning import store_snapshot
from outhaul.store.keys import snapshot_zip
from outhaul.workspace import Workspace
from tests.unit.fake_workspace import fake_workspace

AUTHOR = ["-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "init.defaultBranch=main"]


@pytest.fixture
def opened(tmp_path: Path) -> Workspace:
    return fake_workspace(tmp_path).workspace


@pytest.fixture
def project(tmp_path: Path) -> Path:
    root = tmp_path / "project"
    (root / "sub").mkdir(parents=True)
    (root / "train.py").write_text("print(1)\n")
    (root / "sub" / "train.py").write_text("print(2)\n")
    return root


def git(root: Path, *arguments: str) -> str:
    env = {**os.environ, "GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_SYSTEM": "/dev/null"}
    command = ["git", *AUTHOR, "-C", str(root), *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True, env=env).stdout.strip()


@pytest.fixture
def repository(project: Path) -> Path:
    git(project, "init", "-q")
    git(project, "add", ".")
    git(project, "commit", "-q", "-m", "first")
    git(project, "tag", "v1")
    (project / "train.py").write_text("print(3)\n")
    git(project, "commit", "-q", "-a", "-m", "second")
    return project


def test_a_folder_is_itself_and_is_never_forgotten(opened: Workspace, project: Path) -> None:
    assert fetch_project(opened, str(project)) == project
    forget_clone(opened, project)
    assert (project / "train.py").exists()


@pytest.mark.parametrize(
    ("reference", "code"),
    [
        ("digits", "project-reference"),
        ("./digits", "project-reference"),
        ("", "project-reference"),
        ("git+", "project-reference"),
        ("/nowhere/at/all", "project-folder"),
        ("snapshot:" + "0" * 64, "snapshot-not-found"),
        ("snapshot:../../etc", "snapshot-not-found"),
        ("snapshot:", "snapshot-not-found"),
    ],
)
def test_a_reference_that_names_nothing(opened: Workspace, reference: str, code: str) -> None:
    with pytest.raises((Refused, NotFound)) as error:
        fetch_project(opened, reference)
    assert error.value.code == code
    assert error.value.remedy


def test_a_snapshot_is_unzipped_once_with_the_same_files(opened: Workspace, project: Path) -> None:
    digest = store_snapshot(opened, project).digest
    folder = fetch_project(opened, f"snapshot:{digest}")
    assert (folder / "sub" / "train.py").read_text() == "print(2)\n"
    opened.store.delete(snapshot_zip(digest))
    assert fetch_project(opened, f"snapshot:{digest}") == folder
    assert [each.name for each in folder.parent.iterdir()] == [digest]


@pytest.mark.parametrize(
    ("suffix", "text"),
    [
        ("", "print(3)\n"),
        ("@v1", "print(1)\n"),
        ("@main", "print(3)\n"),
        ("#sub", "print(2)\n"),
        ("@v1#sub", "print(2)\n"),
    ],
)
def test_a_repository_is_cloned_at_its_ref_and_folder_and_forgotten(
    opened: Workspace, repository: Path, suffix: str, text: str
) -> None:
    folder = fetch_project(opened, f"git+file://{repository}{suffix}")
    assert (folder / "train.py").read_text() == text
    forget_clone(opened, folder)
    assert list((opened.settings.home.cache / "clones").iterdir()) == []


@pytest.mark.parametrize("folder", ["absent", "..", "../..", "/etc", "train.py"])
def test_a_folder_that_is_not_in_the_repository(opened: Workspace, repository: Path, folder: str) -> None:
    with pytest.raises(NotFound) as error:
        fetch_project(opened, f"git+file://{repository}#{folder}")
    assert error.value.code == "project-folder"
    assert list((opened.settings.home.cache / "clones").iterdir()) == []


def test_a_repository_that_does_not_exist_says_what_git_said(opened: Workspace, tmp_path: Path) -> None:
    with pytest.raises(Failed) as failed:
        fetch_project(opened, f"git+file://{tmp_path}/absent")
    assert failed.value.code == "git-clone"
    assert "absent" in failed.value.found


def test_a_reference_cannot_smuggle_an_option_to_git(opened: Workspace, tmp_path: Path) -> None:
    with pytest.raises(Failed):
        fetch_project(opened, f"git+--upload-pack=touch {tmp_path}/pwned")
    assert not (tmp_path / "pwned").exists()
