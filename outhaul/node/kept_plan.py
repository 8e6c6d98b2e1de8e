"""What to do about kept processes, and what becomes of their state when something happens. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from msgspec.structs import replace

from outhaul.node.state import KeptProcess, KeptState, ProcessId, back_off

STEADY_SECONDS = 30.0
SETTLED_SECONDS = 0.5
"""How long a process without a ready check must run to count as ready."""


@dataclass(frozen=True)
class StartKept:
    name: str


@dataclass(frozen=True)
class CheckKept:
    """See whether it is ready."""

    name: str


@dataclass(frozen=True)
class StopKept:
    """Send its stop signal."""

    name: str


@dataclass(frozen=True)
class KillKept:
    name: str


@dataclass(frozen=True)
class ForgetKept:
    name: str


KeptAction = StartKept | CheckKept | StopKept | KillKept | ForgetKept


def plan_kept(table: Mapping[str, KeptProcess], observed: Mapping[str, KeptState], now: float) -> list[KeptAction]:
    """Everything that is due now. A process whose definition changed or went is stopped first."""
    actions: list[KeptAction] = []
    for name, state in observed.items():
        if table.get(name) != state.definition:
            actions += _leaving(state, now)
        elif state.process is not None:
            actions += [] if state.ready else [CheckKept(name)]
    for name, definition in sorted(table.items(), key=lambda item: item[1].order):
        current = observed.get(name)
        if (current is None or _startable(current, definition, now)) and _all_ready(definition, observed):
            actions.append(StartKept(name))
    return actions


def _startable(state: KeptState, definition: KeptProcess, now: float) -> bool:
    return state.process is None and now >= state.start_at and definition == state.definition


def _all_ready(definition: KeptProcess, observed: Mapping[str, KeptState]) -> bool:
    return all(name in observed and observed[name].ready for name in definition.after)


def _leaving(state: KeptState, now: float) -> Iterator[KeptAction]:
    if state.process is None:
        yield ForgetKept(state.name)
    elif state.stop_sent_at is None:
        yield StopKept(state.name)
    elif now >= state.stop_sent_at + state.definition.stop_seconds:
        yield KillKept(state.name)


def starting(definition: KeptProcess, before: KeptState | None, token: str, now: float) -> KeptState:
    """About to be started; written before the process exists."""
    old = before or KeptState(definition=definition, token=token)
    return replace(old, process=None, ready=False, since=now, stop_sent_at=None)


def started(state: KeptState, process: ProcessId, now: float) -> KeptState:
    return replace(state, process=process, since=now)


def adopted(state: KeptState, process: ProcessId) -> KeptState:
    """Found again by a new node; checked again, too."""
    return replace(state, process=process, ready=False)


def became_ready(state: KeptState, now: float) -> KeptState:
    return replace(state, ready=True, since=now)


def stop_sent(state: KeptState, now: float) -> KeptState:
    return replace(state, stop_sent_at=now, ready=False, since=now)


def ended(state: KeptState, reason: str, now: float) -> KeptState:
    """Its process is gone. Unless it was asked to end, it is started again after a while."""
    if state.stop_sent_at is not None:
        return replace(state, process=None, ready=False, since=now)
    streak = 1 if state.ready and now - state.since >= STEADY_SECONDS else state.streak + 1
    return replace(
        state,
        process=None,
        ready=False,
        since=now,
        restarts=state.restarts + 1,
        streak=streak,
        start_at=now + back_off(streak),
        message=reason,
    )


def lost(state: KeptState, now: float) -> KeptState:
    """Its process went while no node was watching: that is not held against it."""
    state = ended(state, "it ended while the node was not running", now)
    return replace(state, streak=0, start_at=now)
