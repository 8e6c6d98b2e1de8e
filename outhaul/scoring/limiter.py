"""First come, first served, and never more at once than there are slots. Pure: the clock is an argument.

Used from one thread only (the event loop's), so it needs no lock.
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
        """A call ended. Its slot passes to the first waiter that is still in time, which is returned; those whose
        deadline has come before it leave the queue without a slot."""
        while self._waiting:
            waiter, deadline = self._waiting.popitem(last=False)
            if deadline > now:
                return waiter
        self.busy -= 1
        return None

    def withdraw(self, waiter: Waiter) -> bool:
        """Take a waiter out of the queue. False when it is not (or no longer) in it."""
        return self._waiting.pop(waiter, None) is not None


def retry_after(queued: int, slots: int, mean_seconds: float) -> int:
    """Whole seconds until a new request would probably find a slot: 1 to 60."""
    return max(1, min(60, math.ceil((queued + 1) * mean_seconds / slots)))
