"""Replicas: from what is wanted and what was seen to what is done, with a clock of numbers."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from outhaul.node import reconcile, replica_life
from outhaul.node.reconcile import Action, Create, Drain, Forget, Kill, Probe, Start, Stop, plan, victims
from outhaul.node.replica_life import Answer, ProbeResult
from outhaul.node.state import Deployment, ProcessId, ReplicaRecord, Wanted, back_off
from outhaul.service.record import Probe as ProbeSettings
from outhaul.service.record import Resources
from outhaul.service.replica import ReplicaState, ReplicaTemplate

TEMPLATE = ReplicaTemplate(
    deployment="digits-1", service="digits", version=1, environment="e", snapshot="s", score_script="score.py"
)
READY, LOST = ProbeResult(Answer.READY), ProbeResult(Answer.LOST, "no answer")
NOT_READY, NOT_LIVE = ProbeResult(Answer.NOT_READY, "busy"), ProbeResult(Answer.NOT_LIVE, "stuck")


def deployment(replicas: int = 1, idle_first: Sequence[str] = (), template: ReplicaTemplate = TEMPLATE) -> Deployment:
    return Deployment(template=template, wanted=Wanted(replicas=replicas, idle_first=list(idle_first)))


def wanted(replicas: int = 1, idle_first: Sequence[str] = ()) -> dict[str, Deployment]:
    return {"digits-1": deployment(replicas, idle_first)}


def new(name: str = "a", now: float = 0.0) -> ReplicaRecord:
    return replica_life.new(deployment(), name, f"token/{name}", now)


def running(name: str = "a", now: float = 0.0) -> ReplicaRecord:
    record = replica_life.launching(new(name, now), 20_000, "http://127.0.0.1:20000", now)
    return replica_life.launched(record, ProcessId(7, "boot/1"), now)


def ready(name: str = "a", now: float = 0.0) -> ReplicaRecord:
    return replica_life.probed(running(name, now), TEMPLATE.probe, READY, now)


def probed(record: ReplicaRecord, result: ProbeResult, *times: float) -> ReplicaRecord:
    for now in times:
        record = replica_life.probed(record, TEMPLATE.probe, result, now)
    return record


def test_missing_replicas_are_made() -> None:
    assert plan(wanted(2), [ready()], 1.0) == [Create("digits-1")]


def test_a_new_replica_is_started_and_then_probed() -> None:
    assert plan(wanted(), [new()], 1.0) == [Start("a")]
    assert plan(wanted(), [running()], 1.0) == [Probe("a")]


def test_a_ready_replica_is_left_alone_until_its_next_probe() -> None:
    assert plan(wanted(), [ready()], 9.9) == []
    assert plan(wanted(), [ready()], 10.0) == [Probe("a")]


def test_one_that_ended_is_started_again_after_its_back_off() -> None:
    record = replica_life.ended(ready(), "exit status 3", 5.0)
    assert (record.state, record.message, record.restarts) == (ReplicaState.FAILED, "exit status 3", 1)
    assert plan(wanted(), [record], 5.4) == []
    assert plan(wanted(), [record], 5.5) == [Start("a")]


def test_back_off_doubles_up_to_half_a_minute() -> None:
    assert [back_off(n) for n in (1, 2, 3, 6, 7, 8, 5000)] == [0.5, 1, 2, 16, 30, 30, 30]


def test_back_off_grows_with_failures_in_a_row_and_begins_anew_after_a_steady_time() -> None:
    record = ready()
    for count in range(1, 4):
        record = replica_life.ended(record, "gone", 1.0)
        assert record.streak == count
    again = replica_life.launching(record, 20_000, "", 2.0)
    steady = probed(replica_life.launched(again, ProcessId(8, "boot/2"), 2.0), READY, 3.0)
    assert replica_life.ended(steady, "gone", 40.0).streak == 1


def test_one_lost_while_no_node_ran_is_started_at_once() -> None:
    record = replica_life.lost(ready(), 100.0)
    assert plan(wanted(), [record], 100.0) == [Start("a")]


def test_scale_down_takes_idle_then_not_ready_then_newest() -> None:
    records = [ready("old", 1.0), ready("idle", 2.0), running("starting", 3.0), ready("new", 4.0)]
    order = [record.id for record in victims(records, 0, ["idle", "unknown"])]
    assert order == ["idle", "starting", "new", "old"]


def test_a_removed_replica_is_marked_then_asked_then_killed_then_forgotten() -> None:
    record = ready()
    assert plan(wanted(0), [record], 1.0) == [Drain("a")]
    record = replica_life.draining(record, 1.0)
    assert plan(wanted(0), [record], 1.9) == []
    assert plan(wanted(0), [record], 2.0) == [Stop("a")]
    record = replica_life.stop_sent(record, 2.0)
    assert record.drain_seconds == 70.5
    assert plan(wanted(0), [record], 72.4) == []
    assert plan(wanted(0), [record], 72.5) == [Kill("a", "still running 70.5 seconds after SIGTERM")]
    assert plan(wanted(0), [replica_life.killed(record, "late")], 72.6) == []
    assert plan(wanted(0), [replica_life.ended(record, "gone", 73.0)], 73.0) == [Forget("a")]


def test_replicas_of_a_removed_deployment_are_drained() -> None:
    assert plan({}, [ready()], 1.0) == [Drain("a")]


def test_replicas_of_another_template_under_the_same_name_are_replaced() -> None:
    other = {"digits-1": deployment(template=replace(TEMPLATE, snapshot="other"))}
    assert plan(other, [ready()], 1.0) == [Drain("a"), Create("digits-1")]


def test_a_draining_replica_is_not_counted_and_not_probed() -> None:
    assert plan(wanted(), [replica_life.draining(ready(), 1.0)], 1.5) == [Create("digits-1")]


def test_a_late_probe_does_not_bring_a_draining_replica_back() -> None:
    record = replica_life.draining(ready(), 1.0)
    assert probed(record, READY, 1.1) == record


def test_one_lost_answer_is_forgiven_and_two_are_not() -> None:
    record = probed(ready(), LOST, 10.0)
    assert record.state is ReplicaState.READY
    record = probed(record, LOST, 11.0)
    assert record.state is ReplicaState.UNHEALTHY
    assert probed(record, READY, 12.0).state is ReplicaState.READY


def test_a_busy_replica_is_out_at_once_but_never_killed() -> None:
    record = probed(ready(), NOT_READY, *range(10, 200))
    assert (record.state, record.message) == (ReplicaState.UNHEALTHY, "busy")
    assert plan(wanted(), [record], 200.0) == [Probe("a")]


def test_one_that_is_not_live_is_killed_after_threshold_times_period() -> None:
    record = probed(ready(), NOT_LIVE, 10.0, 25.0)
    assert plan(wanted(), [record], 39.0) == [Probe("a")]
    assert plan(wanted(), [record], 40.0) == [Kill("a", "not live for 30 seconds: stuck")]


def test_a_killed_replica_says_why_when_it_is_gone() -> None:
    record = replica_life.killed(ready(), "out of memory")
    assert plan(wanted(), [record], 500.0) == []
    assert replica_life.ended(record, "SIGKILL", 2.0).message == "out of memory"


def test_init_may_take_its_delay_and_no_longer() -> None:
    probe = ProbeSettings(initial_delay_seconds=5, period_seconds=1, failure_threshold=2)
    slow = {"digits-1": deployment(template=replace(TEMPLATE, probe=probe))}
    record = replace(running(), template=slow["digits-1"].digest)
    assert plan(slow, [record], 6.9) == [Probe("a")]
    assert plan(slow, [record], 7.0) == [Kill("a", "init() was not done 7 seconds after the start")]


def test_probes_of_a_starting_replica_come_often_at_first_and_then_each_second() -> None:
    for age, interval in ((0.25, 0.05), (2.0, 0.2), (100.0, 1.0)):
        assert probed(running(), NOT_READY, age).next_probe_at == age + interval


def test_memory_above_the_limit_is_a_reason() -> None:
    limited = replace(TEMPLATE, resources=Resources(memory_in_gb_limit=0.5))
    record = replica_life.new(deployment(template=limited), "a", "t", 0.0)
    assert replica_life.over_memory(record, 500_000_000) == ""
    assert replica_life.over_memory(record, 620_000_000) == (
        "out of memory: 0.62 GB resident, the limit is 0.5 GB (memory_in_gb_limit)"
    )
    assert replica_life.over_memory(new(), 10**12) == ""


def test_probe_bookkeeping_alone_is_not_written_to_disk() -> None:
    record = ready()
    assert replica_life.durable(probed(record, READY, 10.0)) == replica_life.durable(record)
    assert replica_life.durable(probed(record, NOT_READY, 10.0)) != replica_life.durable(record)


class World:
    """Does at once what the plan says, as a perfect machine would."""

    def __init__(self) -> None:
        self.records: dict[str, ReplicaRecord] = {}
        self.made = 0

    def do(self, action: Action, now: float) -> None:
        match action:
            case Create():
                self.made += 1
                self.records[f"r{self.made}"] = new(f"r{self.made}", now)
            case Forget(replica=name):
                del self.records[name]
            case _:
                self.records[action.replica] = self._next(self.records[action.replica], action, now)

    def _next(self, record: ReplicaRecord, action: Action, now: float) -> ReplicaRecord:
        match action:
            case Start():
                record = replica_life.launching(record, 20_000, "", now)
                return replica_life.launched(record, ProcessId(int(record.id[1:]), "boot/1"), now)
            case Probe():
                return replica_life.probed(record, TEMPLATE.probe, READY, now)
            case Drain():
                return replica_life.draining(record, now)
            case _:
                return replica_life.ended(replica_life.stop_sent(record, now), "gone", now)

    def living(self) -> list[ReplicaRecord]:
        return [r for r in self.records.values() if r.state is not ReplicaState.TERMINATING]


EVENTS = st.lists(st.one_of(st.integers(0, 6), st.just("crash"), st.just("gone")), min_size=1, max_size=12)


@settings(max_examples=60, deadline=None)
@given(EVENTS)
def test_whatever_happens_the_wanted_number_becomes_ready_and_the_rest_goes(events: list[int | str]) -> None:
    world, number, now = World(), 1, 0.0
    for event in events:
        if isinstance(event, int):
            number = event
        for record in world.living() if event == "crash" else []:
            if record.process:
                world.records[record.id] = replica_life.ended(record, "crash", now)
        deployments = {} if event == "gone" else wanted(number)
        for _ in range(40):
            now += 1.0
            for action in plan(deployments, list(world.records.values()), now):
                world.do(action, now)
        states = [record.state for record in world.records.values()]
        assert states == [ReplicaState.READY] * (0 if event == "gone" else number)


@given(st.integers(0, 8), st.integers(0, 8), st.permutations(list(range(8))))
def test_never_more_victims_than_surplus_and_never_one_twice(have: int, keep: int, idle: list[int]) -> None:
    records = [ready(f"r{n}", float(n)) for n in range(have)]
    gone = [record.id for record in victims(records, keep, [f"r{n}" for n in idle])]
    assert len(gone) == len(set(gone)) == max(have - keep, 0)


def test_the_drain_grace_covers_the_time_in_which_a_router_looks() -> None:
    assert reconcile.DRAIN_GRACE_SECONDS >= 2 * 0.5
