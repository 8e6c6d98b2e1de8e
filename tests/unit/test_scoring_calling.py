from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from outhaul.scoring.calling import BadInput, ScoreRequest, ScriptError, choose_convention, query_as_json


def request(method: str = "POST", body: bytes = b"", query: bytes = b"") -> ScoreRequest:
    headers = [(b"content-type", b"application/json"), (b"x-a", b"1"), (b"x-a", b"2")]
    return ScoreRequest(method, "/score", query, headers, body)


def arguments(run: Callable[..., Any], given: ScoreRequest) -> dict[str, Any]:
    return choose_convention(run).arguments(given)


def test_the_body_reaches_the_first_argument_as_text() -> None:
    assert arguments(lambda raw: raw, request(body='[1, "ä"]'.encode())) == {"raw": '[1, "ä"]'}


def test_headers_reach_an_argument_named_request_headers_wherever_it_stands() -> None:
    def run(request_headers: dict[str, str], data: str) -> None: ...

    found = arguments(run, request(body=b"x"))
    assert found == {"data": "x", "request_headers": {"Content-Type": "application/json", "X-A": "1,2"}}


def test_get_gives_the_query_as_a_json_object_in_text() -> None:
    found = arguments(lambda data: data, request("GET", query=b"a=1&b=%5B1,2%5D&c=a&d=null&foo=x&foo=2&e="))
    assert json.loads(found["data"]) == {"a": 1, "b": [1, 2], "c": "a", "d": None, "foo": ["x", 2], "e": ""}


def test_a_body_that_is_not_utf_8_is_a_bad_input() -> None:
    with pytest.raises(BadInput, match="Input cannot be decoded as UTF-8") as caught:
        arguments(lambda data: data, request(body=b"\xff"))
    assert caught.value.status == 400


def test_an_empty_query_is_an_empty_object() -> None:
    assert query_as_json(b"") == {}


async def asynchronous(data: str) -> None: ...


@pytest.mark.parametrize(
    ("run", "why"),
    [
        (lambda: 1, r"needs to accept an argument for input data"),
        (lambda request_headers: 1, r"an argument other than"),
        (lambda *data: 1, r"cannot accept positional-only"),
        (lambda data, **more: 1, r"cannot accept positional-only"),
        (lambda data, other: 1, r"needs other as well"),
        (asynchronous, r"is an async function"),
        (17, r"run is a int"),
    ],
)
def test_a_run_that_cannot_be_called_is_refused_at_load(run: Any, why: str) -> None:
    with pytest.raises(ScriptError, match=why):
        choose_convention(run)


def test_arguments_with_defaults_beside_the_data_are_fine() -> None:
    assert arguments(lambda data, threshold=0.5: data, request(body=b"x")) == {"data": "x"}
