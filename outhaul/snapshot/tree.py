"""Finds the files of a project folder that belong to its snapshot: ignore rules obeyed, links resolved."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

from outhaul.errors import Refused
from outhaul.problems import Problem, problem_of, refuse
from outhaul.snapshot.entry_name import name_problem
from outhaul.snapshot.ignore import ALWAYS_IGNORED, AMLIGNORE, GITIGNORE, Rules

Identity = tuple[int, int]
_MOST_SHOWN = 10


class FoundFile(NamedTuple):
    """A file of the project. `path` is relative to the root, with slashes; `place` is where to open it."""

    path: str
    place: bytes
    stat: os.stat_result

    @property
    def mode(self) -> int:
        """0o755 where the owner may execute it, else 0o644: all that git and the digest know of permissions."""
        return 0o755 if self.stat.st_mode & stat.S_IXUSR else 0o644


@dataclass(frozen=True)
class ProjectTree:
    """`files` are sorted by path; `skipped` says, a sentence each, what is no file and stays out."""

    root: Path
    files: list[FoundFile]
    skipped: list[str]

    @property
    def bytes(self) -> int:
        return sum(file.stat.st_size for file in self.files)


def find_project_files(root: Path) -> ProjectTree:
    """The files after ignore rules: `.amlignore` at the root alone if there is one, else `.gitignore` at every level.

    A link to a file or folder inside the root counts as what it points to. Refused, naming all of them: links that
    lead outside, in a circle or nowhere, names that are not UTF-8, and files that cannot be listed.
    """
    walk = _Walk(_real_folder(root))
    try:
        content = _read_if_file(os.path.join(walk.root, AMLIGNORE), follow=True)
    except OSError as error:
        raise _unreadable(AMLIGNORE, error) from error
    if content is not None:
        return walk.run(Rules().within(b"", content), nested=False)
    return walk.run(Rules(), nested=True)


def find_all_files(root: Path) -> ProjectTree:
    """Every file, whatever ignore files say: what an unpacked snapshot consists of."""
    return _Walk(_real_folder(root)).run(Rules(), nested=False)


class _Folder(NamedTuple):
    path: bytes
    """Relative to the root; empty for the root."""
    rules: Rules
    above: tuple[Identity, ...]
    """This folder and those that lead to it, to notice links that go in a circle."""


@dataclass
class _Walk:
    root: bytes
    files: list[FoundFile] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    problems: list[Refused] = field(default_factory=list)

    def run(self, rules: Rules, *, nested: bool) -> ProjectTree:
        waiting = [_Folder(b"", rules, (_identity(os.stat(self.root)),))]
        while waiting:
            waiting += self._enter(waiting.pop(), nested)
        refuse(_by_code(self.problems), f"`{os.fsdecode(self.root)}`")
        return ProjectTree(Path(os.fsdecode(self.root)), sorted(self.files), sorted(self.skipped))

    def _enter(self, folder: _Folder, nested: bool) -> list[_Folder]:
        """Take the folder's files and return the folders below it."""
        below: list[_Folder] = []
        try:
            with os.scandir(os.path.join(self.root, folder.path)) as entries:
                found = list(entries)
            if nested and any(entry.name == GITIGNORE for entry in found):
                content = _read_if_file(os.path.join(self.root, folder.path, GITIGNORE), follow=False)
                folder = folder._replace(rules=folder.rules.within(folder.path, content or b""))
        except OSError as error:
            self.problems.append(_unreadable(folder.path, error))
            return below
        for entry in found:
            path = folder.path + b"/" + entry.name if folder.path else entry.name
            is_folder = entry.is_dir(follow_symlinks=False)
            if entry.name in ALWAYS_IGNORED or folder.rules.ignores(path, is_folder):
                continue
            try:
                below += self._take(entry, path, folder)
            except Refused as problem:
                self.problems.append(problem)
            except OSError as error:
                self.problems.append(_unreadable(path, error))
        return below

    def _take(self, entry: os.DirEntry[bytes], path: bytes, folder: _Folder) -> list[_Folder]:
        found = self._resolve(entry, path) if entry.is_symlink() else entry.stat(follow_symlinks=False)
        if stat.S_ISDIR(found.st_mode):
            identity = _identity(found)
            if identity in folder.above:
                raise _link_problem("snapshot-link-circle", "in a circle", path, entry.path)
            return [_Folder(path, folder.rules, (*folder.above, identity))]
        if stat.S_ISREG(found.st_mode):
            self.files.append(FoundFile(_text(path), entry.path, found))
        else:
            self.skipped.append(f"`{os.fsdecode(path)}` is {_kind(found.st_mode)} and stays out of the snapshot")
        return []

    def _resolve(self, entry: os.DirEntry[bytes], path: bytes) -> os.stat_result:
        """What the link points to."""
        real = os.path.realpath(entry.path)
        if real != self.root and not real.startswith(self.root.rstrip(b"/") + b"/"):
            raise _link_problem("snapshot-link-outside", "out of the project folder", path, entry.path)
        try:
            return os.stat(entry.path)
        except OSError as error:  # missing, or links that point to each other
            raise _link_problem("snapshot-link-dangling", "nowhere", path, entry.path) from error


def _real_folder(root: Path) -> bytes:
    if not root.is_dir():
        raise Refused(
            "project-folder-missing",
            f"`{root}` is not a folder",
            found="a file" if root.exists() else "nothing",
            expected="the project's folder",
            remedy="give the path of the folder that holds the project's files",
        )
    return os.path.realpath(os.fsencode(root))


def _read_if_file(place: bytes, *, follow: bool) -> bytes | None:
    """The content, None where there is no regular file. git does not follow a `.gitignore` that is a link."""
    try:
        found = os.stat(place, follow_symlinks=follow)
    except FileNotFoundError:
        return None
    if not stat.S_ISREG(found.st_mode):
        return None
    with open(place, "rb") as file:
        return file.read()


def _identity(found: os.stat_result) -> Identity:
    return found.st_dev, found.st_ino


def _text(path: bytes) -> str:
    try:
        text = path.decode()
    except UnicodeDecodeError as error:
        raise Refused(
            "snapshot-name-not-utf8",
            "a file's name is not UTF-8",
            found=repr(path)[2:-1],
            expected="names in UTF-8, which mean the same on every machine",
            remedy="rename the file, or list it in .amlignore",
        ) from error
    problem = name_problem(text)
    if problem:
        raise Refused(
            "snapshot-name",
            "a file's name cannot be unpacked safely",
            found=f"{text!r} {problem}",
            expected="a name that no system reads as a place outside the project",
            remedy="rename the file, or list it in .amlignore",
        )
    return text


def _link_problem(code: str, where: str, path: bytes, place: bytes) -> Refused:
    target = os.fsdecode(os.readlink(place)) if os.path.islink(place) else "a folder above it"
    return Refused(
        code,
        f"a link leads {where}",
        found=f"{os.fsdecode(path)} -> {target}".encode(errors="backslashreplace").decode(),
        expected="links that lead to a file or folder inside the project folder",
        remedy="copy the data in, read it by a path or URL at run time, or list the link in .amlignore",
    )


def _unreadable(path: bytes, error: OSError) -> Refused:
    problem = Refused(
        "snapshot-unreadable",
        "a file or folder cannot be read",
        found=f"{os.fsdecode(path) or '.'}: {error.strerror}".encode(errors="backslashreplace").decode(),
        expected="read permission on everything that belongs to the snapshot",
        remedy="change its permissions, or list it in .amlignore",
    )
    problem.__cause__ = error
    return problem


def _by_code(refusals: list[Refused]) -> list[Problem]:
    """One problem for each code, which lists the files it is about."""
    by_code: dict[str, list[Refused]] = {}
    for refusal in sorted(refusals, key=lambda refusal: refusal.found):
        by_code.setdefault(refusal.code, []).append(refusal)
    return [_merged(group) for group in by_code.values()]


def _merged(group: list[Refused]) -> Problem:
    shown = [refusal.found for refusal in group[:_MOST_SHOWN]]
    if len(group) > _MOST_SHOWN:
        shown.append(f"and {len(group) - _MOST_SHOWN} more")
    return replace(problem_of(group[0]), found="\n".join(shown))


def _kind(mode: int) -> str:
    kinds = {stat.S_IFSOCK: "a socket", stat.S_IFIFO: "a named pipe"}
    return kinds.get(stat.S_IFMT(mode), "a device")
