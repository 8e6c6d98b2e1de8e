"""Rolling out over a cluster of doubles: ready → weight → shrink, and the old version goes on serving."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from outhaul.errors import Conflict, Failed, NotFound
from outhaul.service.record import AutoScaler, Keys, ModelRef, Score, Service, ServiceSpec, ServiceState
from outhaul.service.replica import Replica, ReplicaState, ReplicaTemplate
from outhaul.service.rollout import Candidate, delete_service, find_service, replica_template, roll_out, shrink
from outhaul.store.keys import service_record
from tests.fakes import FakeCluster
from tests.unit.fake_workspace import Fakes, fake_workspace

FIRST = Candidate(
    snapshot="s1",
    environment="e",
    score=Score(script="score.py"),
    models=[ModelRef("digits", 1)],
    spec=ServiceSpec(auto_scaler=AutoScaler(min_replicas=2, max_replicas=4)),
)
SECOND = msgspec.structs.replace(FIRST, models=[ModelRef("digits", 2)])


class BrokenCluster(FakeCluster):
    """Replicas of what is in `broken` end again and again."""

    broken: tuple[str, ...] = ("digits-2",)

    def apply(self, template: ReplicaTemplate, replicas: int) -> None:
        super().apply(template, replicas)
        self.settle()
        for seen in self.replicas(template.deployment):
            if template.deployment in self.broken:
                fields = {"state": ReplicaState.FAILED, "restarts": 3, "message": "ValueError: no model"}
                self.seen[seen.id] = Replica(**{**msgspec.structs.asdict(seen), **fields})


@pytest.fixture
def fakes(tmp_path: Path) -> Fakes:
    return fake_workspace(tmp_path)


def deploy(fakes: Fakes, candidate: Candidate, run: str = "r1", fence: int = 1) -> bool:
    """Returns whether nothing had to change."""
    return roll_out(fakes.workspace, "digits", candidate, run, fence, lambda note: None).unchanged


def test_the_first_version_gets_all_requests_when_its_replicas_are_ready(fakes: Fakes) -> None:
    assert not deploy(fakes, FIRST)
    service = find_service(fakes.workspace, "digits")
    assert [(version.number, version.weight, version.run) for version in service.live] == [(1, 100, "r1")]
    assert fakes.cluster.wanted("digits-1") == 2
    assert len(service.key_hashes) == 2


def test_the_same_again_changes_nothing(fakes: Fakes) -> None:
    deploy(fakes, FIRST)
    before = fakes.cluster.seen.copy()
    assert deploy(fakes, FIRST, "r2", 2)
    assert fakes.cluster.seen == before
    assert len(find_service(fakes.workspace, "digits").versions) == 1


def test_replicas_that_somebody_removed_are_brought_back(fakes: Fakes) -> None:
    deploy(fakes, FIRST)
    fakes.cluster.remove("digits-1")
    assert not deploy(fakes, FIRST, "r2", 2)
    assert fakes.cluster.wanted("digits-1") == 2


def test_a_new_version_takes_over_and_the_old_one_goes_after_that(fakes: Fakes) -> None:
    deploy(fakes, FIRST)
    deploy(fakes, SECOND, "r2", 2)
    service = find_service(fakes.workspace, "digits")
    assert [(version.number, version.weight) for version in service.versions] == [(1, 0), (2, 100)]
    assert fakes.cluster.wanted("digits-1") == 2
    assert shrink(fakes.workspace, service) == ["digits-1"]
    assert [template.deployment for template in fakes.cluster.deployments()] == ["digits-2"]


def test_a_busy_service_is_not_shrunk_by_a_rollout(fakes: Fakes) -> None:
    deploy(fakes, FIRST)
    fakes.cluster.scale("digits-1", 4)
    deploy(fakes, SECOND, "r2", 2)
    assert fakes.cluster.wanted("digits-2") == 4


def test_a_version_that_does_not_come_up_is_taken_out_and_the_old_one_serves(tmp_path: Path) -> None:
    fakes = fake_workspace(tmp_path, cluster=BrokenCluster())
    deploy(fakes, FIRST)
    with pytest.raises(Failed) as failed:
        deploy(fakes, SECOND, "r2", 2)
    assert "ValueError: no model" in failed.value.found
    service = find_service(fakes.workspace, "digits")
    assert [(version.number, version.weight) for version in service.versions] == [(1, 100)]
    assert service.state is ServiceState.HEALTHY
    assert service.error is not None
    assert service.error["code"] == "replica-failed"
    assert fakes.cluster.wanted("digits-2") is None
    assert fakes.cluster.wanted("digits-1") == 2


def test_a_first_version_that_does_not_come_up_leaves_a_failed_service(tmp_path: Path) -> None:
    cluster = BrokenCluster()
    cluster.broken = ("digits-1",)
    fakes = fake_workspace(tmp_path, cluster=cluster)
    with pytest.raises(Failed):
        deploy(fakes, FIRST)
    service = find_service(fakes.workspace, "digits")
    assert (service.state, service.versions) == (ServiceState.FAILED, [])


def test_replicas_that_never_get_ready_end_the_rollout_at_its_time_limit(tmp_path: Path) -> None:
    fakes = fake_workspace(tmp_path, cluster=FakeCluster())
    with pytest.raises(Failed) as failed:
        deploy(fakes, FIRST)
    assert failed.value.code == "rollout-timed-out"
    assert "0 of 2" in failed.value.found


def test_a_rollout_that_is_stopped_midway_leaves_no_version_and_no_replicas(tmp_path: Path) -> None:
    fakes = fake_workspace(tmp_path, cluster=FakeCluster())

    def stop(note: str) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        roll_out(fakes.workspace, "digits", FIRST, "r1", 1, stop)
    assert find_service(fakes.workspace, "digits").versions == []
    assert fakes.cluster.deployments() == []


def test_a_deployer_that_lost_its_lock_can_write_no_more(fakes: Fakes) -> None:
    deploy(fakes, FIRST, fence=2)
    with pytest.raises(Conflict) as conflict:
        deploy(fakes, SECOND, "r0", 1)
    assert conflict.value.code == "deployer-replaced"
    assert [version.number for version in find_service(fakes.workspace, "digits").versions] == [1]


def test_chosen_keys_reach_the_secret_store_and_no_record(fakes: Fakes) -> None:
    keyed = msgspec.structs.replace(FIRST, spec=ServiceSpec(num_replicas=1, keys=Keys(primary_key="chosen-secret")))
    deploy(fakes, keyed)
    records = b"".join(fakes.workspace.store.get(each.key)[0] for each in fakes.workspace.store.list(""))
    assert b"chosen-secret" not in records
    assert b"chosen-secret" in (fakes.secrets.get("service-digits-keys") or b"")


def test_a_deleted_service_is_gone_with_replicas_and_keys_and_may_be_deployed_again(fakes: Fakes) -> None:
    deploy(fakes, FIRST)
    delete_service(fakes.workspace, "digits", 2)
    with pytest.raises(NotFound):
        find_service(fakes.workspace, "digits")
    assert fakes.cluster.deployments() == []
    assert fakes.secrets.get("service-digits-keys") is None
    deploy(fakes, FIRST, "r2", 3)
    assert [version.weight for version in find_service(fakes.workspace, "digits").versions] == [100]


def test_old_versions_stay_for_the_record_but_not_for_ever(fakes: Fakes) -> None:
    for number in range(1, 16):
        deploy(fakes, msgspec.structs.replace(FIRST, models=[ModelRef("digits", number)]), f"r{number}", number)
    numbers = [version.number for version in find_service(fakes.workspace, "digits").versions]
    assert numbers == list(range(5, 16))


def test_a_number_is_never_given_twice_also_not_after_a_failure(tmp_path: Path) -> None:
    fakes = fake_workspace(tmp_path, cluster=BrokenCluster())
    deploy(fakes, FIRST)
    with pytest.raises(Failed):
        deploy(fakes, SECOND, "r2", 2)
    third = msgspec.structs.replace(FIRST, models=[ModelRef("digits", 3)])
    deploy(fakes, third, "r3", 3)
    assert [version.number for version in find_service(fakes.workspace, "digits").live] == [3]


def test_a_record_of_an_older_program_keeps_its_version_and_goes_on_counting(fakes: Fakes) -> None:
    deploy(fakes, FIRST)
    key = service_record("digits")
    fakes.workspace.records.update(key, Service, lambda s: msgspec.structs.replace(s, last_version=0))
    deploy(fakes, SECOND, "r2", 2)
    assert [version.number for version in find_service(fakes.workspace, "digits").live] == [2]


def test_a_deployment_of_that_name_that_stands_there_already_costs_the_old_version_nothing(fakes: Fakes) -> None:
    deploy(fakes, FIRST)
    stale = find_service(fakes.workspace, "digits").live[0]
    fakes.cluster.apply(replica_template("digits", msgspec.structs.replace(stale, number=2, snapshot="other")), 1)
    with pytest.raises(Conflict):
        deploy(fakes, SECOND, "r2", 2)
    service = find_service(fakes.workspace, "digits")
    assert [(version.number, version.weight) for version in service.versions] == [(1, 100)]
    assert (service.state, fakes.cluster.wanted("digits-1")) == (ServiceState.HEALTHY, 2)
    assert fakes.cluster.wanted("digits-2") is None, "the stale one is cleared away, so that the next rollout succeeds"
