"""Amounts as people write them: `90s`, `2GB`, `2..4`. Pure."""

from __future__ import annotations

import re
from decimal import Decimal

from outhaul.errors import Refused

DURATION_PATTERN = r"^\d+(\.\d+)? ?(s|m|h|d)?$"
BYTES_PATTERN = r"^\d+(\.\d+)? ?(B|[kKMGT](i?B|i)?)?$"
REPLICAS_PATTERN = r"^\d+(\.\.\d+)?$"

_SECONDS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}
_POWERS = {"k": 1, "m": 2, "g": 3, "t": 4}


def parse_duration(text: str | float) -> float:
    """`90s`, `30m`, `2h`, `1d` or a number of seconds → seconds. Refused otherwise, and for nothing or less."""
    number, unit = _split(str(text), DURATION_PATTERN)
    seconds = float(number) * _SECONDS[unit] if number is not None else 0.0
    if seconds <= 0:
        raise Refused(
            "duration",
            f"`{text}` is no length of time",
            found=repr(text),
            expected="a number of seconds above 0, or text such as 90s, 30m, 2h, 1d",
            remedy="write for example `2h`",
        )
    return seconds


def parse_bytes(text: str | float) -> int:
    """`2GB` (10^9), `2GiB` or `2Gi` (2^30), `512MB`, or a number of GB → bytes. Refused otherwise."""
    number, unit = _split(f"{text} GB" if isinstance(text, int | float) else text, BYTES_PATTERN)
    size = int(number * _bytes_in(unit)) if number is not None else 0
    if size <= 0:
        raise Refused(
            "bytes",
            f"`{text}` is no amount of memory",
            found=repr(text),
            expected="a number of GB above 0, or text such as 512MB, 2GB, 1.5GiB",
            remedy="write for example `2GB`",
        )
    return size


def _bytes_in(unit: str) -> int:
    if unit in ("", "B"):
        return 1 if unit else 1000**3
    base = 1024 if "i" in unit else 1000
    return int(base ** _POWERS[unit[0].lower()])


def _split(text: str, pattern: str) -> tuple[Decimal | None, str]:
    text = text.strip()
    if not re.match(pattern, text):
        return None, ""
    digits = re.match(r"[\d.]+", text)
    assert digits is not None
    return Decimal(digits[0]), text[digits.end() :].strip()


def parse_replicas(text: str) -> tuple[int, int]:
    """`3` → (3, 3), a fixed number; `2..4` → (2, 4), autoscaled between the two. Refused otherwise."""
    least, _, most = text.strip().partition("..")
    if re.match(REPLICAS_PATTERN, text.strip()):
        low, high = int(least), int(most or least)
        if 1 <= low <= high:
            return low, high
    raise Refused(
        "replicas",
        f"`{text}` is no number of replicas",
        found=repr(text),
        expected="a whole number above 0 (`3`), or the fewest and the most (`2..4`)",
        remedy="write for example `--replicas 2..4`",
    )


def bytes_text(size: int) -> str:
    """A size for people, in powers of 1000: `812 B`, `14.2 kB`, `3.1 MB`."""
    number, unit = float(size), "B"
    for larger in ("kB", "MB", "GB", "TB"):
        if number < 1000:
            break
        number, unit = number / 1000, larger
    return f"{size} B" if unit == "B" else f"{number:.1f} {unit}"
