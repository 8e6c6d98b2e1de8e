"""How run() is called. One calling convention is chosen when the script is loaded; raw HTTP, schema decorators and
batches are further conventions beside `StringBody`."""

from __future__ import annotations

import inspect
import json
from dataclasses import dataclass
from typing import Any, Callable
from urllib.parse import parse_qsl


@dataclass(frozen=True)
class ScoreRequest:
    """One request as it came in, body complete."""

    method: str
    path: str
    query: bytes
    headers: list[tuple[bytes, bytes]]
    """Names in lower case."""
    body: bytes


class BadInput(Exception):
    """The request cannot be given to run(); `status` is the answer's."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class ScriptError(Exception):
    """The score script does not fulfil the contract."""


class StringBody:
    """v1's undecorated run(): the body as text; for GET, the query as a JSON object in text."""

    def __init__(self, run: Callable[..., Any], parameter: str, wants_headers: bool) -> None:
        self._run = run
        self._parameter = parameter
        self._wants_headers = wants_headers

    def arguments(self, request: ScoreRequest) -> dict[str, Any]:
        """BadInput when the body is not UTF-8."""
        found: dict[str, Any] = {self._parameter: self._data(request)}
        if self._wants_headers:
            found["request_headers"] = headers_as_v1(request.headers)
        return found

    def call(self, arguments: dict[str, Any]) -> Any:
        return self._run(**arguments)

    def _data(self, request: ScoreRequest) -> str:
        if request.method == "GET":
            return json.dumps(query_as_json(request.query))
        try:
            return request.body.decode("utf-8")
        except UnicodeDecodeError as error:
            raise BadInput(400, f"Input cannot be decoded as UTF-8: {error}") from error


def choose_convention(run: Any) -> StringBody:
    """ScriptError when run() cannot be called by any convention."""
    if not callable(run):
        raise ScriptError(f"run is a {type(run).__name__}, expected a function")
    if inspect.iscoroutinefunction(run):
        raise ScriptError("run() is an async function, expected an ordinary one: `def run(data):`")
    parameters = list(inspect.signature(run).parameters.values())
    if any(p.kind not in (p.KEYWORD_ONLY, p.POSITIONAL_OR_KEYWORD) for p in parameters):
        raise ScriptError("run() cannot accept positional-only arguments, *args, or **kwargs.")
    names = [p.name for p in parameters if p.name != "request_headers"]
    if not names:
        other = ' other than "request_headers"' if parameters else " for input data"
        raise ScriptError(f"run() needs to accept an argument{other}.")
    missing = [p.name for p in parameters if p.name in names[1:] and p.default is p.empty]
    if missing:
        raise ScriptError(f"run() is not decorated and gets one argument, but needs {', '.join(missing)} as well.")
    return StringBody(run, names[0], wants_headers=len(names) < len(parameters))


def query_as_json(query: bytes) -> dict[str, Any]:
    """Each value read as JSON where it is JSON, else as text; a name that occurs more than once becomes a list."""
    found: dict[str, list[Any]] = {}
    for name, value in parse_qsl(query.decode("latin-1"), keep_blank_values=True):
        found.setdefault(name, []).append(_json_or_text(value))
    return {name: values[0] if len(values) == 1 else values for name, values in found.items()}


def _json_or_text(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def headers_as_v1(headers: list[tuple[bytes, bytes]]) -> dict[str, str]:
    """Names as `Content-Type`, repeated headers joined by a comma: what v1's scripts look up."""
    found: dict[str, str] = {}
    for raw_name, raw_value in headers:
        name, value = raw_name.decode("latin-1").title(), raw_value.decode("latin-1")
        found[name] = f"{found[name]},{value}" if name in found else value
    return found
