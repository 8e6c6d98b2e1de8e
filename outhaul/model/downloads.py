"""Bringing saved files back to a folder of this machine."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from outhaul.errors import Refused
from outhaul.ports import ObjectStore
from outhaul.run.record import OutputFile


def download_files(store: ObjectStore, location: str, files: Sequence[OutputFile], target: Path) -> list[Path]:
    """Write `files`, whose keys begin with `location`, below `target`. Refused when that would overwrite something."""
    paths = [target / file.path for file in files]
    if taken := next((path for path in paths if path.exists()), None):
        raise Refused(
            "download-target",
            "the download would overwrite a file",
            found=f"{taken} exists",
            expected="a folder without these files",
            remedy="name another folder with --target, or remove the file",
        )
    for file, path in zip(files, paths, strict=True):
        path.parent.mkdir(parents=True, exist_ok=True)
        store.download(location + file.path, path)
    return paths
