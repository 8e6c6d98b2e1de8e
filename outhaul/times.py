"""Times as records keep them: UTC, ISO 8601, milliseconds, a Z at the end. Pure; the clock is passed in."""

from __future__ import annotations

from datetime import UTC, datetime


def iso(now: float) -> str:
    """Unix seconds → `2026-11-22T23:05:06.123Z`."""
    return datetime.fromtimestamp(now, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def unix(text: str) -> float:
    """The reverse of `iso`."""
    return datetime.fromisoformat(text).timestamp()
