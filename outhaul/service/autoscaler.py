"""How many replicas a version needs. Pure: load and clock come in, a decision and the next state go out.

Up at once, down only after a minute of lower need:

    demand  = requests being answered + requests that wait, averaged over `refresh_seconds`
    need    = ceil(demand / (limit × target)), within [least, most]
    replicas = the largest need of the last `scale_in_seconds`

`need` depends on the demand alone, not on how many replicas there are, so a constant load has one answer and a
replica that is still starting counts as capacity without a rule of its own.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction

from outhaul.errors import Refused


@dataclass(frozen=True)
class ScalerSpec:
    """What the service's owner allows."""

    least: int = 1
    most: int = 10
    target_percent: int = 70
    """Share of busy request places aimed at, in whole percent (1 to 100)."""
    limit: int = 1
    """Requests that one replica answers at once."""
    refresh_seconds: float = 1.0
    """The load is averaged over this long: also the time that an overload may last before a replica is asked for."""
    scale_in_seconds: float = 60.0
    """A replica goes when it was not needed for this long."""


@dataclass(frozen=True)
class Load:
    """One version's load at one moment, as its router measured it."""

    busy: int
    """Requests that replicas are answering."""
    queued: int
    """Requests that wait for a replica."""
    ready: int
    """Replicas that answer."""
    coming: int = 0
    """Replicas that were asked for and do not answer yet."""

    @property
    def demand(self) -> int:
        return self.busy + self.queued

    @property
    def replicas(self) -> int:
        return self.ready + self.coming


@dataclass(frozen=True)
class ScalerState:
    """What the autoscaler remembers between two looks. Starts empty."""

    samples: tuple[tuple[float, int], ...] = ()
    """(when, demand) of the last `refresh_seconds`, oldest first."""
    needs: tuple[tuple[float, int], ...] = ()
    """(when, need) of the last `scale_in_seconds`, oldest first and each smaller than the one before it: a need that a
    later one reaches or exceeds can never be the largest again."""
    replicas: int | None = None
    """What was seen or decided last."""


@dataclass(frozen=True)
class Decision:
    """How many replicas there should be. Not `valid`: nothing is known, so nothing may change."""

    replicas: int
    valid: bool
    reason: str


def decide(spec: ScalerSpec, load: Load | None, state: ScalerState, now: float) -> tuple[Decision, ScalerState]:
    """The number of replicas for a version, and the state for the next call.

    `now` is seconds on any clock that never goes back. `load` None means that nothing could be measured: then the
    number stays as it is, unless it is outside of [least, most].
    """
    if load is None:
        return _without_data(spec, state), state
    samples = (*_since(state.samples, now - spec.refresh_seconds), (now, load.demand))
    need = _need(spec, samples)
    # With no memory (a restarted agent) the replicas found count as needed just now: a restart must not remove them.
    seed = ((now, _within(spec, load.replicas)),) if state.replicas is None else ()
    needs = _add(_since((*state.needs, *seed), now - spec.scale_in_seconds), now, need)
    replicas = _within(spec, needs[0][1])
    decision = Decision(replicas, True, _reason(spec, load, need, replicas))
    return decision, ScalerState(samples, needs, replicas)


def utilization(load: Load, limit: int) -> float:
    """(busy + queued) / (replicas × limit): v1's measure. Above 1 where requests wait; infinite without replicas."""
    places = load.replicas * limit
    return load.demand / places if places else math.inf if load.demand else 0.0


def replicas_needed(rps: float, seconds: float, utilization: float, concurrency: int = 1) -> int:
    """v1's formula for sizing by hand: `rps` requests per second of `seconds` each, `concurrency` at once per replica,
    replicas busy for the share `utilization` (above 0, at most 1) of the time. 20, 10, 0.7, 1 → 286."""
    _check_sizing(rps, seconds, utilization, concurrency)
    exact = [Fraction(str(value)) for value in (rps, seconds, utilization, concurrency)]
    return max(1, math.ceil(exact[0] * exact[1] / exact[2] / exact[3]))


def _check_sizing(rps: float, seconds: float, utilization: float, concurrency: int) -> None:
    problems = [
        f"{name} is {value}"
        for name, value, good in [
            ("rps", rps, math.isfinite(rps) and rps >= 0),
            ("seconds", seconds, math.isfinite(seconds) and seconds > 0),
            ("utilization", utilization, 0 < utilization <= 1),
            ("concurrency", concurrency, concurrency >= 1),
        ]
        if not good
    ]
    if problems:
        raise Refused(
            "sizing-input",
            "no number of replicas follows from these figures",
            found=", ".join(problems),
            expected="rps 0 or more, seconds above 0, utilization above 0 and at most 1, concurrency 1 or more",
            remedy="correct the figures named above; a utilization of 70 percent is written 0.7",
        )


def _without_data(spec: ScalerSpec, state: ScalerState) -> Decision:
    if state.replicas is None:
        return Decision(spec.least, False, "nothing measured yet")
    replicas = _within(spec, state.replicas)
    if replicas != state.replicas:
        return Decision(replicas, True, f"{state.replicas} is outside of {spec.least} to {spec.most}")
    return Decision(replicas, False, "nothing measured, so nothing changes")


def _need(spec: ScalerSpec, samples: tuple[tuple[float, int], ...]) -> int:
    total = sum(demand for _, demand in samples)
    places = len(samples) * spec.limit * spec.target_percent
    return _within(spec, -(-total * 100 // places))


def _within(spec: ScalerSpec, replicas: int) -> int:
    return max(spec.least, min(spec.most, replicas))


def _since(timed: tuple[tuple[float, int], ...], start: float) -> tuple[tuple[float, int], ...]:
    return tuple(entry for entry in timed if entry[0] > start)


def _add(needs: tuple[tuple[float, int], ...], now: float, need: int) -> tuple[tuple[float, int], ...]:
    return (*(entry for entry in needs if entry[1] > need), (now, need))


def _reason(spec: ScalerSpec, load: Load, need: int, replicas: int) -> str:
    seen = f"{load.busy} busy + {load.queued} queued of {load.replicas} × {spec.limit}, target {spec.target_percent} %"
    if replicas > need:
        return f"{seen}: {need} would do, {replicas} were needed within the last {spec.scale_in_seconds:g} s"
    return f"{seen}: {need} needed"
