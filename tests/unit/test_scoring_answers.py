from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest

from outhaul.scoring.answers import encode


class Numbers:
    def tolist(self) -> list[float]:
        return [1.5, 2.0]


class Scalar:
    def item(self) -> int:
        return 7


@dataclass
class AmlLike:
    message: Any
    status_code: int = 200
    response_headers: dict[str, str] = field(default_factory=dict)
    json_str: bool = False


@dataclass
class FlaskLike:
    status_code: int
    headers: dict[str, str]

    def get_data(self) -> bytes:
        return b"\x89PNG"


@pytest.mark.parametrize(
    ("value", "body", "content_type"),
    [
        ({"a": [1, 2]}, b'{"a": [1, 2]}', "application/json"),
        ("text", b'"text"', "application/json"),
        (None, b"null", "application/json"),
        (Numbers(), b"[1.5, 2.0]", "application/json"),
        ({"score": Scalar()}, b'{"score": 7}', "application/json"),
        (b"\x00\x01", b"\x00\x01", "application/octet-stream"),
        (bytearray(b"ab"), b"ab", "application/octet-stream"),
        (AmlLike("plain"), b"plain", "text/html; charset=utf-8"),
        (AmlLike({"a": 1}, json_str=True), b'{"a": 1}', "application/json"),
        (AmlLike(None), b"{}", "application/json"),
    ],
)
def test_what_run_returns_on_the_wire(value: Any, body: bytes, content_type: str) -> None:
    answer = encode(value, 1.0)
    assert (answer.status, answer.body) == (200, body)
    assert dict(answer.headers)["content-type"] == content_type


def test_a_response_keeps_its_status_and_headers_and_splits_lists_as_v1_does() -> None:
    answer = encode(AmlLike("no", 418, {"x-a": "1, 2", "Content-Type": "text/plain"}), 1.0)
    assert answer.status == 418
    assert answer.headers == (("x-a", "1"), ("x-a", "2"), ("Content-Type", "text/plain"))
    assert answer.run_function_failed is False


@pytest.mark.parametrize("value", [AmlLike("no", 500), FlaskLike(503, {"x-ms-run-function-failed": "False"})])
def test_a_response_of_500_or_more_counts_as_failed(value: Any) -> None:
    answer = encode(value, 1.0)
    assert answer.run_function_failed is True
    assert "x-ms-run-function-failed" not in dict(answer.headers)


def test_a_flask_response_passes_with_its_type_and_without_its_length() -> None:
    answer = encode(FlaskLike(201, {"Content-Type": "image/png", "Content-Length": "99"}), 1.0)
    assert (answer.status, answer.body, answer.headers) == (201, b"\x89PNG", (("Content-Type", "image/png"),))


def test_a_value_without_json_form_is_named() -> None:
    with pytest.raises(TypeError, match="a object, which has no JSON form"):
        encode(object(), 1.0)
