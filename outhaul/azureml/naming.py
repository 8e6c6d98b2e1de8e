"""v1's spelling of our field names."""

from __future__ import annotations

_IRREGULAR = {"memory_in_gb": "memoryInGB", "memory_in_gb_limit": "memoryInGBLimit"}


def camel(field: str) -> str:
    """`min_replicas` → `minReplicas`, as v1's files write it."""
    first, *rest = field.split("_")
    return _IRREGULAR.get(field) or first + "".join(part.capitalize() for part in rest)
