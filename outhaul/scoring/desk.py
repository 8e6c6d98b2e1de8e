"""One request's way to run() and back: limiter, worker threads and time limits.

A worker that has finished takes the next request itself, so that under load a request costs no change of threads
beyond its own; answers go back to the event loop in batches. What both sides touch is guarded by one lock, held for
microseconds and never while user code runs.
"""

from __future__ import annotations

import asyncio
import threading
import time
from typing import Any, Callable

from .answers import Answer, encode, error_answer, script_failed, timed_out
from .calling import BadInput, ScoreRequest, StringBody
from .config import Config
from .limiter import Limiter, retry_after
from .script import traceback_of
from .status import Load
from .workers import Workers

SWEEP_SECONDS = 0.01
"""How often time limits are looked at while there are requests."""


class Turn:
    """A request at the desk. `answer` is done when the client can be answered, which may be before run() returns; None
    when the client left while it was queued."""

    __slots__ = ("answer", "gone", "request", "started_at")

    def __init__(self, request: ScoreRequest, answer: asyncio.Future[Answer | None], gone: Callable[[], bool]) -> None:
        self.request = request
        self.answer = answer
        self.gone = gone
        self.started_at = 0.0


class Desk:
    """`log` gets what nobody is left to be told: `log(level, text)`."""

    def __init__(self, config: Config, workers: Workers, loop: asyncio.AbstractEventLoop, log: Any) -> None:
        self._config = config
        self._workers = workers
        self._loop = loop
        self._log = log
        self._lock = threading.Lock()
        self._limiter: Limiter[Turn] = Limiter(config.concurrency)
        self._running: set[Turn] = set()
        self._finished: list[tuple[Turn, Answer | None]] = []
        self._sweeping = False
        self._handled = self._failed = 0
        self._mean_seconds = 0.0
        self.convention: StringBody | None = None
        """Set once the script is loaded, before the scoring listener opens."""

    def submit(self, request: ScoreRequest, wait_seconds: float, gone: Callable[[], bool]) -> Turn:
        """Start now, or queue for at most `wait_seconds`. `gone` says whether the client has left; any thread asks."""
        turn = Turn(request, self._loop.create_future(), gone)
        now = time.monotonic()
        with self._lock:
            starts = self._limiter.enter(turn, now + wait_seconds)
            if starts:
                self._start(turn, now)
        if starts:
            self._workers.submit(lambda: self._work(turn))
        if not self._sweeping:
            self._sweeping = True
            self._loop.call_later(SWEEP_SECONDS, self._sweep)
        return turn

    def load(self) -> Load:
        now, timeout = time.monotonic(), self._config.scoring_timeout_ms / 1000
        stuck = timeout + self._config.stuck_after_ms / 1000
        with self._lock:
            return Load(
                busy=self._limiter.busy,
                queued=self._limiter.queued,
                overdue=sum(now - turn.started_at > timeout for turn in self._running),
                stuck=sum(now - turn.started_at > stuck for turn in self._running),
                handled=self._handled,
                failed=self._failed,
            )

    # ---- in a worker

    def _work(self, first: Turn) -> None:
        """The given turn, then whoever waits, until nobody does."""
        assert self.convention is not None
        turn: Turn | None = first
        while turn is not None:
            answer = answer_of(self.convention, turn.request)
            turn = self._exchange(turn, answer)

    def _exchange(self, done: Turn, answer: Answer) -> Turn | None:
        """Hand in an answer and get the next turn."""
        now = time.monotonic()
        finished: list[tuple[Turn, Answer | None]] = [(done, answer)]
        with self._lock:
            self._count(answer, now - done.started_at)
            self._running.discard(done)
            following = self._limiter.leave(now)
            while following is not None and following.gone():
                finished.append((following, None))
                following = self._limiter.leave(now)
            if following is not None:
                self._start(following, now)
            unseen = bool(self._finished)
            self._finished.extend(finished)
        if not unseen:  # else the loop has been told already, and has not looked yet
            self._loop.call_soon_threadsafe(self._deliver)
        return following

    # ---- with the lock held

    def _start(self, turn: Turn, now: float) -> None:
        turn.started_at = now
        self._running.add(turn)

    def _count(self, answer: Answer, seconds: float) -> None:
        self._handled += 1
        self._failed += bool(answer.run_function_failed) or seconds * 1000 > self._config.scoring_timeout_ms
        self._mean_seconds += (seconds - self._mean_seconds) * (0.1 if self._handled > 1 else 1.0)

    # ---- in the event loop

    def _deliver(self) -> None:
        with self._lock:
            finished, self._finished = self._finished, []
        for turn, answer in finished:
            if not settle(turn, answer) and answer is not None and answer.detail:
                self._log("ERROR", f"run() failed after its client had been answered: {answer.detail}")

    def _sweep(self) -> None:
        """Answer those whose time is up: 503 in the queue, 500 in run()."""
        now, timeout_ms = time.monotonic(), self._config.scoring_timeout_ms
        with self._lock:
            queued = self._limiter.queued
            late = self._limiter.expire(now)
            overdue = [turn for turn in self._running if (now - turn.started_at) * 1000 > timeout_ms]
            busy = self._limiter.busy
        seconds = retry_after(queued, self._limiter.slots, self._mean_seconds)
        for turn in late:
            settle(turn, too_busy(self._config.service, seconds))
        for turn in overdue:
            settle(turn, timed_out(timeout_ms))
        self._sweeping = busy > 0
        if self._sweeping:
            self._loop.call_later(SWEEP_SECONDS, self._sweep)


def settle(turn: Turn, answer: Answer | None) -> bool:
    """Give the turn its answer, unless it has one."""
    if turn.answer.done():
        return False
    turn.answer.set_result(answer)
    return True


def answer_of(convention: StringBody, request: ScoreRequest) -> Answer:
    """Call run() and turn whatever comes of it into an answer. Never raises."""
    try:
        arguments = convention.arguments(request)
    except BadInput as error:
        return error_answer(error.status, str(error))
    try:
        started = time.perf_counter()
        value: Any = convention.call(arguments)
        return encode(value, (time.perf_counter() - started) * 1000)
    except BaseException as error:  # noqa: BLE001  a script that calls sys.exit() must not take the replica with it
        return script_failed(traceback_of(error))


def too_busy(service: str, seconds: int) -> Answer:
    message = f"Too many requests for service {service} (overloaded)"
    return error_answer(503, message, ("retry-after", str(seconds)), ("x-busy", "1"))
