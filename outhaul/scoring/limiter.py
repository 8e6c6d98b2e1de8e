"""First come, first served, and never more at once than there are slots. Pure: the clock is an argument.

Not thread-safe: who shares it holds a lock.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from typing import Generic, Hashable, TypeVar

Waiter = TypeVar("Waiter", bound=Hashable)


class Limiter(Generic[Waiter]):
    """Slots, and a queue of waiters with deadlines (same clock as `now`)."""

    def __init__(self, slots: int) -> None:
        self.slots = slots
        self.busy = 0
        self._waiting: OrderedDict[Waiter, float] = OrderedDict()

    @property
    def queued(self) -> int:
        return len(self._waiting)

    def enter(self, waiter: Waiter, deadline: float) -> bool:
        """True: a slot is taken, start now. False: queued until `leave` hands it a slot."""
        if self.busy < self.slots:
            self.busy += 1
            return True
        self._waiting[waiter] = deadline
        return False

    def leave(self, now: float) -> Waiter | None:
        """A call ended. Its slot passes to the first waiter that is still in time, which is returned. Those past
        their deadline stay for `expire`."""
        for waiter, deadline in self._waiting.items():
            if deadline > now:
                del self._waiting[waiter]
                return waiter
        self.busy -= 1
        return None

    def expire(self, now: float) -> list[Waiter]:
        """Take those whose deadline has come out of the queue."""
        late = [waiter for waiter, deadline in self._waiting.items() if deadline <= now]
        for waiter in late:
            del self._waiting[waiter]
        return late


def retry_after(queued: int, slots: int, mean_seconds: float) -> int:
    """Whole seconds until a new request would probably find a slot: 1 to 60."""
    return max(1, min(60, math.ceil((queued + 1) * mean_seconds / slots)))
