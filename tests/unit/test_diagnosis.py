"""Why replicas do not serve."""

from __future__ import annotations

import pytest

from outhaul.service.diagnosis import HOPELESS_RESTARTS, diagnose
from outhaul.service.replica import Replica, ReplicaState


def replica(state: ReplicaState, restarts: int = 0, message: str = "") -> Replica:
    return Replica(id="digits-1-a", deployment="digits-1", state=state, restarts=restarts, message=message)


@pytest.mark.parametrize("state", ReplicaState)
def test_a_replica_that_was_not_restarted_often_may_still_come_up(state: ReplicaState) -> None:
    assert diagnose([replica(state, HOPELESS_RESTARTS - 1)]) is None


def test_a_replica_that_ends_again_and_again_is_hopeless_and_its_traceback_is_told() -> None:
    found = diagnose(
        [replica(ReplicaState.READY), replica(ReplicaState.FAILED, HOPELESS_RESTARTS, "ValueError: no model")]
    )
    assert found is not None
    assert found.code == "replica-failed"
    assert "ValueError: no model" in found.found
    assert found.remedy


def test_a_memory_limit_has_a_remedy_of_its_own() -> None:
    found = diagnose([replica(ReplicaState.FAILED, HOPELESS_RESTARTS, "ended by its memory limit of 500 MB")])
    assert found is not None
    assert found.code == "replica-memory-limit"
    assert "memory_in_gb_limit" in found.remedy


def test_nothing_is_wrong_with_no_replicas() -> None:
    assert diagnose([]) is None
