"""One request's way to run() and back: limiter, worker threads and time limits. All methods belong to the event loop's
thread; only `_perform` runs in a worker."""

from __future__ import annotations

import asyncio
import time
from typing import Any, Callable

from .answers import Answer, encode, error_answer, script_failed, timed_out
from .calling import BadInput, ScoreRequest, StringBody
from .config import Config
from .limiter import Limiter, retry_after
from .script import traceback_of
from .status import Load
from .workers import Workers


class Turn:
    """A request at the desk. `answer` is done when the client can be answered, which may be before run() returns; None
    when the client left while it was queued."""

    __slots__ = ("answer", "gone", "request", "started_at", "timer")

    def __init__(self, request: ScoreRequest, answer: asyncio.Future[Answer | None], gone: Callable[[], bool]) -> None:
        self.request = request
        self.answer = answer
        self.gone = gone
        self.timer: asyncio.TimerHandle | None = None
        self.started_at: float | None = None


class Desk:
    def __init__(self, config: Config, workers: Workers, loop: asyncio.AbstractEventLoop) -> None:
        self._config = config
        self._workers = workers
        self._loop = loop
        self._limiter: Limiter[Turn] = Limiter(config.concurrency)
        self._running: set[Turn] = set()
        self._handled = self._failed = 0
        self._mean_seconds = 0.0
        self.convention: StringBody | None = None
        """Set once the script is loaded, before the scoring listener opens."""

    def submit(self, request: ScoreRequest, wait_seconds: float, gone: Callable[[], bool]) -> Turn:
        """Start now, or queue for at most `wait_seconds`. `gone` says whether the client has left."""
        turn = Turn(request, self._loop.create_future(), gone)
        now = self._loop.time()
        if self._limiter.enter(turn, now + wait_seconds):
            self._start(turn, now)
        else:
            turn.timer = self._loop.call_later(wait_seconds, self._give_up, turn)
        return turn

    def load(self) -> Load:
        now, timeout = self._loop.time(), self._config.scoring_timeout_ms / 1000
        stuck = timeout + self._config.stuck_after_ms / 1000
        ages = [now - turn.started_at for turn in self._running if turn.started_at is not None]
        return Load(
            busy=self._limiter.busy,
            queued=self._limiter.queued,
            overdue=sum(turn.answer.done() for turn in self._running),
            stuck=sum(age > stuck for age in ages),
            handled=self._handled,
            failed=self._failed,
        )

    def _start(self, turn: Turn, now: float) -> None:
        turn.started_at = now
        turn.timer = self._loop.call_later(self._config.scoring_timeout_ms / 1000, self._time_out, turn)
        self._running.add(turn)
        self._workers.submit(lambda: self._perform(turn))

    def _perform(self, turn: Turn) -> None:
        assert self.convention is not None
        answer = answer_of(self.convention, turn.request)
        self._loop.call_soon_threadsafe(self._finish, turn, answer)

    def _finish(self, turn: Turn, answer: Answer) -> None:
        now = self._loop.time()
        self._running.discard(turn)
        self._count(turn, answer, now)
        self._cancel_timer(turn)
        if not turn.answer.done():
            turn.answer.set_result(answer)
        self._start_next(now)

    def _start_next(self, now: float) -> None:
        turn = self._limiter.leave(now)
        while turn is not None:
            self._cancel_timer(turn)
            if not turn.gone():
                return self._start(turn, now)
            turn.answer.set_result(None)
            turn = self._limiter.leave(now)

    def _cancel_timer(self, turn: Turn) -> None:
        if turn.timer is not None:
            turn.timer.cancel()

    def _count(self, turn: Turn, answer: Answer, now: float) -> None:
        self._handled += 1
        self._failed += bool(answer.run_function_failed) or turn.answer.done()
        seconds = now - (turn.started_at or now)
        self._mean_seconds += (seconds - self._mean_seconds) * (0.1 if self._handled > 1 else 1.0)

    def _time_out(self, turn: Turn) -> None:
        if not turn.answer.done():
            turn.answer.set_result(timed_out(self._config.scoring_timeout_ms))

    def _give_up(self, turn: Turn) -> None:
        queued = self._limiter.queued
        self._limiter.withdraw(turn)
        if not turn.answer.done():
            seconds = retry_after(queued, self._limiter.slots, self._mean_seconds)
            turn.answer.set_result(too_busy(self._config.service, seconds))


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
