"""A run: one execution of a project's entry script, its attempts, its steps, and what came of it. Pure."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

import msgspec

from outhaul.service.record import ModelRef


class RunState(StrEnum):
    """v1's run states, as far as they occur here."""

    NOT_STARTED = "NotStarted"
    PREPARING = "Preparing"
    RUNNING = "Running"
    FINALIZING = "Finalizing"
    COMPLETED = "Completed"
    FAILED = "Failed"
    CANCEL_REQUESTED = "CancelRequested"
    CANCELED = "Canceled"

    @property
    def final(self) -> bool:
        return self in (RunState.COMPLETED, RunState.FAILED, RunState.CANCELED)


class EndReason(StrEnum):
    """Why an attempt ended. Only LOST (the machine or supervisor died) may be followed by another attempt."""

    EXITED = "exited"
    TIME_LIMIT = "time-limit"
    MEMORY_LIMIT = "memory-limit"
    CANCELLED = "cancelled"
    LOST = "lost"


class Attempt(msgspec.Struct, kw_only=True):
    """One start of the entry script."""

    number: int
    started_at: str
    ended_at: str | None = None
    exit_code: int | None = None
    """Of the entry script; minus the signal's number where a signal ended it. None while it runs or where unknown."""
    reason: EndReason | None = None
    peak_memory_bytes: int | None = None


class StepState(StrEnum):
    RUNNING = "running"
    DONE = "done"
    REUSED = "reused"
    SKIPPED = "skipped"
    FAILED = "failed"


class Step(msgspec.Struct, kw_only=True):
    """One line of the step table."""

    name: str
    state: StepState
    seconds: float
    note: str = ""
    """What it worked on, what was reused, what could not be honoured."""


class OutputFile(msgspec.Struct, kw_only=True, frozen=True):
    path: str
    bytes: int
    sha256: str


class Run(msgspec.Struct, kw_only=True):
    """The record `runs/<id>.json`. `id` is the Prefect flow run's id."""

    schema: int = 1
    id: str
    name: str
    """Prefect's name of the flow run, for people."""
    project: str
    kind: str
    """`deploy` or `train`."""
    state: RunState = RunState.NOT_STARTED
    created_at: str
    started_at: str | None = None
    ended_at: str | None = None
    snapshot: str = ""
    environment: str = ""
    arguments: list[str] = []
    data_digest: str = ""
    """What the project says of its data, so that `--reuse` can tell new data from old."""
    restartable: bool = False
    reused_from: str = ""
    """Id of the run whose outputs this run took over (`--reuse`)."""
    attempts: list[Attempt] = []
    steps: list[Step] = []
    output_files: int = 0
    output_bytes: int = 0
    outputs_saved: bool = False
    """Whether everything under ./outputs was saved; written last. The files are listed in their own manifest."""
    metrics: dict[str, Any] = {}
    models: list[ModelRef] = []
    service: str = ""
    scoring_uri: str = ""
    """Where the service answers, once it was seen to."""
    git_commit: str = ""
    git_dirty: bool = False
    flow_run_url: str = ""
    parameters: dict[str, Any] = {}
    """The flow run's parameters, secrets excluded, so that it can be read and repeated."""
    error: dict[str, Any] | None = None
