"""Where a project comes from: a reference → a folder on this machine.

`snapshot:<digest>[@commit[+dirty]]`   a snapshot in the workspace's object store, and where it was taken from
`git+<url>[@ref][#folder]`             a git repository, cloned shallowly
an absolute path                       a folder on the machine that runs the flow
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
from pathlib import Path

from outhaul.errors import Failed, NotFound, Refused, Unreachable
from outhaul.store.keys import snapshot_zip
from outhaul.workspace import Workspace

GIT = re.compile(r"^git\+(?P<url>.+?)(@(?P<ref>[^@#/:]+(/[^@#:]+)*))?(#(?P<folder>.+))?$")
DIGEST = re.compile(r"^[0-9a-f]{64}$")
DIRTY = "+dirty"
GIT_SECONDS = 600


def fetch_project(workspace: Workspace, reference: str) -> Path:
    """The folder that `reference` names. Refused when it names none, NotFound when nothing stands there."""
    if reference.startswith("snapshot:"):
        return _staged_snapshot(workspace, reference.removeprefix("snapshot:").partition("@")[0])
    if reference.startswith("git+"):
        return _cloned(workspace, reference)
    path = Path(reference)
    if not path.is_absolute():
        raise Refused(
            "project-reference",
            f"`{reference}` names no project",
            found=repr(reference),
            expected="snapshot:<digest>, git+URL@ref#folder, or an absolute path on the machine that runs the flow",
            remedy="use one of these forms; `outhaul deploy PATH` takes the snapshot for you",
        )
    if not path.is_dir():
        raise NotFound(
            "project-folder",
            "the project folder does not exist",
            found=f"no folder at {path}",
            expected="a folder on the machine that runs the flow",
            remedy="check the path, or deploy from where the folder is with `outhaul deploy PATH`",
        )
    return path


def _staged_snapshot(workspace: Workspace, digest: str) -> Path:
    """The snapshot's files, unzipped once into the cache. The folder appears complete or not at all."""
    from outhaul.snapshot.archive import unzip

    folder = workspace.settings.home.cache / "projects" / digest
    if folder.is_dir():
        return folder
    if not DIGEST.match(digest) or workspace.store.head(snapshot_zip(digest)) is None:
        raise NotFound(
            "snapshot-not-found",
            "the workspace holds no such snapshot",
            found=f"snapshot:{digest}",
            expected="the digest of a snapshot that was taken in this workspace",
            remedy="take it again with `outhaul deploy PATH`",
        )
    folder.parent.mkdir(parents=True, exist_ok=True)
    archive = folder.with_name(f"{digest}.{os.getpid()}.zip")
    try:
        workspace.store.download(snapshot_zip(digest), archive)
        unzip(archive, folder)
    finally:
        archive.unlink(missing_ok=True)
    return folder


def _cloned(workspace: Workspace, reference: str) -> Path:
    match = GIT.match(reference)
    if match is None:
        raise Refused(
            "project-reference",
            f"`{reference}` names no git repository",
            expected="git+URL, git+URL@ref or git+URL@ref#folder",
            remedy="write the reference in this form",
        )
    url, ref, folder = match["url"], match["ref"], match["folder"] or "."
    name = hashlib.sha256(reference.encode()).hexdigest()[:16]
    target = workspace.settings.home.cache / "clones" / f"{name}.{os.getpid()}"
    shutil.rmtree(target, ignore_errors=True)
    target.parent.mkdir(parents=True, exist_ok=True)
    branch = ["--branch", ref] if ref else []
    _git(["git", "clone", "--quiet", "--depth", "1", *branch, "--", url, str(target)], reference)
    project = (target / folder).resolve()
    if not project.is_relative_to(target.resolve()) or not project.is_dir():
        forget_clone(workspace, target)
        raise NotFound(
            "project-folder",
            "the repository has no such folder",
            found=f"no folder `{folder}` in {url}",
            expected="a folder inside the repository",
            remedy="name an existing folder after the `#`",
        )
    return project


def _git(command: list[str], reference: str) -> None:
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            timeout=GIT_SECONDS,
            env={**os.environ, "GIT_TERMINAL_PROMPT": "0"},
            check=False,
        )
    except FileNotFoundError as error:
        raise Failed(
            "git-missing", "git is not installed", expected="the `git` command on PATH", remedy="install git"
        ) from error
    except subprocess.TimeoutExpired as error:
        raise Unreachable(
            "git-timeout",
            "the git repository did not answer in time",
            found=f"no clone after {GIT_SECONDS} s",
            remedy="check the connection and try again",
        ) from error
    if done.returncode:
        raise Failed(
            "git-clone",
            f"`{reference}` could not be cloned",
            found=done.stderr.strip()[-1000:],
            expected="a repository, and a branch or tag, that this machine may read",
            remedy="check the URL, the ref and this machine's access",
        )


def forget_clone(workspace: Workspace, folder: Path) -> None:
    """Remove a clone after its snapshot was taken. Other folders are left alone."""
    clones = workspace.settings.home.cache / "clones"
    if folder.is_relative_to(clones):
        shutil.rmtree(clones / folder.relative_to(clones).parts[0], ignore_errors=True)


def snapshot_reference(digest: str, commit: str, dirty: bool) -> str:
    """The reference of a snapshot that was taken here. Its files alone do not tell which commit they came from."""
    return f"snapshot:{digest}" + (f"@{commit}{DIRTY if dirty else ''}" if commit else "")


def git_state(reference: str, folder: Path) -> tuple[str, bool]:
    """(commit, whether files differ from it): as a snapshot's reference says, else of the repository that holds the
    folder; ("", False) where there is none."""
    if reference.startswith("snapshot:"):
        commit = reference.partition("@")[2]
        return commit.removesuffix(DIRTY), commit.endswith(DIRTY)
    try:
        commit = _ask_git(folder, "rev-parse", "HEAD")
        return commit, bool(_ask_git(folder, "status", "--porcelain", "--", "."))
    except (OSError, subprocess.SubprocessError):
        # Provenance is a record of what could be known; a project need not stand in a repository.
        return "", False


def _ask_git(folder: Path, *arguments: str) -> str:
    command = ["git", "-C", str(folder), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=30).stdout.strip()
