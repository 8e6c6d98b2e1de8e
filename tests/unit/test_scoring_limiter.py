from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from outhaul.scoring.limiter import Limiter, retry_after


def test_starts_at_once_while_a_slot_is_free() -> None:
    limiter: Limiter[str] = Limiter(2)
    assert limiter.enter("a", deadline=9)
    assert limiter.enter("b", deadline=9)
    assert not limiter.enter("c", deadline=9)
    assert (limiter.busy, limiter.queued) == (2, 1)


def test_a_freed_slot_passes_to_the_one_who_waits_longest() -> None:
    limiter: Limiter[str] = Limiter(1)
    for waiter in "abc":
        limiter.enter(waiter, deadline=9)
    assert [limiter.leave(now=1), limiter.leave(now=2), limiter.leave(now=3)] == ["b", "c", None]
    assert limiter.busy == 0


def test_who_is_past_the_deadline_gets_no_slot() -> None:
    limiter: Limiter[str] = Limiter(1)
    limiter.enter("running", deadline=0)
    limiter.enter("late", deadline=5)
    limiter.enter("in time", deadline=6)
    assert limiter.leave(now=5) == "in time"
    assert limiter.expire(now=5) == ["late"]
    assert limiter.queued == 0


def test_only_those_whose_deadline_has_come_expire_and_once() -> None:
    limiter: Limiter[str] = Limiter(1)
    for deadline, waiter in enumerate(("running", "a", "b", "c")):
        limiter.enter(waiter, deadline)
    assert limiter.expire(now=2) == ["a", "b"]
    assert limiter.expire(now=2) == []
    assert limiter.busy == 1
    assert limiter.leave(now=2) == "c"


steps = st.lists(st.tuples(st.sampled_from(["enter", "leave", "expire"]), st.integers(0, 9)), max_size=60)


@given(slots=st.integers(1, 4), script=steps)
def test_never_more_at_once_than_slots_and_none_lost(slots: int, script: list[tuple[str, int]]) -> None:
    limiter: Limiter[int] = Limiter(slots)
    running: set[int] = set()
    waiting: dict[int, int] = {}
    for name, (action, number) in enumerate(script):
        if action == "enter":
            deadline = 10 + number
            if limiter.enter(name, deadline):
                running.add(name)
            else:
                waiting[name] = deadline
        elif action == "leave" and running:
            running.pop()
            following = limiter.leave(now=0)
            assert following == next(iter(waiting), None)
            if following is not None:
                running.add(following)
                del waiting[following]
        elif action == "expire":
            late = limiter.expire(now=10 + number)
            assert late == [waiter for waiter, deadline in waiting.items() if deadline <= 10 + number]
            waiting = {waiter: deadline for waiter, deadline in waiting.items() if waiter not in late}
        assert (limiter.busy, limiter.queued) == (len(running), len(waiting))
        assert len(running) <= slots
        assert not waiting or len(running) == slots


def test_retry_after_follows_the_queue_and_the_measured_time() -> None:
    assert retry_after(queued=0, slots=1, mean_seconds=0.0) == 1
    assert retry_after(queued=9, slots=2, mean_seconds=1.0) == 5
    assert retry_after(queued=900, slots=1, mean_seconds=3.0) == 60
