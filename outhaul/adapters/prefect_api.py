"""Prefect's REST API, as far as Outhaul needs it. Prefect itself is never imported: that takes seconds."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import urlsplit

from outhaul.errors import Denied, NotFound, OuthaulError, Refused, Unreachable

if TYPE_CHECKING:
    import httpx

REFUSALS = (400, 409, 422)
BUSY = (429, 503)
PAUSES = (0.2, 0.4, 0.8, 1.6, 3.2)
TIMEOUT_SECONDS = 30.0


class PrefectApi:
    """A client of one Prefect server. `url` ends in `/api`. Use it as a context manager, or close it."""

    def __init__(self, url: str) -> None:
        import httpx  # not at the top: it would double the start time of commands that run no flow

        self.url = url.rstrip("/")
        loopback = urlsplit(url).hostname in ("127.0.0.1", "localhost", "::1")
        self._client = httpx.Client(
            base_url=self.url,
            headers=_credentials(os.environ),
            timeout=TIMEOUT_SECONDS,
            trust_env=not loopback,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        self._client.close()

    def call(self, method: str, path: str, body: object = None) -> Any:
        """The decoded answer. NotFound, Denied, Refused (with the server's words) or Unreachable."""
        return _answer(self.respond(method, path, body))

    def respond(self, method: str, path: str, body: object = None) -> httpx.Response:
        """The raw response, whatever its status; Unreachable when there is none.

        A server that is busy for a moment (its database is locked) is asked again for some seconds.
        """
        import httpx

        try:
            for pause in PAUSES:
                response = self._client.request(method, path, json=body)
                if response.status_code not in BUSY:
                    return response
                time.sleep(pause * random.uniform(0.5, 1.0))
            return self._client.request(method, path, json=body)
        except httpx.HTTPError as error:
            raise unreachable(self.url, str(error) or type(error).__name__) from error

    def find(self, path: str) -> Any | None:
        """The decoded answer of a GET, None when the server says that there is no such thing."""
        try:
            return self.call("GET", path)
        except NotFound:
            return None

    def deployment(self, name: str) -> dict[str, Any]:
        """The deployment `flow/deployment`."""
        found = self.find(f"/deployments/name/{name}")
        if found is None:
            raise NotFound(
                "deployment-missing",
                f"the Prefect server has no deployment `{name}`",
                found=f"no answer for {name} at {self.url}",
                remedy="outhaul up registers Outhaul's deployments",
            )
        return dict(found)

    def create_flow_run(self, deployment_id: str, body: Mapping[str, object]) -> tuple[dict[str, Any], bool]:
        """The flow run and whether it is new: False when the idempotency key was used before."""
        response = self.respond("POST", f"/deployments/{deployment_id}/create_flow_run", dict(body))
        return dict(_answer(response)), response.status_code == 201

    def flow_run(self, flow_run_id: str) -> dict[str, Any]:
        found = self.find(f"/flow_runs/{flow_run_id}")
        if found is None:
            raise NotFound(
                "flow-run-missing",
                f"the Prefect server knows no flow run `{flow_run_id}`",
                found=f"no such id at {self.url}",
                remedy="outhaul run list shows the ids",
            )
        return dict(found)

    def set_state(self, flow_run_id: str, state: str, message: str, *, force: bool = False) -> str:
        """Ask for a state by its type (`CANCELLING`); returns the type that the flow run then has."""
        body = {"state": {"type": state, "message": message}, "force": force}
        answer = self.call("POST", f"/flow_runs/{flow_run_id}/set_state", body)
        return str((answer.get("state") or {}).get("type") or "")


def unreachable(url: str, found: str) -> Unreachable:
    return Unreachable(
        "prefect-unreachable",
        f"the Prefect server at {url} does not answer",
        found=found,
        expected=f"an answer from {url}/health",
        remedy="outhaul up starts the server; outhaul status shows it; PREFECT_API_URL names another one",
    )


def _credentials(env_vars: Mapping[str, str]) -> dict[str, str]:
    """Prefect's own settings for a server that asks who is calling."""
    if key := env_vars.get("PREFECT_API_KEY"):
        return {"Authorization": f"Bearer {key}"}
    if pair := env_vars.get("PREFECT_API_AUTH_STRING"):
        import base64

        return {"Authorization": f"Basic {base64.b64encode(pair.encode()).decode()}"}
    return {}


def _answer(response: httpx.Response) -> Any:
    if response.is_success:
        return response.json() if response.content else None
    raise _error(response)


def _error(response: httpx.Response) -> OuthaulError:
    words, asked = _words(response), f"{response.request.method} {response.request.url.path}"
    if response.status_code == 404:
        return NotFound("prefect-not-found", f"the Prefect server has nothing at {asked}", found=words)
    if response.status_code in (401, 403):
        return Denied(
            "prefect-denied",
            "the Prefect server refused the credentials",
            found=f"{response.status_code} for {asked}: {words}",
            remedy="set PREFECT_API_KEY or PREFECT_API_AUTH_STRING as the server's operator says",
        )
    if response.status_code in REFUSALS:
        return Refused("prefect-refused", "the Prefect server refused the request", found=words, expected=asked)
    return unreachable(str(response.request.url.copy_with(path="/api")), f"status {response.status_code}: {words}")


def _words(response: httpx.Response) -> str:
    """What the server says, without the JSON around it."""
    try:
        content = response.json()
    except ValueError:
        return response.text[:2000]
    detail = content.get("detail") or content.get("exception_detail") if isinstance(content, dict) else content
    return str(detail or content)[:2000]
