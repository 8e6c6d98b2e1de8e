"""Which names a snapshot's files may have: those that no system reads as a place outside the folder. Pure."""

from __future__ import annotations

import re

_DRIVE = re.compile(r"[A-Za-z]:")


def name_problem(name: str) -> str | None:
    """Why an archive's entry of this name is refused, as the end of the sentence `"name" …`; None when it is fine."""
    parts = re.split(r"[/\\]", name) if "\\" in name else name.split("/")
    if "\0" in name:
        return "contains a NUL character"
    if name.startswith(("/", "\\")):
        return "is an absolute path"
    if name[1:2] == ":" and _DRIVE.match(name):
        return "names a drive"
    if ".." in parts:
        return "leads out of the folder by `..`"
    if not any(part not in ("", ".") for part in parts):
        return "names no file"
    return None
