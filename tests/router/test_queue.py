"""The queue: one FIFO per deployment, exact limits, bounded waits."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.router.stage import Stage, fixed, seen_by, service, until, version


def test_waiting_requests_are_answered_in_the_order_of_arrival(stage: Stage):
    [replica] = stage.serve(service("digits", version(spec=fixed(max_queue_wait_ms=5000))))
    answers = stage.together(8, "ms=60", pause=0.02)
    assert {answer.status_code for answer in answers} == {200}
    assert seen_by(replica)["order"] == [f"n{index:03d}" for index in range(8)]


def test_a_request_that_waited_500_ms_is_refused_with_a_time_to_try_again(stage: Stage):
    stage.serve()
    answers = stage.together(3, "ms=900", pause=0.05)
    assert [answer.status_code for answer in answers] == [200, 503, 503]
    refused = answers[1]
    assert 0.45 < refused.elapsed.total_seconds() < 0.7
    assert refused.json()["message"] == "Too many requests for service digits (overloaded)"
    assert refused.json()["code"] == "overloaded"
    assert int(refused.headers["retry-after"]) >= 1


@pytest.mark.parametrize(("limit", "replicas"), [(1, 2), (3, 1)])
def test_a_replica_never_gets_more_than_its_limit_and_gets_all_of_it(stage: Stage, limit: int, replicas: int):
    spec = fixed(replicas, max_concurrent_requests_per_container=limit, max_queue_wait_ms=10_000)
    added = stage.serve(service("digits", version(spec=spec)), replicas=replicas)
    answers = stage.together(30, "ms=20")
    assert {answer.status_code for answer in answers} == {200}
    assert [seen_by(replica)["most"] for replica in added] == [limit] * replicas


def test_a_long_request_does_not_hold_up_short_ones_while_another_replica_is_free(stage: Stage):
    stage.serve(replicas=2)
    with ThreadPoolExecutor(1) as pool:
        long = pool.submit(stage.score, "ms=1200")
        short = [stage.score("ms=50") for _ in range(6)]
        assert not long.done()
    assert max(answer.elapsed.total_seconds() for answer in short) < 0.4


def test_a_changed_limit_takes_effect_at_once_and_without_a_reload(stage: Stage):
    [replica] = stage.serve()
    worker = stage.worker()
    spec = fixed(max_concurrent_requests_per_container=4)
    stage.put(service("digits", version(spec=spec)))
    stage.settle()
    assert {answer.status_code for answer in stage.together(4, "ms=200")} == {200}
    assert seen_by(replica)["most"] == 4
    assert stage.worker() == worker


def test_the_wait_is_rounded_up_to_its_class_and_the_status_says_so(stage: Stage):
    stage.serve(service("digits", version(spec=fixed(max_queue_wait_ms=700))))
    answers = stage.together(2, "ms=850", pause=0.05)
    assert [answer.status_code for answer in answers] == [200, 200]
    assert stage.status()["services"]["digits"]["queue_wait_ms"] == 1000


def test_a_client_that_went_away_frees_its_place_in_the_queue(stage: Stage):
    [replica] = stage.serve(service("digits", version(spec=fixed(max_queue_wait_ms=5000))))
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(stage.score, "ms=400")
        until(lambda: seen_by(replica)["now"], "the replica is busy")
        with stage.sending("content-length: 0"):
            pass
        assert first.result().status_code == 200
    assert stage.score().status_code == 200
    assert seen_by(replica)["requests"] == 2
