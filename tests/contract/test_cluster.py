"""The contract of Cluster, over every adapter. The embedded one has its real node; replicas are stand-ins."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from msgspec.structs import replace

from outhaul.errors import Conflict, NotFound, Refused
from outhaul.ports import Cluster
from outhaul.service.replica import Replica, ReplicaState, ReplicaTemplate
from tests.fakes import FakeCluster
from tests.stand_ins.machine import machine, until

TEMPLATE = ReplicaTemplate(
    deployment="digits-1", service="digits", version=1, environment="e", snapshot="s", score_script="score.py"
)
OTHER = replace(TEMPLATE, deployment="other-1", service="other")


@dataclass
class Subject:
    cluster: Cluster
    await_condition: Callable[[Callable[[], bool]], object]

    def await_ready(self, number: int, deployment: str = "digits-1") -> list[Replica]:
        """Exactly this many replicas, all ready."""

        def settled() -> bool:
            states = [replica.state for replica in self.cluster.replicas(deployment)]
            return states == [ReplicaState.READY] * number

        self.await_condition(settled)
        return list(self.cluster.replicas(deployment))


@pytest.fixture(params=["fake", "process"])
def subject(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Subject]:
    if request.param == "fake":
        fake = FakeCluster()

        def settle(condition: Callable[[], bool]) -> None:
            fake.settle()
            assert condition()

        yield Subject(fake, settle)
        return
    with machine(tmp_path) as made:
        made.up()
        yield Subject(made.cluster, lambda condition: until(condition, 15.0))


def test_an_applied_deployment_gets_its_replicas(subject: Subject) -> None:
    subject.cluster.apply(TEMPLATE, 2)
    replicas = subject.await_ready(2)
    assert len({replica.id for replica in replicas}) == len({replica.port for replica in replicas}) == 2
    assert all(replica.deployment == "digits-1" and replica.port for replica in replicas)
    assert subject.cluster.wanted("digits-1") == 2
    assert subject.cluster.deployments() == [TEMPLATE]


def test_applying_the_same_again_changes_the_number_and_no_replica(subject: Subject) -> None:
    subject.cluster.apply(TEMPLATE, 1)
    (first,) = subject.await_ready(1)
    subject.cluster.apply(TEMPLATE, 2)
    assert first.id in {replica.id for replica in subject.await_ready(2)}


def test_other_content_under_the_same_name_is_a_conflict_and_changes_nothing(subject: Subject) -> None:
    subject.cluster.apply(TEMPLATE, 1)
    with pytest.raises(Conflict) as caught:
        subject.cluster.apply(replace(TEMPLATE, snapshot="other"), 3)
    assert caught.value.code == "deployment-changed"
    assert subject.cluster.deployments() == [TEMPLATE]
    assert subject.cluster.wanted("digits-1") == 1


def test_scale_up_keeps_what_is_there(subject: Subject) -> None:
    subject.cluster.apply(TEMPLATE, 1)
    (first,) = subject.await_ready(1)
    subject.cluster.scale("digits-1", 3)
    assert first.id in {replica.id for replica in subject.await_ready(3)}
    assert subject.cluster.wanted("digits-1") == 3


def test_scale_down_takes_the_idle_ones_first(subject: Subject) -> None:
    subject.cluster.apply(TEMPLATE, 3)
    first, second, third = (replica.id for replica in subject.await_ready(3))
    subject.cluster.scale("digits-1", 2, idle_first=[second])
    assert {replica.id for replica in subject.await_ready(2)} == {first, third}


def test_scale_to_zero_and_back(subject: Subject) -> None:
    subject.cluster.apply(TEMPLATE, 1)
    (before,) = subject.await_ready(1)
    subject.cluster.scale("digits-1", 0)
    subject.await_ready(0)
    subject.cluster.scale("digits-1", 1)
    (after,) = subject.await_ready(1)
    assert after.id != before.id


def test_scaling_what_does_not_exist_is_not_found(subject: Subject) -> None:
    with pytest.raises(NotFound) as caught:
        subject.cluster.scale("nothing-1", 1)
    assert caught.value.code == "deployment-missing"
    assert subject.cluster.wanted("nothing-1") is None


@pytest.mark.parametrize("ask", [lambda c: c.apply(TEMPLATE, -1), lambda c: c.scale("digits-1", -1)])
def test_a_negative_number_is_refused(subject: Subject, ask: Callable[[Cluster], None]) -> None:
    with pytest.raises(Refused):
        ask(subject.cluster)
    assert subject.cluster.deployments() == []


def test_a_removed_deployment_is_forgotten_and_its_replicas_go(subject: Subject) -> None:
    subject.cluster.apply(TEMPLATE, 1)
    subject.cluster.apply(OTHER, 1)
    subject.await_ready(1)
    subject.await_ready(1, "other-1")
    subject.cluster.remove("digits-1")
    assert subject.cluster.wanted("digits-1") is None
    assert subject.cluster.deployments() == [OTHER]
    subject.await_ready(0)
    assert [replica.deployment for replica in subject.cluster.replicas()] == ["other-1"]


def test_removing_what_is_absent_is_fine(subject: Subject) -> None:
    subject.cluster.remove("nothing-1")
    assert subject.cluster.deployments() == []


def test_a_name_is_free_again_after_removal(subject: Subject) -> None:
    subject.cluster.apply(TEMPLATE, 1)
    (before,) = subject.await_ready(1)
    subject.cluster.remove("digits-1")
    changed = replace(TEMPLATE, snapshot="other")
    subject.cluster.apply(changed, 1)
    subject.await_condition(lambda: before.id not in {replica.id for replica in subject.cluster.replicas()})
    subject.await_ready(1)
    assert subject.cluster.deployments() == [changed]
