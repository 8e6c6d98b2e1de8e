"""The autoscaler as a function of load and clock: stories first, then what holds for every load."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from outhaul.errors import Refused
from outhaul.service.autoscaler import Decision, Load, ScalerSpec, ScalerState, decide, replicas_needed, utilization

TRACES = sorted((Path(__file__).parent.parent / "golden" / "loads").glob("*.json"))
SPEC = ScalerSpec(least=1, most=10)

specs = st.builds(
    lambda least, extra, target, limit, refresh: ScalerSpec(least, least + extra, target, limit, refresh),
    st.integers(1, 5),
    st.integers(0, 20),
    st.integers(1, 100),
    st.integers(1, 8),
    st.sampled_from([0.5, 1.0, 10.0]),
)
demands = st.lists(st.none() | st.integers(0, 60), min_size=1, max_size=60)


def play(
    spec: ScalerSpec, demand: list[int | None], step: float = 0.2, state: ScalerState | None = None, start: float = 0.0
) -> tuple[list[Decision], ScalerState]:
    """Every demand in turn, `step` seconds apart; each decision is carried out before the next look."""
    state = state or ScalerState()
    decisions: list[Decision] = []
    replicas = spec.least if state.replicas is None else state.replicas
    for look, value in enumerate(demand):
        load = None if value is None else Load(busy=value, queued=0, ready=replicas)
        decision, state = decide(spec, load, state, start + look * step)
        replicas = decision.replicas if decision.valid else replicas
        decisions.append(decision)
    return decisions, state


def counts(decisions: list[Decision]) -> list[int]:
    return [decision.replicas for decision in decisions]


def changes(numbers: list[int]) -> int:
    return sum(before != after for before, after in itertools.pairwise(numbers))


def test_an_overload_asks_for_a_replica_within_a_second():
    _, idle = play(SPEC, [0] * 50)
    decisions, _ = play(SPEC, [2] * 6, state=idle, start=10.0)
    assert decisions[5].replicas == 3


def test_a_burst_shorter_than_the_average_asks_for_less_than_a_lasting_one():
    _, idle = play(SPEC, [0] * 50)
    short, _ = play(SPEC, [7, 0, 0, 0, 0], state=idle, start=10.0)
    lasting, _ = play(SPEC, [7] * 5, state=idle, start=10.0)
    assert max(counts(short)) < max(counts(lasting)) == 10


def test_replicas_go_only_after_a_minute_of_lower_need():
    _, loaded = play(SPEC, [6] * 10)
    decisions, _ = play(SPEC, [0] * 330, state=loaded, start=2.0)
    numbers = counts(decisions)
    assert set(numbers[:290]) == {9}
    assert numbers[-1] == 1


def test_a_gradual_fall_is_followed_step_by_step():
    _, loaded = play(SPEC, [7] * 10)
    decisions, _ = play(SPEC, [5] * 100 + [3] * 100 + [1] * 400, state=loaded, start=2.0)
    numbers = counts(decisions)
    assert numbers == sorted(numbers, reverse=True)
    assert {10, 8, 5, 2} <= set(numbers)


def test_queued_requests_count_like_busy_ones():
    decision, _ = decide(SPEC, Load(busy=1, queued=6, ready=1), ScalerState(), 0.0)
    assert decision.replicas == 10
    assert utilization(Load(busy=1, queued=6, ready=1), 1) == 7.0


def test_a_replica_that_is_coming_is_not_asked_for_twice():
    loads = [Load(busy=1, queued=0, ready=1, coming=coming) for coming in (0, 1, 1)]
    state, asked = ScalerState(), []
    for look, load in enumerate(loads):
        decision, state = decide(SPEC, load, state, look * 0.2)
        asked.append(decision.replicas)
    assert asked == [2, 2, 2]


def test_a_restarted_agent_keeps_the_replicas_it_finds_for_a_minute():
    decision, state = decide(SPEC, Load(busy=0, queued=0, ready=4), ScalerState(), 100.0)
    assert decision.replicas == 4
    later, _ = decide(SPEC, Load(busy=0, queued=0, ready=4), state, 161.0)
    assert later.replicas == 1


def test_no_data_leaves_the_number_but_never_outside_its_bounds():
    _, state = play(SPEC, [3] * 10)
    unchanged, same = decide(SPEC, None, state, 5.0)
    assert (unchanged.valid, unchanged.replicas, same) == (False, 5, state)
    raised, _ = decide(ScalerSpec(least=7, most=9), None, state, 5.0)
    assert (raised.valid, raised.replicas) == (True, 7)


def test_without_replicas_the_utilization_is_infinite_only_under_demand():
    assert utilization(Load(busy=0, queued=0, ready=0), 1) == 0.0
    assert utilization(Load(busy=0, queued=1, ready=0), 1) == float("inf")


@given(specs, demands)
def test_always_within_its_bounds(spec: ScalerSpec, demand: list[int | None]):
    decisions, _ = play(spec, demand)
    assert all(spec.least <= decision.replicas <= spec.most for decision in decisions)


@given(specs, st.integers(0, 60), st.integers(2, 400))
def test_a_constant_load_keeps_a_constant_number(spec: ScalerSpec, demand: int, looks: int):
    decisions, _ = play(spec, [demand] * looks)
    assert len(set(counts(decisions))) == 1


@given(specs, demands, st.data())
def test_more_load_never_means_fewer_replicas(spec: ScalerSpec, demand: list[int | None], data: st.DataObject):
    extra = data.draw(st.lists(st.integers(0, 9), min_size=len(demand), max_size=len(demand)))
    more = [None if value is None else value + plus for value, plus in zip(demand, extra, strict=True)]
    low, high = play(spec, demand)[0], play(spec, more)[0]
    assert all(a <= b for a, b in zip(counts(low), counts(high), strict=True))


@given(specs, demands, st.integers(1, 300))
def test_no_data_changes_nothing_however_long(spec: ScalerSpec, demand: list[int | None], looks: int):
    decisions, state = play(spec, demand)
    silent, after = play(spec, [None] * looks, state=state, start=1000.0)
    assert after == state
    assert not any(decision.valid for decision in silent)
    assert {*counts(silent)} == {decisions[-1].replicas}


@given(specs, st.lists(st.integers(0, 60), min_size=1, max_size=299))
def test_within_a_minute_the_number_never_falls(spec: ScalerSpec, demand: list[int]):
    numbers = counts(play(spec, demand)[0])
    assert numbers == sorted(numbers)


@given(specs, demands)
def test_memory_is_bounded_whatever_the_load(spec: ScalerSpec, demand: list[int | None]):
    _, state = play(spec, demand * 5)
    assert len(state.needs) <= spec.most - spec.least + 1
    assert len(state.samples) <= spec.refresh_seconds / 0.2 + 1


@pytest.mark.parametrize("period", [1, 5, 25, 100, 140])
@settings(max_examples=20)
@given(low=st.integers(0, 20), high=st.integers(0, 20))
def test_a_load_that_swings_faster_than_a_minute_does_not_swing_the_replicas(period: int, low: int, high: int):
    wave = ([high] * period + [low] * period) * (1000 // (2 * period))
    numbers = counts(play(ScalerSpec(least=1, most=30), wave)[0])
    after_the_first_minute = numbers[300 + 2 * period :]
    assert changes(after_the_first_minute) == 0


@pytest.mark.parametrize("trace", TRACES, ids=lambda path: path.stem)
def test_recorded_loads_are_followed_without_oscillation(trace: Path):
    recorded = json.loads(trace.read_text())
    spec = ScalerSpec(least=recorded["least"], most=recorded["most"], limit=recorded["limit"])
    state, numbers = ScalerState(), []
    for now, busy, queued, ready, coming in recorded["looks"]:
        decision, state = decide(spec, Load(busy, queued, ready, coming), state, now)
        numbers.append(decision.replicas)
    assert changes(numbers) <= recorded["most_changes"]
    assert max(numbers) == recorded["peak"]


def test_recorded_loads_are_there():
    assert len(TRACES) >= 3


@pytest.mark.parametrize(
    ("rps", "seconds", "share", "concurrency", "replicas"),
    [(20, 10, 0.7, 1, 286), (7, 0.1, 0.7, 1, 1), (70, 0.1, 0.7, 1, 10), (21, 1, 0.7, 3, 10), (0, 1, 0.7, 1, 1)],
)
def test_sizing_follows_v1s_formula_exactly(rps: float, seconds: float, share: float, concurrency: int, replicas: int):
    assert replicas_needed(rps, seconds, share, concurrency) == replicas


@given(st.integers(1, 10_000), st.integers(1, 100))
def test_sizing_is_exact_where_floats_are_not(replicas: int, percent: int):
    assert replicas_needed(replicas * percent, 0.01, percent / 100) == max(1, replicas)


@pytest.mark.parametrize(
    ("figures", "named"),
    [
        ((-1, 1, 0.7, 1), "rps"),
        ((1, 0, 0.7, 1), "seconds"),
        ((1, 1, 70, 1), "utilization"),
        ((1, 1, 0.7, 0), "concurrency"),
        ((float("nan"), float("inf"), 0, 1), "rps"),
    ],
)
def test_sizing_refuses_figures_that_mean_nothing(figures: tuple[float, float, float, int], named: str):
    with pytest.raises(Refused) as refused:
        replicas_needed(*figures)
    assert named in refused.value.found
