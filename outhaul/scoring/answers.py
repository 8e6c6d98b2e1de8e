"""What run() returned → what goes on the wire. Pure."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

JSON_TYPE = "application/json"
TEXT_TYPE = "text/html; charset=utf-8"

SCRIPT_FAILED = "An unexpected error occurred in scoring script. Check the logs for more info."


@dataclass(frozen=True)
class Answer:
    """A complete answer. Header names in any case; the length is added when it is sent."""

    status: int
    body: bytes
    headers: tuple[tuple[str, str], ...] = (("content-type", JSON_TYPE),)
    run_function_failed: bool | None = False
    """v1's header of this name; None leaves it out."""
    exec_ms: float | None = None
    """Time inside run(), where it returned."""
    detail: str = ""
    """For the log only, never for the client."""


def error_answer(status: int, message: str, *headers: tuple[str, str]) -> Answer:
    body = json.dumps({"message": message}).encode()
    return Answer(status, body, (("content-type", JSON_TYPE), *headers))


def script_failed(detail: str) -> Answer:
    body = json.dumps({"message": SCRIPT_FAILED}).encode()
    return Answer(500, body, run_function_failed=True, detail=detail)


def timed_out(timeout_ms: int) -> Answer:
    body = json.dumps({"message": f"Scoring timeout after {timeout_ms} ms"}).encode()
    return Answer(500, body, run_function_failed=True, detail=f"run() did not return within {timeout_ms} ms")


def encode(value: Any, exec_ms: float) -> Answer:
    """Bytes go out as they are, responses (v1's AMLResponse, Flask's) with their status and headers, all else as JSON.

    TypeError or ValueError when the value has no JSON form.
    """
    if isinstance(value, (bytes, bytearray, memoryview)):
        return Answer(200, bytes(value), (("content-type", "application/octet-stream"),), exec_ms=exec_ms)
    if _has(value, "status_code", "headers", "get_data"):
        return _from_flask(value, exec_ms)
    if _has(value, "status_code", "message", "response_headers"):
        return _from_aml_response(value, exec_ms)
    return Answer(200, to_json(value), exec_ms=exec_ms)


def to_json(value: Any) -> bytes:
    return json.dumps(value, default=_numpy_like).encode()


def _numpy_like(value: Any) -> Any:
    for method in ("tolist", "item"):
        if hasattr(value, method):
            return getattr(value, method)()
    raise TypeError(f"run() returned a {type(value).__name__}, which has no JSON form")


def _has(value: Any, *names: str) -> bool:
    return all(hasattr(value, name) for name in names)


def _from_flask(value: Any, exec_ms: float) -> Answer:
    headers = [(str(k), str(v)) for k, v in value.headers.items() if str(k).lower() != "content-length"]
    flagged = any(k.lower() == "x-ms-run-function-failed" for k, _ in headers)
    status = int(value.status_code)
    if status >= 500:
        headers = [(k, v) for k, v in headers if k.lower() != "x-ms-run-function-failed"]
        return Answer(status, value.get_data(), tuple(headers), True, exec_ms)
    return Answer(status, value.get_data(), tuple(headers), None if flagged else False, exec_ms)


def _from_aml_response(value: Any, exec_ms: float) -> Answer:
    content_type, body = _aml_body(value)
    given = [(k, v.strip()) for k, values in value.response_headers.items() for v in str(values).split(",")]
    if not any(k.lower() == "content-type" for k, _ in given):
        given.insert(0, ("content-type", content_type))
    status = int(value.status_code)
    failed = bool(getattr(value, "run_function_failed", False)) or status >= 500
    return Answer(status, body, tuple(given), failed, exec_ms)


def _aml_body(value: Any) -> tuple[str, bytes]:
    message = value.message
    if message is None:
        return JSON_TYPE, b"{}"
    if isinstance(message, bytes):
        return TEXT_TYPE, message
    if isinstance(message, str) and not getattr(value, "json_str", False):
        return TEXT_TYPE, message.encode()
    return JSON_TYPE, to_json(message)
