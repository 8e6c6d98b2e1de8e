"""What a client gets: codes, bodies, headers."""

from __future__ import annotations

import itertools
import time

import httpx
import pytest

from outhaul.adapters.haproxy import RouterFiles
from outhaul.router.dataplane import ReplaceMap
from outhaul.router.metrics import serve
from outhaul.service.replica import ReplicaState
from tests.router.stage import KEYS, Stage, fixed, scaled, seen_by, service, until, version


def test_a_request_with_a_key_reaches_the_replica_under_its_own_path(stage: Stage):
    stage.serve()
    answer = stage.score("a=1", content=b"x" * 1000)
    saw = answer.json()
    assert (answer.status_code, saw["path"], saw["bytes"]) == (200, "/score", 1000)
    assert "authorization" not in saw["headers"]


@pytest.mark.parametrize("path", ["/api/v1/service/digits", "/api/v1/service/digits/"])
def test_health_and_swagger_are_answered_by_a_replica(stage: Stage, path: str):
    stage.serve()
    headers = {"authorization": f"Bearer {KEYS[1]}"}
    assert stage.client.get(path, headers=headers).json()["path"] == "/"
    assert stage.client.get("/api/v1/service/digits/swagger.json", headers=headers).json()["path"] == "/swagger.json"


def test_without_a_right_key_nothing_passes(stage: Stage):
    stage.serve()
    answer = stage.score(key="wrong")
    assert (answer.status_code, answer.json()["code"]) == (401, "unauthorized")
    assert answer.headers["www-authenticate"] == "Bearer"
    assert "requires an auth header" in answer.json()["message"]
    assert stage.client.post("/api/v1/service/digits/score").status_code == 401
    assert [stage.score(key=KEYS[0] + more).status_code for more in ("x", " x", "=")] == [401] * 3
    assert [stage.score(key=key).status_code for key in KEYS] == [200, 200]


def test_a_key_of_another_service_is_refused(stage: Stage):
    stage.put(service("other", keys=["other-key"]))
    stage.serve()
    assert stage.score(key="other-key").status_code == 401


def test_an_open_service_needs_no_key_and_keeps_the_clients_header(stage: Stage):
    stage.serve(service("digits", version(spec=fixed(auth_enabled=False))))
    answer = stage.score(key="anything")
    assert (answer.status_code, answer.json()["headers"]["authorization"]) == (200, "Bearer anything")
    assert stage.client.post("/api/v1/service/digits/score").status_code == 200


def test_a_service_with_tokens_is_closed_to_everybody_who_has_none(stage: Stage):
    stage.serve(service("digits", version(spec=fixed(auth_enabled=False, token_auth_enabled=True))))
    assert {stage.score(key=key).status_code for key in KEYS} == {401}


def test_a_service_whose_mode_was_lost_is_refused(stage: Stage):
    stage.serve(service("digits", version(spec=fixed(auth_enabled=False))))
    stage.stop_agent()
    stage.agent.plane.apply([ReplaceMap("auth", {})])
    assert stage.score().status_code == 401


@pytest.mark.parametrize("other", [None, "Bearer wrong", "Basic cHJpbWFyeS1rZXk=", "Bearer", "Bearer primary-ke", ""])
def test_a_right_key_opens_nothing_for_the_connections_next_request(stage: Stage, other: str | None):
    stage.put(service("other", keys=["other-key"]))
    stage.serve()
    with httpx.Client(base_url=stage.url, limits=httpx.Limits(max_connections=1)) as client:

        def status(authorization: str | None, name: str = "digits") -> int:
            headers = {} if authorization is None else {"authorization": authorization}
            return client.post(f"/api/v1/service/{name}/score", headers=headers).status_code

        right = f"Bearer {KEYS[0]}"
        assert [status(header) for header in (right, right, other, other, right)] == [200, 200, 401, 401, 200]
        assert status(right, "other") == 401


def test_keys_rotate_at_once(stage: Stage):
    stage.serve()
    stage.put(service(keys=["new-key", KEYS[1]]))
    until(lambda: stage.score(key="new-key").status_code == 200, "the new key is accepted", 1.0)
    assert stage.score(key=KEYS[0]).status_code == 401
    assert stage.score(key=KEYS[1]).status_code == 200


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("/", "unknown-path"),
        ("/score", "unknown-path"),
        ("/api/v1/service/digits/other", "unknown-path"),
        ("/api/v1/service/digits/score/deeper", "unknown-path"),
        ("/api/v1/service//score", "unknown-service"),
        ("/api/v1/service/missing/score", "unknown-service"),
        ('/api/v1/service/"missing%22/score', "unknown-service"),
    ],
)
def test_unknown_paths_and_services_are_404_with_a_remedy(stage: Stage, path: str, code: str):
    stage.serve()
    answer = stage.client.get(path)
    assert (answer.status_code, answer.json()["code"]) == (404, code)
    assert answer.json()["remedy"]


@pytest.mark.parametrize("method", ["PUT", "DELETE", "HEAD", "PATCH", "TRACE"])
def test_only_get_post_and_options_are_routed(stage: Stage, method: str):
    stage.serve()
    answer = stage.client.request(method, "/api/v1/service/digits/score", headers=_bearer())
    assert (answer.status_code, answer.headers["allow"]) == (405, "GET, POST, OPTIONS")


def test_a_body_above_100_mb_is_refused_before_it_is_sent(stage: Stage):
    stage.serve()
    with stage.sending("content-length: 104857601") as connection:
        answer = connection.makefile().read()
    assert answer.startswith("HTTP/1.1 413")
    assert "payload-too-large" in answer


def test_request_ids_are_made_kept_and_bounded(stage: Stage):
    stage.serve()
    made = stage.score()
    assert len(made.headers["x-request-id"]) == 36
    assert made.json()["headers"]["x-request-id"] == made.headers["x-request-id"]
    assert stage.score(headers={"x-request-id": "mine"}).headers["x-request-id"] == "mine"
    assert stage.score(headers={"x-request-id": "x" * 100}).status_code == 200
    assert stage.score(headers={"x-request-id": "x" * 101}).status_code == 431


def test_the_routers_own_answers_carry_the_request_id_even_an_awkward_one(stage: Stage):
    stage.serve()
    answer = stage.score(key="wrong", headers={"x-request-id": 'say "hi"\\'})
    assert answer.headers["x-request-id"] == answer.json()["requestId"] == 'say "hi"\\'


def test_a_failed_run_is_502_with_the_replicas_own_body(stage: Stage):
    stage.serve()
    answer = stage.score("status=500")
    assert (answer.status_code, answer.json()["path"]) == (502, "/score")
    assert [stage.score(f"status={code}").status_code for code in (400, 418, 503)] == [400, 418, 503]


def test_a_replica_that_hangs_up_is_502_and_its_request_is_not_sent_twice(stage: Stage):
    replicas = stage.serve(replicas=2)
    answer = stage.score("close")
    assert (answer.status_code, answer.json()["code"]) == (502, "replica-closed")
    assert "Replica closed connection before replying" in answer.text
    assert sum(seen_by(replica)["requests"] for replica in replicas) == 1


def test_a_scoring_timeout_is_504(stage: Stage):
    stage.serve(service("digits", version(spec=fixed(scoring_timeout_ms=300))))
    started = time.monotonic()
    answer = stage.score("ms=2000")
    assert (answer.status_code, answer.json()["code"]) == (504, "scoring-timeout")
    assert 0.25 < time.monotonic() - started < 1.0


def test_no_ready_replica_is_503_at_once_and_says_so(stage: Stage):
    [replica] = stage.serve()
    stage.set_state(replica, ReplicaState.UNHEALTHY)
    until(lambda: stage.drained(replica), "it gets no more requests")
    answer = stage.score()
    assert (answer.status_code, answer.json()["code"]) == (503, "no-ready-replicas")
    assert answer.json()["message"] == "No ready replicas for service digits."
    assert int(answer.headers["retry-after"]) >= 1
    stage.set_state(replica, ReplicaState.READY)
    until(lambda: stage.score().status_code == 200, "it answers again")


def test_a_service_without_a_live_version_is_503_not_404(stage: Stage):
    stage.put(service("digits", version(weight=0)))
    stage.start_agent()
    until(lambda: stage.score().status_code == 503, "known, though nothing serves it yet")


def test_a_replica_that_refuses_connections_costs_one_request_no_more_than_a_moment(stage: Stage):
    good, dead = stage.serve(replicas=2)
    stage.end(dead.id)
    answers = [stage.score() for _ in range(6)]
    assert {answer.status_code for answer in answers} == {200}
    assert {answer.json()["port"] for answer in answers} == {good.port}
    assert max(answer.elapsed.total_seconds() for answer in answers) < 0.6


def test_events_arrive_when_they_are_sent(stage: Stage):
    stage.serve()
    with stage.client.stream("GET", "/api/v1/service/digits/score?sse=5&ms=100", headers=_bearer()) as answer:
        arrived = [time.monotonic() for line in answer.iter_lines() if line]
    gaps = [later - earlier for earlier, later in itertools.pairwise(arrived)]
    assert len(gaps) == 4
    assert min(gaps) > 0.05


def test_a_slow_sender_does_not_hold_a_replicas_place(stage: Stage):
    [replica] = stage.serve()
    with stage.sending("content-length: 10") as slow:
        slow.sendall(b"12345")
        assert [stage.score().status_code for _ in range(3)] == [200] * 3
    assert seen_by(replica)["requests"] == 3


def test_metrics_of_haproxy_and_of_the_agent_are_on_a_loopback_port(stage: Stage):
    stage.serve(service("digits", version(spec=scaled(1, 3))))
    files = RouterFiles(stage.home)
    server = serve(stage.agent, files.agent_socket)
    address = f"http://{files.read_settings()['metrics']}"
    assert "haproxy_frontend_http_requests_total" in httpx.get(f"{address}/metrics").text
    ready = 'outhaul_service_ready{service="digits"} 1.0'
    until(lambda: ready in httpx.get(f"{address}/agent/metrics").text, "the agent has measured", 3.0)
    server.shutdown()
    server.server_close()


def _bearer() -> dict[str, str]:
    return {"authorization": f"Bearer {KEYS[0]}"}
