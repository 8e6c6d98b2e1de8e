"""How large a snapshot may be, and who is to blame when it is not. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from outhaul.errors import Refused

_MOST_SHOWN = 5


@dataclass(frozen=True)
class Limits:
    """v1's limits, after ignore rules."""

    bytes: int = 300_000_000
    files: int = 2_000


UNPACK_LIMITS = Limits(bytes=50_000_000_000, files=1_000_000)
"""A snapshot was held to the project's own limits when it was taken; this only keeps a forged zip from the disk."""


def check_limits(sizes: Mapping[str, int], limits: Limits) -> None:
    """Refuse a project whose files (path → bytes) are too many or too large; the error lists the biggest offenders."""
    total = sum(sizes.values())
    if total > limits.bytes:
        raise Refused(
            "snapshot-too-large",
            f"the project has {_megabytes(total)}, more than the {_megabytes(limits.bytes)} that a snapshot may have",
            found=f"{len(sizes)} files. {_biggest(sizes)}",
            expected=f"at most {limits.bytes} bytes after ignore rules",
            remedy=_remedy("OUTHAUL_SNAPSHOT_MAX_BYTES", total),
        )
    if len(sizes) > limits.files:
        raise Refused(
            "snapshot-too-many-files",
            f"the project has {len(sizes)} files, more than the {limits.files} that a snapshot may have",
            found=f"{_megabytes(total)}. {_fullest(sizes)}",
            expected=f"at most {limits.files} files after ignore rules",
            remedy=_remedy("OUTHAUL_SNAPSHOT_MAX_FILES", len(sizes)),
        )


def _remedy(setting: str, needed: int) -> str:
    return f"list what the run does not need in .amlignore (it replaces .gitignore), or set {setting}={needed}"


def _biggest(sizes: Mapping[str, int]) -> str:
    by_folder = _per_folder(sizes, sizes)
    counts = _per_folder(dict.fromkeys(sizes, 1), sizes)
    files = [f"  {_megabytes(size):>10}  {path}" for path, size in _top(sizes)]
    folders = [f"  {_megabytes(size):>10}  {path} ({counts[path]} files)" for path, size in _top(by_folder)]
    return "\n".join(["Biggest files:", *files, *(["Biggest folders:", *folders] if folders else [])])


def _fullest(sizes: Mapping[str, int]) -> str:
    counts = _per_folder(dict.fromkeys(sizes, 1), sizes)
    by_folder = _per_folder(sizes, sizes)
    folders = [f"  {count:>6} files  {path} ({_megabytes(by_folder[path])})" for path, count in _top(counts)]
    return "\n".join(["Fullest folders:", *folders] if folders else ["All of them at the root"])


def _per_folder(amounts: Mapping[str, int], paths: Mapping[str, int]) -> dict[str, int]:
    """The sum of the amounts below each folder, at every level."""
    sums: Counter[str] = Counter()
    for path in paths:
        folder = path
        while "/" in folder:
            folder = folder.rpartition("/")[0]
            sums[folder + "/"] += amounts[path]
    return dict(sums)


def _top(amounts: Mapping[str, int]) -> list[tuple[str, int]]:
    return sorted(amounts.items(), key=lambda item: (-item[1], item[0]))[:_MOST_SHOWN]


def _megabytes(size: int) -> str:
    return f"{size / 1e6:,.1f} MB"
