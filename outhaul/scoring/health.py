"""/live, /ready and /status on a listener of their own, answered by the event loop's thread, where no user code runs.

Answering there, and not in one more thread, is on purpose: a loop that cannot answer a probe cannot serve either."""

from __future__ import annotations

import dataclasses
import json
from typing import Any, Callable

from .status import Load, Status


class HealthApp:
    def __init__(self, status: Status, load: Callable[[], Load]) -> None:
        self._status = status
        self._load = load

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        code, found = self._answer(scope["path"])
        body = json.dumps(found).encode()
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": code, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    def _answer(self, path: str) -> tuple[int, dict[str, Any]]:
        load = self._load()
        if path == "/live":
            live = self._status.live(load)
            return (200 if live else 503), {"live": live, "state": self._status.state}
        if path == "/ready":
            ready, why = self._status.ready(load)
            return (200 if ready else 503), {"ready": ready, "state": self._status.state, "message": why}
        if path == "/status":
            return 200, {**self._status.describe(), **dataclasses.asdict(load)}
        return 404, {"message": "Here are /live, /ready and /status"}
