"""A run's beginning and end: its record, the compute that it holds, and what stays when its flow dies."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from outhaul.errors import Cancelled, Failed, OuthaulError
from outhaul.run.leftovers import sweep_leftovers
from outhaul.run.record import Run, RunState, StepState
from outhaul.run.training import save_everything, save_logs
from outhaul.store.keys import run_record
from outhaul.times import iso
from outhaul.workspace import Workspace

if TYPE_CHECKING:
    from outhaul.run.planning import Plan  # slow to import, and the command line's start would pay for it

logger = logging.getLogger(__name__)

LEASE_SECONDS = 900.0
"""How long compute stays held after its flow was last seen: long enough to restart a dead flow by hand."""


def begin_run(workspace: Workspace, run_id: str, kind: str, about: dict[str, Any]) -> Run:
    """The run's record: a new one, or the one of the flow that died before and is started again.

    What dead flows left half-written is removed first.
    """
    sweep_leftovers(workspace.settings.home)
    now = iso(time.time())

    def begin(run: Run | None) -> Run:
        if run is None:
            return Run(id=run_id, kind=kind, created_at=now, started_at=now, state=RunState.PREPARING, **about)
        run.error, run.ended_at = None, None
        run.state = RunState.RUNNING if run.attempts else RunState.PREPARING
        return run

    return workspace.records.upsert(run_record(run_id), Run, begin)


def note_plan(workspace: Workspace, run_id: str, plan: Plan, service: str) -> Run:
    """Write what the run is made of into its record."""
    train = plan.project.train

    def planned(run: Run) -> Run:
        run.project = plan.project.name
        run.service = service
        run.snapshot = plan.snapshot
        run.environment = plan.environment_hash
        run.arguments = list(train.arguments) if train else []
        run.data_digest = train.data if train else ""
        run.restartable = bool(train and train.restartable)
        run.git_commit, run.git_dirty = plan.git_commit, plan.git_dirty
        return run

    return workspace.records.update(run_record(run_id), Run, planned)


def note_scoring_uri(workspace: Workspace, run_id: str, url: str) -> None:
    """Write where the service answers into the run's record."""

    def noted(run: Run) -> Run:
        run.scoring_uri = url
        return run

    workspace.records.update(run_record(run_id), Run, noted)


def finish_run(workspace: Workspace, run_id: str, error: BaseException | None = None) -> None:
    """Write the run's final state. A run that has one keeps it.

    What is no `Exception` is a signal to the flow (Ctrl-C, SIGTERM, a cancel from the UI): the run was stopped, and
    nothing failed.
    """
    if error is not None and not isinstance(error, Exception):
        error = _stopped(run_id, error)

    def finish(run: Run) -> Run:
        if run.state.final:
            return run
        cancelled = run.state is RunState.CANCEL_REQUESTED or isinstance(error, Cancelled)
        run.state = RunState.CANCELED if cancelled else RunState.FAILED if error else RunState.COMPLETED
        run.ended_at = iso(time.time())
        run.error = _error_fields(error)
        _close_steps(run)
        return run

    workspace.records.update(run_record(run_id), Run, finish)


def _close_steps(run: Run) -> None:
    """End the lines of a killed flow: its follower found those steps done already, or never got to them."""
    for step in run.steps:
        if step.state is StepState.RUNNING:
            completed = run.state is RunState.COMPLETED
            step.state = StepState.REUSED if completed else StepState.FAILED
            step.note = "done before the flow was killed" if completed else "the flow was killed meanwhile"


def request_cancel(workspace: Workspace, run_id: str) -> Run:
    """Mark the run and ask its script to stop. The flow saves what there is and ends the run."""

    def asked(run: Run) -> Run:
        if not run.state.final:
            run.state = RunState.CANCEL_REQUESTED
        return run

    run = workspace.records.update(run_record(run_id), Run, asked)
    if run.attempts and not run.state.final:
        workspace.compute.cancel(run_id, run.attempts[-1].number)
    return run


def release_run(workspace: Workspace, run_id: str) -> None:
    """Give back all that the run holds: stop its script, save outputs and logs so far, free its slot. Idempotent.

    Finds everything by the run's id, since the caller may be a hook in another process.
    """
    run = workspace.records.find(run_record(run_id), Run)
    lease = next((lease for lease in workspace.compute.leases() if lease.owner == run_id), None)
    if run is not None and run.attempts and lease is not None and not run.outputs_saved:
        number = run.attempts[-1].number
        workspace.compute.cancel(run_id, number)
        while workspace.compute.poll(run_id, number).running:
            time.sleep(0.1)
        slot = workspace.compute.held(run_id)
        if slot is not None:
            save_everything(workspace, run_id, slot, lambda _done, _all: None)
    elif run is not None:
        save_logs(workspace, run_id)
    workspace.compute.release(run_id)


def reap(workspace: Workspace, alive: Callable[[str], bool], now: float) -> list[str]:
    """Release compute whose run has ended, or whose flow is dead and was not started again in time.

    `alive` tells whether a flow run is still being executed. Returns the ids of the released runs.
    """
    released = []
    for lease in workspace.compute.leases():
        run = workspace.records.find(run_record(lease.owner), Run)
        over = run is not None and run.state.final
        if over or (lease.expires_at < now and not alive(lease.owner)):
            release_run(workspace, lease.owner)
            if run is not None:
                finish_run(workspace, lease.owner, _abandoned(lease.owner))
            released.append(lease.owner)
    return released


@contextmanager
def heartbeat(beat: Callable[[], None], seconds: float = 15.0) -> Iterator[None]:
    """Call `beat` every so often while the block runs, so that locks and leases show that their owner lives.

    A beat that fails is tried again at the next turn; a lock that was lost is noticed by the next fenced write.
    """
    stop = threading.Event()

    def run() -> None:
        while not stop.wait(seconds):
            try:
                beat()
            except OuthaulError as error:
                logger.warning("the heartbeat of a run failed and will be tried again: %s", error)

    thread = threading.Thread(target=run, name="heartbeat", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def _error_fields(error: BaseException | None) -> dict[str, Any] | None:
    if error is None:
        return None
    if isinstance(error, OuthaulError):
        return dict(error.to_dict())
    return {
        "code": "internal",
        "message": f"{type(error).__name__}: {error}",
        "found": "",
        "expected": "",
        "remedy": "read the flow's log with `outhaul run logs --flow`; this is a fault of Outhaul",
        "retry": False,
    }


def _stopped(run_id: str, signal: BaseException) -> Cancelled:
    return Cancelled(
        "run-cancelled",
        "the run was told to stop",
        found=type(signal).__name__,
        remedy=f"start it again with `outhaul run restart {run_id}`",
    )


def _abandoned(run_id: str) -> OuthaulError:
    return Failed(
        "flow-abandoned",
        "the run's flow died and was not started again",
        found=f"no sign of the flow for {LEASE_SECONDS:g} s",
        expected=f"`outhaul run restart {run_id}` within that time",
        remedy="deploy again",
    )
