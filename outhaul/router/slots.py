"""Backend slots: what HAProxy declares ahead, so that a new service needs no reload. Pure.

HAProxy below 3.4 fixes a backend's queue wait when it starts, so slots come in classes of wait. A slot's name says its
class (`wait_500_007`): the layout can be read back from a running HAProxy.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

Layout = Mapping[int, int]
"""Class of wait in milliseconds → number of slots."""

FIRST_LAYOUT: Layout = {100: 4, 500: 36, 1000: 4, 2000: 4, 5000: 4, 10_000: 4, 30_000: 4, 60_000: 4}
"""64 slots, most of them in v1's default class. One slot serves one version of a service."""

WAITS_MS = tuple(FIRST_LAYOUT)


def wait_class(wait_ms: int) -> int:
    """The effective queue wait for a wanted one: the next class up (nobody is refused early), at most a minute."""
    return next((wait for wait in WAITS_MS if wait >= wait_ms), WAITS_MS[-1])


def slot_names(layout: Layout) -> Iterator[str]:
    for wait, count in sorted(layout.items()):
        yield from (f"wait_{wait}_{number:03d}" for number in range(count))


def is_slot(name: str) -> bool:
    return name.startswith("wait_")


def wait_of(slot: str) -> int:
    """The class of a slot, from its name."""
    return int(slot.split("_")[1])


def doubled(layout: Layout, wait: int) -> Layout:
    """The layout with twice as many slots in one class."""
    return {**layout, wait: 2 * layout.get(wait, 1)}
