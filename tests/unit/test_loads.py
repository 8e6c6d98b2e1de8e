"""From counters to loads, the order of removal, Retry-After."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from outhaul.router.dataplane import Traffic, View
from outhaul.router.loads import idle_first, measure, retry_after, scaler_spec
from outhaul.service.autoscaler import Load
from outhaul.service.record import AutoScaler, ServiceSpec
from outhaul.service.replica import Replica, ReplicaState

READY, STARTING, TERMINATING = ReplicaState.READY, ReplicaState.STARTING, ReplicaState.TERMINATING
VIEW = View("1", {}, {"slots": {"d-1": "wait_500_000"}}, {"wait_500_000": Traffic(queued=3, busy={"a": 1, "b": 2})})


def replica(name: str, state: ReplicaState = READY, started_at: float = 0.0) -> Replica:
    return Replica(id=name, deployment="d-1", state=state, started_at=started_at)


def test_a_load_counts_what_runs_waits_answers_and_comes():
    replicas = [replica("a"), replica("b"), replica("c", STARTING)]
    assert measure("d-1", VIEW, replicas, wanted=4) == Load(busy=3, queued=3, ready=2, coming=2)


def test_replicas_beyond_the_wanted_number_are_not_negative_capacity():
    assert measure("d-1", VIEW, [replica("a"), replica("b")], wanted=1) == Load(busy=3, queued=3, ready=2, coming=0)


def test_without_a_slot_or_a_deployment_nothing_is_known():
    assert measure("e-1", VIEW, [], wanted=1) is None
    assert measure("d-1", VIEW, [], wanted=None) is None


def test_whoever_is_not_ready_goes_first_then_the_idle_then_the_newest():
    replicas = [
        replica("busy"),
        replica("old", started_at=1.0),
        replica("new", started_at=2.0),
        replica("starting", STARTING),
        replica("going", TERMINATING),
    ]
    assert idle_first("d-1", Traffic(busy={"busy": 1}), replicas) == ["starting", "new", "old", "busy"]


def test_retry_after_is_the_time_that_those_before_need():
    assert retry_after(Traffic(queued=9, mean_ms=1000), places=2) == 5
    assert retry_after(Traffic(queued=0, mean_ms=3), places=1) == 1
    assert retry_after(Traffic(queued=0, mean_ms=3), places=0) == 2


@given(st.integers(0, 10_000), st.integers(0, 300_000), st.integers(0, 100))
def test_retry_after_is_between_a_second_and_a_minute(queued: int, mean_ms: int, places: int):
    assert 1 <= retry_after(Traffic(queued=queued, mean_ms=mean_ms), places) <= 60


def test_settings_reach_the_autoscaler_with_v1s_defaults():
    spec = scaler_spec(ServiceSpec(auto_scaler=AutoScaler(min_replicas=2)))
    assert (spec.least, spec.most, spec.target_percent, spec.limit, spec.refresh_seconds) == (2, 10, 70, 1, 1)
