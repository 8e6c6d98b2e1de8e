"""Which Python a conda constraint such as `=3.10`, `>=3.9,<3.12` or `3.10.*` allows. Pure.

The minor version decides: compiled packages depend on it, and on nothing finer. So `==3.10.4` is answered by any 3.10,
the exact one first, and never by 3.11.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from outhaul.errors import Refused

Version = tuple[int, ...]
MINORS = [(3, minor) for minor in range(6, 30)]
_MOST_PATCHES = 40
_CLAUSE = re.compile(r"(?P<operator>==|>=|<=|!=|~=|=|>|<)?(?P<version>\d+(?:\.\d+)*)(?P<star>\.?\*)?")


def allows(constraint: str, version: Version) -> bool:
    """Whether the version fulfils the constraint: `,` means and, `|` means or, empty or `*` means any."""
    return any(
        all(_fulfils(clause.strip(), version) for clause in choice.split(",")) for choice in constraint.split("|")
    )


def allows_minor(constraint: str, minor: Version) -> bool:
    """Whether some patch release of `minor` fulfils the constraint."""
    return any(allows(constraint, (*minor[:2], patch)) for patch in range(_MOST_PATCHES))


def nearest_minor(constraint: str, running: Version) -> Version | None:
    """The allowed minor nearest to the running one, the older of two as near; None when no Python 3 is allowed."""
    allowed = [minor for minor in MINORS if allows_minor(constraint, minor)]
    return min(allowed, key=lambda minor: (abs(minor[1] - running[1]), minor), default=None)


def best(constraint: str, versions: Iterable[Version], running: Version) -> Version | None:
    """The version to take of those at hand: one that fulfils the constraint to the patch before one that has only the
    right minor, then the minor nearest to the running one, then the newest patch. None when no minor is right."""
    fitting = [version for version in versions if allows_minor(constraint, version)]
    return min(
        fitting,
        key=lambda version: (not allows(constraint, version), abs(version[1] - running[1]), [-n for n in version]),
        default=None,
    )


def parse_version(text: str) -> Version:
    """`3.11.7` → (3, 11, 7). A suffix such as `rc1` is left out."""
    match = re.match(r"\d+(\.\d+)*", text)
    return tuple(int(part) for part in match[0].split(".")) if match else ()


def _fulfils(clause: str, version: Version) -> bool:
    if clause in ("", "*"):
        return True
    match = _CLAUSE.fullmatch(clause)
    if match is None:
        raise Refused(
            "python-version",
            "the constraint on python cannot be read",
            found=clause,
            expected="such as `python=3.11`, `python>=3.9,<3.12` or `python=3.11.*`",
            remedy="correct the python line among the dependencies",
        )
    return _compare(match, parse_version(match["version"]), version)


def _compare(match: re.Match[str], asked: Version, version: Version) -> bool:
    operator, width = match["operator"] or "==", max(len(asked), len(version))
    prefix = version[: len(asked)] == asked
    a, v = _padded(asked, width), _padded(version, width)
    if operator == "~=":
        return v >= a and version[: len(asked) - 1] == asked[:-1]
    if operator == "=" or (match["star"] and operator == "=="):
        return prefix
    if match["star"] and operator == "!=":
        return not prefix
    return {"==": v == a, "!=": v != a, ">=": v >= a, "<=": v <= a, ">": v > a, "<": v < a}[operator]


def _padded(version: Version, width: int) -> Version:
    return version + (0,) * (width - len(version))
