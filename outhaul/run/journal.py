"""The step table of a run, written into its record while the steps happen, so that anybody can follow it live."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from outhaul.errors import OuthaulError
from outhaul.run.record import Run, Step, StepState
from outhaul.store.keys import run_record
from outhaul.store.records import Records

NOTE_SECONDS = 0.5
"""Shortest time between two notes that reach the record: people read no faster, and each one is a durable write."""


class OpenStep:
    """A step that is happening. `note` says how far it is; the last note stays in the table."""

    def __init__(self, step: Step, write: Callable[[Step], None], clock: Callable[[], float]) -> None:
        self._step = step
        self._write = write
        self._clock = clock
        self._started = self._noted = clock()

    @property
    def state(self) -> StepState:
        return self._step.state

    @property
    def text(self) -> str:
        """The last note."""
        return self._step.note

    def note(self, text: str) -> None:
        """Say what is worked on or how far it is."""
        self._step.note = text
        if self._clock() - self._noted >= NOTE_SECONDS:
            self._noted = self._clock()
            self._save()

    def reused(self, note: str) -> None:
        """Nothing was done, since an earlier result serves."""
        self._step.state = StepState.REUSED
        self._step.note = note

    def skipped(self, note: str) -> None:
        """Nothing was done, since nothing was needed."""
        self._step.state = StepState.SKIPPED
        self._step.note = note

    def close(self, state: StepState) -> None:
        if self._step.state is StepState.RUNNING or state is StepState.FAILED:
            self._step.state = state
        self._save()

    def _save(self) -> None:
        self._step.seconds = round(self._clock() - self._started, 3)
        self._write(self._step)


class Journal:
    """Writes the steps of one run. A step that happens again (a retry, a restarted flow) replaces its line."""

    def __init__(self, records: Records, run: str, clock: Callable[[], float]) -> None:
        self._records = records
        self._run = run
        self._clock = clock

    @contextmanager
    def step(self, name: str, note: str = "") -> Iterator[OpenStep]:
        """Record that `name` began, and how it ended."""
        step = Step(name=name, state=StepState.RUNNING, seconds=0.0, note=note)
        self._write(step)
        opened = OpenStep(step, self._write, self._clock)
        try:
            yield opened
        except BaseException as error:
            if isinstance(error, OuthaulError):
                step.note = error.message
            opened.close(StepState.FAILED)
            raise
        opened.close(StepState.DONE)

    def _write(self, step: Step) -> None:
        self._records.update(run_record(self._run), Run, lambda run: _with_step(run, step))


def _with_step(run: Run, step: Step) -> Run:
    names = [known.name for known in run.steps]
    if step.name in names:
        run.steps[names.index(step.name)] = step
    else:
        run.steps.append(step)
    return run
