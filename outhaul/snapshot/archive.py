"""Unpacks a zip that may come from anywhere: it touches nothing outside its target and appears whole or not at all."""

from __future__ import annotations

import errno
import os
import shutil
import stat
import zipfile
import zlib
from pathlib import Path

from outhaul.errors import Conflict, Failed, NotFound, Refused
from outhaul.snapshot.entries import ArchiveEntry, check_entries, refused_entry
from outhaul.snapshot.limits import UNPACK_LIMITS, Limits

_BLOCK = 1 << 20


def unzip(zip_path: Path, target: Path, *, limits: Limits = UNPACK_LIMITS) -> int:
    """Unpack into `target`, which must be absent or empty, and return the number of files.

    Refused, naming the entry, for: a name or link that leads out of the folder, a device, an encrypted entry, two of
    one name, a wrong checksum, more than `limits`, and bombs. Conflict when `target` holds something, NotFound without
    a zip. Whatever happens, `target` is complete or as it was; what a killed unzip left is removed by the next one.
    """
    _expect_empty(target)
    part = target.with_name(f".{target.name}.unzipping")
    _remove(part)
    try:
        with zipfile.ZipFile(zip_path) as archive:
            entries = check_entries(archive.infolist(), limits)
            part.mkdir(parents=True)
            _extract(archive, entries, part)
        _put_in_place(part, target)
    except FileNotFoundError as error:
        raise NotFound("zip-missing", f"there is no `{zip_path}`", remedy="take the snapshot again") from error
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, UnicodeDecodeError) as error:
        raise _broken(zip_path, str(error)) from error
    except OSError as error:
        raise _cannot_write(target, error) from error
    finally:
        _remove(part)
    return sum(entry.kind != stat.S_IFDIR for entry in entries)


def _extract(archive: zipfile.ZipFile, entries: list[ArchiveEntry], part: Path) -> None:
    """Links come last, so that nothing is ever written through one."""
    links: list[ArchiveEntry] = []
    for entry in entries:
        if entry.kind == stat.S_IFDIR:
            (part / entry.path).mkdir(parents=True, exist_ok=True)
        elif entry.kind == stat.S_IFREG:
            _extract_file(archive, entry, part / entry.path)
        else:
            links.append(entry)
    for entry in links:
        place = part / entry.path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.symlink_to(os.fsdecode(_link_target(archive, entry)))
    for entry in links:
        if not _inside(part, part / entry.path):
            raise refused_entry(entry.info, f"is a link to {os.readlink(part / entry.path)!r}, out of the folder")


def _extract_file(archive: zipfile.ZipFile, entry: ArchiveEntry, place: Path) -> None:
    """zipfile stops at the size that the directory gives, and compares the checksum."""
    place.parent.mkdir(parents=True, exist_ok=True)
    with archive.open(entry.info) as packed, place.open("xb") as file:
        shutil.copyfileobj(packed, file, _BLOCK)
        written = file.tell()
        os.fchmod(file.fileno(), entry.mode)
    if written != entry.info.file_size:
        raise zipfile.BadZipFile(f"{entry.path!r} ends after {written} of {entry.info.file_size} bytes")


def _link_target(archive: zipfile.ZipFile, entry: ArchiveEntry) -> bytes:
    target = archive.read(entry.info)
    if not target or b"\0" in target or target.startswith(b"/"):
        raise refused_entry(entry.info, f"is a link to {os.fsdecode(target)!r}, out of the folder")
    return target


def _inside(part: Path, link: Path) -> bool:
    root = os.path.realpath(part)
    return os.path.commonpath([root, os.path.realpath(link)]) == root


def _expect_empty(target: Path) -> None:
    if target.is_symlink() or (target.exists() and not (target.is_dir() and not any(target.iterdir()))):
        raise _occupied(target)


def _put_in_place(part: Path, target: Path) -> None:
    """Nothing is forced to the disk: an unpacked project is temporary, and made again from its zip."""
    try:
        os.rename(part, target)
    except OSError as error:
        if error.errno in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):
            raise _occupied(target) from error
        raise


def _remove(part: Path) -> None:
    if part.is_dir():
        shutil.rmtree(part)


def _occupied(target: Path) -> Conflict:
    return Conflict(
        "unzip-target-occupied",
        f"`{target}` holds something already",
        found="files",
        expected="an empty folder, or none",
        remedy="remove it, or unpack elsewhere",
    )


def _broken(zip_path: Path, why: str) -> Refused:
    return Refused(
        "zip-broken",
        f"`{zip_path.name}` is not a sound zip",
        found=why,
        expected="a complete zip, stored or deflated",
        remedy="take the snapshot again, or make the zip again",
    )


def _cannot_write(target: Path, error: OSError) -> Failed:
    return Failed(
        "unzip-failed",
        f"the project cannot be unpacked to `{target}`",
        found=str(error),
        expected="a file system with room for the project, and names that it can hold",
        remedy="free some space, or shorten the file's name",
    )
