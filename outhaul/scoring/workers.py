"""The threads that run user code. The main thread is the first of them: init() runs there, and with one slot so does
every run(), so that libraries bound to a thread, signal handlers and event loops behave as under v1."""

from __future__ import annotations

import threading
from queue import SimpleQueue
from typing import Callable

Job = Callable[[], None]


class Workers:
    def __init__(self, count: int) -> None:
        self._count = count
        self._jobs: SimpleQueue[Job | None] = SimpleQueue()

    def submit(self, job: Job) -> None:
        """From any thread. The job must not raise."""
        self._jobs.put(job)

    def work(self) -> None:
        """Become the first worker, with the others beside; returns after `stop`."""
        for number in range(2, self._count + 1):
            threading.Thread(target=self._loop, name=f"scoring-{number}", daemon=True).start()
        self._loop()

    def stop(self) -> None:
        """Each worker returns once the jobs before this are done."""
        for _ in range(self._count):
            self._jobs.put(None)

    def _loop(self) -> None:
        while True:
            job = self._jobs.get()
            if job is None:
                return
            job()
