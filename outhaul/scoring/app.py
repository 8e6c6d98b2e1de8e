"""Scoring routes, headers and codes: v1's contract, as an ASGI application."""

from __future__ import annotations

import json
import time
import uuid
from typing import Any, Callable

from .answers import Answer, error_answer
from .calling import ScoreRequest, query_as_json
from .config import Config
from .desk import Desk
from .request_ids import IdTooLong, read_ids
from .swagger import VERSIONS, describe
from .vendored import client_gone

DEADLINE = b"x-outhaul-deadline-ms"
ROUTES = {"/score": ("GET", "POST", "OPTIONS"), "/": ("GET", "HEAD"), "/swagger.json": ("GET", "HEAD")}
CLOSE = ("connection", "close")
NO_ROUTE = "The requested URL was not found on the server."
NO_METHOD = "The method is not allowed for the requested URL."


class ClientGone(Exception):
    """Nobody is there to be answered."""


class ScoringApp:
    """`log` gets finished lines: `log(level, text)`."""

    def __init__(self, config: Config, desk: Desk, server_version: str, log: Callable[[str, str], None]) -> None:
        self._config = config
        self._desk = desk
        self._log = log
        self._fixed = [(b"x-ms-server-version", server_version.encode())]
        self._fixed += [(k.lower().encode(), v.encode()) for k, v in config.response_headers.items()]
        self.open_requests = 0
        self.draining = False

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        self.open_requests += 1
        try:
            await self._serve(scope, receive, send)
        except ClientGone:
            self._log("INFO", f"{scope['method']} {scope['path']} client closed the connection before the answer")
        finally:
            self.open_requests -= 1

    async def _serve(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        began = time.perf_counter()
        headers = dict(scope["headers"])
        new_id = str(uuid.uuid4())
        try:
            ids = read_ids(headers, new_id)
        except IdTooLong as error:
            answer, extra, log_id = error_answer(431, str(error), CLOSE), error.headers, ""
        else:
            answer, extra, log_id = await self._route(scope, headers, receive), ids.headers(), ids.request_id
        if b"traceid" in headers:
            extra = [*extra, (b"traceid", headers[b"traceid"])]
        if answer.detail:
            self._log("ERROR", f"request {log_id}: {answer.detail}")
        await self._send(answer, extra, scope["method"], send)
        self._log_access(scope, answer, began)

    async def _route(self, scope: dict[str, Any], headers: dict[bytes, bytes], receive: Any) -> Answer:
        method, path = scope["method"], self._local_path(scope["path"])
        allowed = ROUTES.get(path)
        if allowed is None:
            return error_answer(404, NO_ROUTE)
        if method not in allowed:
            return error_answer(405, NO_METHOD, ("allow", ", ".join(allowed)))
        if path == "/":
            return Answer(200, b"Healthy", (("content-type", "text/html; charset=utf-8"),), None)
        if path == "/swagger.json":
            return self._swagger(scope["query_string"])
        if method == "OPTIONS":
            return Answer(200, b"", (("content-type", "text/html; charset=utf-8"),))
        return await self._score(scope, headers, receive)

    def _local_path(self, path: str) -> str:
        prefix = self._config.prefix
        if path == prefix or path.startswith(prefix + "/"):
            return path[len(prefix) :] or "/"
        return path

    def _swagger(self, query: bytes) -> Answer:
        wanted = str(query_as_json(query).get("version", "2"))
        document = describe(self._config.service, str(self._config.version), self._config.prefix, wanted)
        if document is None:
            known = ", ".join(sorted(VERSIONS))
            return error_answer(404, f"Swagger version [{wanted}] is not valid. Supported versions: [{known}].")
        return Answer(200, json.dumps(document).encode())

    async def _score(self, scope: dict[str, Any], headers: dict[bytes, bytes], receive: Any) -> Answer:
        most = self._config.max_body_bytes
        length = headers.get(b"content-length", b"0")
        body = None if length.isdigit() and int(length) > most else await read_body(receive, most)
        if body is None:
            return error_answer(413, f"The request body is larger than {most} bytes", CLOSE)
        request = ScoreRequest(scope["method"], scope["path"], scope["query_string"], scope["headers"], body)
        turn = self._desk.submit(request, self._patience(headers), lambda: client_gone(receive))
        answer = await turn.answer
        if answer is None:
            raise ClientGone
        return answer

    def _patience(self, headers: dict[bytes, bytes]) -> float:
        """How long the request may wait for a worker, in seconds."""
        given = headers.get(DEADLINE, b"")
        own = self._config.max_queue_wait_ms + self._config.scoring_timeout_ms
        return (int(given) if given.isdigit() else own) / 1000

    async def _send(self, answer: Answer, extra: Any, method: str, send: Any) -> None:
        headers = [(k.lower().encode("latin-1"), v.encode("latin-1")) for k, v in answer.headers]
        headers += [(b"content-length", str(len(answer.body)).encode())]
        if answer.run_function_failed is not None:
            headers.append((b"x-ms-run-function-failed", str(answer.run_function_failed).encode()))
        if answer.exec_ms is not None:
            headers.append((b"x-ms-run-fn-exec-ms", b"%.3f" % answer.exec_ms))
        if self.draining:
            headers.append((b"connection", b"close"))
        headers += self._fixed
        headers += extra
        await send({"type": "http.response.start", "status": answer.status, "headers": headers})
        await send({"type": "http.response.body", "body": b"" if method == "HEAD" else answer.body})

    def _log_access(self, scope: dict[str, Any], answer: Answer, began: float) -> None:
        if not self._config.access_log or self._local_path(scope["path"]) == "/":
            return
        path = scope["path"] + ("?" + scope["query_string"].decode("latin-1") if scope["query_string"] else "")
        milliseconds = (time.perf_counter() - began) * 1000
        self._log("INFO", f"{scope['method']} {path} {answer.status} {milliseconds:.3f}ms {len(answer.body)}")


async def read_body(receive: Any, most: int) -> bytes | None:
    """The whole body, None when it is larger than `most` bytes. ClientGone when it never becomes complete."""
    parts: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGone
        part = message.get("body", b"")
        size += len(part)
        if size > most:
            return None
        parts.append(part)
        if not message.get("more_body", False):
            return parts[0] if len(parts) == 1 else b"".join(parts)
