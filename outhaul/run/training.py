"""The middle of a run: start the entry script once, follow it to its end, and keep what it wrote whatever happened."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable

import msgspec

from outhaul.errors import Cancelled, Failed, NotFound
from outhaul.ports import AttemptStatus, Progress, ScriptSpec, Slot
from outhaul.run.outputs import save_log, save_outputs
from outhaul.run.record import Attempt, EndReason, Run, RunState
from outhaul.store.keys import run_files, run_record
from outhaul.times import iso
from outhaul.workspace import Workspace

POLL_SECONDS = 0.1


def run_entry_script(
    workspace: Workspace, run_id: str, slot: Slot, spec: ScriptSpec, output: Callable[[bytes], None]
) -> Attempt:
    """Run the entry script to a successful end, passing on its output as it comes.

    Re-attaches to an attempt that runs or has ended; starts another only when the machine took the last one and the
    project says `restartable`. Failed when the script failed, Cancelled when a person stopped it.
    """
    while True:
        run = _current_attempt(workspace, run_id)
        number = run.attempts[-1].number
        workspace.compute.start(slot, number, spec)
        status = _follow(workspace, run_id, number, output)
        attempt = _ended(workspace, run_id, number, status)
        if attempt.reason is EndReason.EXITED and attempt.exit_code == 0:
            return attempt
        if not (attempt.reason is EndReason.LOST and run.restartable):
            raise _failure(run_id, attempt, spec)
        _add_attempt(workspace, run_id, number + 1)


def save_everything(workspace: Workspace, run_id: str, slot: Slot, progress: Progress) -> Run:
    """Save `./outputs` and every attempt's log to the object store, and say so in the record, last.

    What was saved after the script's end stays as it is: the storage of a flow that was started again is empty. What
    is saved while the script still runs, since its flow failed or was stopped, is not called complete.
    """
    run = workspace.records.read(run_record(run_id), Run)[0]
    if run.outputs_saved:
        return run
    running = bool(run.attempts) and workspace.compute.poll(run_id, run.attempts[-1].number).running
    files = save_outputs(workspace.compute.outputs(slot), workspace.store, run_id, progress)
    save_logs(workspace, run_id)
    metrics = _metrics(workspace, run_id)

    def saved(run: Run) -> Run:
        run.output_files = len(files)
        run.output_bytes = sum(file.bytes for file in files)
        run.metrics = metrics
        run.outputs_saved = not running
        return run

    return workspace.records.update(run_record(run_id), Run, saved)


def save_logs(workspace: Workspace, run_id: str) -> None:
    """Save the log of every attempt. May be called again while an attempt still writes."""
    for attempt in workspace.records.read(run_record(run_id), Run)[0].attempts:
        log = workspace.settings.home.runs / run_id / f"attempt-{attempt.number}" / "log.txt"
        if log.exists():
            save_log(log, workspace.store, run_id, attempt.number)


def _current_attempt(workspace: Workspace, run_id: str) -> Run:
    run = workspace.records.read(run_record(run_id), Run)[0]
    return run if run.attempts else _add_attempt(workspace, run_id, 1)


def _add_attempt(workspace: Workspace, run_id: str, number: int) -> Run:
    """Write the attempt before it starts, so that no script can run that the record does not know of."""

    def add(run: Run) -> Run:
        if not run.attempts or run.attempts[-1].number < number:
            run.attempts.append(Attempt(number=number, started_at=iso(time.time())))
            run.outputs_saved = False
        run.state = RunState.RUNNING
        return run

    return workspace.records.update(run_record(run_id), Run, add)


def _follow(workspace: Workspace, run_id: str, number: int, output: Callable[[bytes], None]) -> AttemptStatus:
    offset = 0
    while True:
        # The state is read before the log: what a script wrote before it ended is then always read as well.
        status = workspace.compute.poll(run_id, number)
        while data := workspace.compute.read_log(run_id, number, offset):
            offset += len(data)
            output(data)
        if not status.running and status.reason is not None:
            return status
        time.sleep(POLL_SECONDS)


def _ended(workspace: Workspace, run_id: str, number: int, status: AttemptStatus) -> Attempt:
    def end(run: Run) -> Run:
        attempt = next(attempt for attempt in run.attempts if attempt.number == number)
        attempt.ended_at = iso(status.ended_at or time.time())
        attempt.exit_code = status.exit_code
        attempt.reason = status.reason
        attempt.peak_memory_bytes = status.peak_memory_bytes
        if run.state is not RunState.CANCEL_REQUESTED:
            run.state = RunState.FINALIZING
        return run

    run = workspace.records.update(run_record(run_id), Run, end)
    return next(attempt for attempt in run.attempts if attempt.number == number)


def _failure(run_id: str, attempt: Attempt, spec: ScriptSpec) -> Failed:
    logs = f"read its output with `outhaul run logs {run_id}`"
    match attempt.reason:
        case EndReason.CANCELLED:
            return Cancelled("run-cancelled", "the run was cancelled", remedy=f"start it again, or {logs}")
        case EndReason.TIME_LIMIT:
            limit = f"{spec.timeout_seconds:g} s" if spec.timeout_seconds else "none"
            return Failed(
                "time-limit",
                "the entry script ran into its time limit and was stopped",
                found=f"still running after {limit}",
                expected=f"an end within {limit}",
                remedy=f"raise `train: {{timeout: …}}`, or {logs} to see where it hung",
            )
        case EndReason.MEMORY_LIMIT:
            peak, most = attempt.peak_memory_bytes or 0, spec.memory_bytes
            return Failed(
                "memory-limit",
                "the entry script used more memory than it may and was stopped",
                found=f"a peak of {peak / 1e6:,.0f} MB",
                expected=f"at most {most / 1e6:,.0f} MB" if most else "what the machine has free",
                remedy="raise `train: {memory: …}`, or let the script hold less at once",
            )
        case EndReason.LOST:
            return Failed(
                "attempt-lost",
                "the machine lost the entry script before it ended",
                found="neither the script nor its supervisor is alive, and no exit status was written",
                remedy="deploy again; a script that may run twice can say `train: {restartable: true}`",
            )
    return Failed(
        "entry-script-failed",
        f"the entry script `{spec.script}` failed",
        found=_how_it_exited(attempt.exit_code),
        expected="exit status 0",
        remedy=f"{logs}, mend the script and deploy again",
    )


def _how_it_exited(code: int | None) -> str:
    if code == -signal.SIGKILL:
        return "ended by SIGKILL: by somebody, or by a kernel that was short of memory"
    if code is not None and code < 0:
        return f"ended by {signal.Signals(-code).name}"
    return f"exit status {'unknown' if code is None else code}"


def _metrics(workspace: Workspace, run_id: str) -> dict[str, object]:
    """What the script wrote to `outputs/metrics.json`; empty when it is absent or not a JSON object."""
    try:
        data, _ = workspace.store.get(run_files(run_id) + "outputs/metrics.json")
        return msgspec.json.decode(data, type=dict[str, object])
    except (NotFound, msgspec.DecodeError):
        return {}
