"""One deployer per service, whoever dies."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from outhaul.errors import Conflict
from outhaul.service.deployer_lock import DeployerLock, Lock, acquired, free
from outhaul.store.records import Records
from tests.fakes import FakeObjectStore


@pytest.fixture
def lock() -> DeployerLock:
    return DeployerLock(Records(FakeObjectStore(), pause=lambda seconds: None))


def test_a_second_deployer_is_told_who_deploys_since_when_and_what_to_do(lock: DeployerLock) -> None:
    lock.acquire("digits", "run-a", now=0.0)
    with pytest.raises(Conflict) as caught:
        lock.acquire("digits", "run-b", now=59.9)
    error = caught.value
    assert error.code == "deployment-in-progress"
    assert "run-a" in error.found
    assert "00:00:00 UTC" in error.found
    assert "outhaul run cancel run-a" in error.remedy
    assert "00:01:00 UTC" in error.remedy


def test_services_have_locks_of_their_own(lock: DeployerLock) -> None:
    lock.acquire("digits", "run-a", now=0.0)
    assert lock.acquire("letters", "run-b", now=0.0) == 1


def test_a_restarted_run_takes_its_own_lock_over_with_a_higher_fence(lock: DeployerLock) -> None:
    first = lock.acquire("digits", "run-a", now=0.0)
    assert lock.acquire("digits", "run-a", now=1.0) == first + 1
    with pytest.raises(Conflict) as caught:
        lock.renew("digits", "run-a", first, now=2.0)
    assert caught.value.code == "deployment-lock-lost"


def test_the_lock_of_a_dead_deployer_is_free_after_a_minute(lock: DeployerLock) -> None:
    first = lock.acquire("digits", "run-a", now=0.0)
    assert lock.acquire("digits", "run-b", now=60.0) == first + 1


def test_renewing_keeps_others_out(lock: DeployerLock) -> None:
    fence = lock.acquire("digits", "run-a", now=0.0)
    lock.renew("digits", "run-a", fence, now=50.0)
    with pytest.raises(Conflict):
        lock.acquire("digits", "run-b", now=100.0)


def test_a_lock_that_only_expired_can_be_renewed_but_not_one_that_was_taken(lock: DeployerLock) -> None:
    fence = lock.acquire("digits", "run-a", now=0.0)
    lock.renew("digits", "run-a", fence, now=100.0)
    lock.acquire("digits", "run-b", now=500.0)
    with pytest.raises(Conflict) as caught:
        lock.renew("digits", "run-a", fence, now=501.0)
    assert "run-b" in caught.value.found


def test_a_released_lock_is_free_at_once(lock: DeployerLock) -> None:
    fence = lock.acquire("digits", "run-a", now=0.0)
    lock.release("digits", "run-a", fence)
    lock.release("digits", "run-a", fence)
    assert lock.acquire("digits", "run-b", now=1.0) == fence + 1


def test_releasing_a_lock_that_was_lost_leaves_the_new_owner_alone(lock: DeployerLock) -> None:
    lock.release("digits", "run-a", 1)
    fence = lock.acquire("digits", "run-a", now=0.0)
    lock.acquire("digits", "run-b", now=60.0)
    lock.release("digits", "run-a", fence)
    with pytest.raises(Conflict):
        lock.acquire("digits", "run-c", now=61.0)


@given(st.lists(st.tuples(st.sampled_from("abc"), st.floats(0, 40)), max_size=30))
def test_fences_grow_and_two_owners_never_hold_it_at_once(calls: list[tuple[str, float]]) -> None:
    found: Lock | None = None
    now = 0.0
    for owner, later in calls:
        now += later
        before = found
        try:
            found = acquired("digits", found, owner, now)
        except Conflict:
            assert before is not None
            assert not free(before, now)
            assert before.owner != owner
            continue
        assert found.fence == (before.fence if before else 0) + 1
        assert before is None or before.owner == owner or free(before, now)
