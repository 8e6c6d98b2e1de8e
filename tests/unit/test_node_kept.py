"""Kept processes: what is started, in which order, and when it is started again."""

from __future__ import annotations

from msgspec.structs import replace

from outhaul.node import kept_plan
from outhaul.node.kept_plan import CheckKept, ForgetKept, KillKept, StartKept, StopKept, plan_kept
from outhaul.node.state import KeptProcess, KeptState, ProcessId

SERVER = KeptProcess(name="server", argv=["server"], order=10)
WORKER = KeptProcess(name="worker", argv=["worker"], order=50, after=["server"], stop_seconds=3.0)
TABLE = {"server": SERVER, "worker": WORKER}


def running(definition: KeptProcess, now: float = 0.0) -> KeptState:
    state = kept_plan.starting(definition, None, f"token/{definition.name}", now)
    return kept_plan.started(state, ProcessId(7, "boot/1"), now)


def ready(definition: KeptProcess, now: float = 0.0) -> KeptState:
    return kept_plan.became_ready(running(definition, now), now)


def test_what_comes_after_another_waits_until_that_is_ready() -> None:
    assert plan_kept(TABLE, {}, 0.0) == [StartKept("server")]
    assert plan_kept(TABLE, {"server": running(SERVER)}, 1.0) == [CheckKept("server")]
    assert plan_kept(TABLE, {"server": ready(SERVER)}, 1.0) == [StartKept("worker")]


def test_all_ready_means_nothing_to_do() -> None:
    assert plan_kept(TABLE, {"server": ready(SERVER), "worker": ready(WORKER)}, 99.0) == []


def test_one_that_ended_is_started_again_after_its_back_off() -> None:
    state = kept_plan.ended(running(SERVER), "exit status 1", 10.0)
    assert (state.restarts, state.message) == (1, "exit status 1")
    table = {"server": SERVER}
    assert plan_kept(table, {"server": state}, 10.4) == []
    assert plan_kept(table, {"server": state}, 10.5) == [StartKept("server")]
    again = kept_plan.started(kept_plan.starting(SERVER, state, "token/server", 10.5), ProcessId(8, "boot/2"), 10.5)
    assert kept_plan.ended(again, "exit status 1", 11.0).start_at == 12.0


def test_a_steady_time_forgives_earlier_ends() -> None:
    state = replace(ready(SERVER), streak=5)
    assert kept_plan.ended(state, "gone", 29.0).streak == 6
    assert kept_plan.ended(state, "gone", 30.0).streak == 1


def test_a_changed_definition_stops_the_old_process_and_starts_the_new() -> None:
    table = {"server": replace(SERVER, argv=["server", "--port", "1"])}
    state = ready(SERVER)
    assert plan_kept(table, {"server": state}, 1.0) == [StopKept("server")]
    state = kept_plan.stop_sent(state, 1.0)
    assert plan_kept(table, {"server": state}, 5.0) == []
    state = kept_plan.ended(state, "as asked", 5.0)
    assert state.restarts == 0
    assert plan_kept(table, {"server": state}, 5.0) == [ForgetKept("server")]
    assert plan_kept(table, {}, 5.0) == [StartKept("server")]


def test_one_that_does_not_stop_in_its_time_is_killed() -> None:
    state = kept_plan.stop_sent(ready(WORKER), 1.0)
    assert plan_kept({}, {"worker": state}, 3.9) == []
    assert plan_kept({}, {"worker": state}, 4.0) == [KillKept("worker")]


def test_one_lost_while_no_node_ran_is_started_at_once() -> None:
    state = kept_plan.lost(ready(SERVER), 100.0)
    assert plan_kept({"server": SERVER}, {"server": state}, 100.0) == [StartKept("server")]


def test_one_found_again_is_checked_again() -> None:
    state = kept_plan.adopted(ready(SERVER), ProcessId(7, "boot/1"))
    assert plan_kept({"server": SERVER}, {"server": state}, 1.0) == [CheckKept("server")]
