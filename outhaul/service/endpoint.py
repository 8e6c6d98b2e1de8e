"""A service's endpoint: where it answers, and asking it through its router as any client would."""

from __future__ import annotations

import time
from collections.abc import Callable

import msgspec

from outhaul.errors import Failed, Temporary, Unreachable
from outhaul.home import Home
from outhaul.node.local_ports import HOST, known_port
from outhaul.router.status import RouterStatus
from outhaul.service.keys import read_keys
from outhaul.service.record import Service, ServiceState
from outhaul.service.rollout import write_service
from outhaul.workspace import Workspace

VERSION_HEADER = "x-outhaul-version"
ROUTED_SECONDS = 30.0
HEALTHY_SECONDS = 60.0
POLL_SECONDS = 0.05
LONGEST_ANSWER_SECONDS = 310.0
"""A little more than the longest scoring timeout that a service may have."""

Answer = tuple[int, dict[str, str], bytes]


def router_url(home: Home) -> str:
    """Where the router listens; empty before its first start."""
    port = known_port(home, "router")
    return f"http://{HOST}:{port}" if port else ""


def scoring_url(home: Home, service: str) -> str:
    """The URL that clients send their requests to."""
    return f"{router_url(home)}/api/v1/service/{service}/score"


def score(home: Home, service: str, body: bytes, key: str | None) -> Answer:
    """One scoring request: (status, headers in lower case, body). Unreachable when the router does not answer."""
    return _ask(home, "POST", f"/api/v1/service/{service}/score", body, key)


def wait_until_routed(workspace: Workspace, service: Service) -> None:
    """Wait until the router sends requests to the service's leading version, so that the others may go."""
    number = str(service.live[0].number)
    found = _wait(workspace, service.name, ROUTED_SECONDS, lambda answer: answer[1].get(VERSION_HEADER) == number)
    if found is not None:
        raise _not_routed(service.name, number, found)


def wait_until_healthy(workspace: Workspace, name: str, fence: int) -> str:
    """Wait until the service answers through its router and write its state. Returns the scoring URL."""
    found = _wait(workspace, name, HEALTHY_SECONDS, lambda answer: answer[0] == 200)
    if found is not None:
        write_service(workspace, name, fence, lambda service: setattr(service, "state", ServiceState.UNHEALTHY))
        raise _unhealthy(name, found)
    write_service(workspace, name, fence, lambda service: setattr(service, "state", ServiceState.HEALTHY))
    return scoring_url(workspace.settings.home, name)


def router_status(home: Home) -> RouterStatus | None:
    """What the router said last about its services; None when it never ran."""
    path = home.router / "status.json"
    return msgspec.json.decode(path.read_bytes(), type=RouterStatus) if path.exists() else None


def _wait(workspace: Workspace, name: str, seconds: float, good: Callable[[Answer], bool]) -> Answer | None:
    """None as soon as an answer is good; the last answer when none was in time."""
    pair = read_keys(workspace.secrets, name)
    key = pair.primary_key if pair else None
    deadline = time.monotonic() + seconds
    while True:
        answer = _probe(workspace.settings.home, name, key)
        if good(answer):
            return None
        if time.monotonic() > deadline:
            return answer
        time.sleep(POLL_SECONDS)


def _probe(home: Home, name: str, key: str | None) -> Answer:
    """A look at the service's root, which a replica answers without calling run()."""
    try:
        return _ask(home, "GET", f"/api/v1/service/{name}/", None, key)
    except Unreachable as error:
        return 0, {}, str(error).encode()


def _ask(home: Home, method: str, path: str, body: bytes | None, key: str | None) -> Answer:
    import http.client  # slow to import, and most commands that import this module send no request

    port = known_port(home, "router")
    if port is None:
        raise Unreachable("router-down", "the router does not run", remedy="start it with `outhaul up`")
    connection = http.client.HTTPConnection(HOST, port, timeout=LONGEST_ANSWER_SECONDS)
    headers = {"Content-Type": "application/json", **({"Authorization": f"Bearer {key}"} if key else {})}
    try:
        connection.request(method, path, body, headers)
        response = connection.getresponse()
        return response.status, {name.lower(): value for name, value in response.getheaders()}, response.read()
    except (OSError, http.client.HTTPException) as error:
        raise Unreachable(
            "router-unreachable",
            "the router does not answer",
            found=f"{HOST}:{port}: {error or type(error).__name__}",
            expected="an answer over HTTP",
            remedy="see `outhaul status`, and start what is missing with `outhaul up`",
        ) from error
    finally:
        connection.close()


def _not_routed(name: str, number: str, found: Answer) -> Temporary:
    return Unreachable(
        "not-routed",
        f"the router does not send the requests of `{name}` to version {number}",
        found=f"status {found[0]}, version {found[1].get(VERSION_HEADER, 'unknown')} after {ROUTED_SECONDS:g} s",
        expected=f"answers of version {number}",
        remedy="see `outhaul status` and the router agent's log",
    )


def _unhealthy(name: str, found: Answer) -> Failed:
    return Failed(
        "service-unhealthy",
        f"`{name}` does not answer through its router",
        found=f"status {found[0]}: {found[2].decode('utf-8', 'replace')[:500]}",
        expected="status 200",
        remedy=f"see `outhaul service show {name}` and `outhaul service get-logs {name}`",
    )
