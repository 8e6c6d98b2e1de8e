"""What becomes of a replica's record when something happens to it. Pure: record and event in, record out."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from msgspec.structs import replace

from outhaul.node.state import Deployment, ProcessId, ReplicaRecord, back_off
from outhaul.service.record import Probe
from outhaul.service.replica import ReplicaState, ReplicaTemplate

DRAIN_MARGIN_SECONDS = 10.0
"""Beyond queue wait and scoring timeout: for answers on their way, and for the interpreter's own end."""
STEADY_SECONDS = 30.0
"""A replica that was ready this long starts its back-off anew when it ends."""
LOST_ANSWERS = 2
"""One probe without an answer proves nothing on a busy machine."""
RETRY_SECONDS = 1.0


class Answer(Enum):
    """What a probe came back with."""

    READY = "ready"
    NOT_READY = "not ready"
    """But alive: starting, or busy beyond its time. Not a reason to kill it."""
    NOT_LIVE = "not live"
    LOST = "no answer"


@dataclass(frozen=True)
class ProbeResult:
    answer: Answer
    message: str = ""
    """The reason given, or why there was no answer."""


def new(deployment: Deployment, replica: str, token: str, now: float) -> ReplicaRecord:
    """A replica that shall be started."""
    template = deployment.template
    limit = template.resources.memory_in_gb_limit
    return ReplicaRecord(
        id=replica,
        deployment=template.deployment,
        template=deployment.digest,
        token=token,
        created_at=now,
        drain_seconds=(template.max_queue_wait_ms + template.scoring_timeout_ms) / 1000 + DRAIN_MARGIN_SECONDS,
        memory_limit_bytes=int(limit * 1e9) if limit else None,
    )


def launching(record: ReplicaRecord, port: int, health: str, now: float) -> ReplicaRecord:
    """About to be started. Written before the process exists, so that a node that dies now finds it by its token."""
    return replace(
        record,
        state=ReplicaState.STARTING,
        process=None,
        port=port,
        health=health,
        started_at=now,
        ready_since=None,
        failing_since=None,
        failed_probes=0,
        good_probes=0,
        killed_for="",
    )


def launched(record: ReplicaRecord, process: ProcessId, now: float) -> ReplicaRecord:
    """The process exists."""
    return replace(record, process=process, next_probe_at=now)


def draining(record: ReplicaRecord, now: float) -> ReplicaRecord:
    """Routers send it nothing more from here on."""
    return replace(record, state=ReplicaState.TERMINATING, draining_since=now)


def stop_sent(record: ReplicaRecord, now: float) -> ReplicaRecord:
    """It was asked to finish its requests and end."""
    return replace(record, stop_sent_at=now)


def probed(record: ReplicaRecord, probe: Probe, result: ProbeResult, now: float) -> ReplicaRecord:
    """A probe came back. Only a replica that shall live changes its state by it."""
    if record.process is None or record.state in (ReplicaState.TERMINATING, ReplicaState.FAILED):
        return record
    if result.answer is Answer.READY:
        return _answered(record, probe, now)
    return _not_ready(record, probe, result, now)


def _answered(record: ReplicaRecord, probe: Probe, now: float) -> ReplicaRecord:
    good = record.good_probes + 1
    record = replace(record, good_probes=good, failed_probes=0, failing_since=None)
    if record.state is ReplicaState.READY or good >= probe.success_threshold:
        since = record.ready_since if record.state is ReplicaState.READY else now
        return replace(
            record, state=ReplicaState.READY, ready_since=since, message="", next_probe_at=now + probe.period_seconds
        )
    return replace(record, next_probe_at=now + _starting_interval(record, now))


def _not_ready(record: ReplicaRecord, probe: Probe, result: ProbeResult, now: float) -> ReplicaRecord:
    if record.state is ReplicaState.STARTING:
        message = record.message if result.answer is Answer.LOST else result.message
        return replace(record, good_probes=0, message=message, next_probe_at=now + _starting_interval(record, now))
    alive = result.answer is Answer.NOT_READY
    failed = record.failed_probes + 1
    out = result.answer is not Answer.LOST or failed >= LOST_ANSWERS
    return replace(
        record,
        state=ReplicaState.UNHEALTHY if out else record.state,
        good_probes=0,
        failed_probes=failed,
        failing_since=None if alive else now if record.failing_since is None else record.failing_since,
        message=result.message,
        next_probe_at=now + min(RETRY_SECONDS, probe.period_seconds),
    )


def _starting_interval(record: ReplicaRecord, now: float) -> float:
    """Often at first, so that a quick init() serves at once; seldom once it is known to be slow."""
    return min(max((now - record.started_at) / 10, 0.05), RETRY_SECONDS)


def overdue(record: ReplicaRecord, template: ReplicaTemplate, now: float) -> str:
    """Why a replica must be killed for not being ready; empty when it need not."""
    probe = template.probe
    patience = probe.failure_threshold * probe.period_seconds
    if record.state is ReplicaState.STARTING and now >= record.started_at + probe.initial_delay_seconds + patience:
        return f"init() was not done {probe.initial_delay_seconds + patience} seconds after the start"
    if record.failing_since is not None and now >= record.failing_since + patience:
        return f"not live for {patience} seconds: {record.message}"
    return ""


def killed(record: ReplicaRecord, reason: str) -> ReplicaRecord:
    """It was killed; it counts as ended when its process is gone."""
    return replace(record, killed_for=reason)


def ended(record: ReplicaRecord, reason: str, now: float) -> ReplicaRecord:
    """Its process is gone, or could not be started. Unless it was being removed, it is started again after a while."""
    if record.state is ReplicaState.TERMINATING:
        return replace(record, process=None)
    steady = record.ready_since is not None and now - record.ready_since >= STEADY_SECONDS
    streak = 1 if steady else record.streak + 1
    return replace(
        record,
        state=ReplicaState.FAILED,
        process=None,
        restarts=record.restarts + 1,
        streak=streak,
        start_at=now + back_off(streak),
        failing_since=None,
        ready_since=None,
        killed_for="",
        message=record.killed_for or reason,
    )


def lost(record: ReplicaRecord, now: float) -> ReplicaRecord:
    """Its process went while no node was watching (a reboot, say): that is not held against it."""
    record = ended(record, "it ended while the node was not running", now)
    return replace(record, streak=0, start_at=now) if record.state is ReplicaState.FAILED else record


def over_memory(record: ReplicaRecord, used_bytes: int) -> str:
    """Why a replica must be killed for its memory; empty when it need not."""
    limit = record.memory_limit_bytes
    if limit is None or used_bytes <= limit:
        return ""
    return f"out of memory: {used_bytes / 1e9:.2f} GB resident, the limit is {limit / 1e9:g} GB (memory_in_gb_limit)"


def durable(record: ReplicaRecord) -> ReplicaRecord:
    """What of a record is worth a write: the bookkeeping of probes is not."""
    return replace(record, next_probe_at=0.0, good_probes=0, failed_probes=0, failing_since=None)
