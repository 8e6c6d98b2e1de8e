from __future__ import annotations

import pytest

from outhaul.scoring.request_ids import IdTooLong, read_ids

REQUEST, CLIENT, LEGACY = b"x-request-id", b"x-ms-client-request-id", b"x-ms-request-id"


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, {REQUEST: b"new", LEGACY: b"new"}),
        ({REQUEST: b"r"}, {REQUEST: b"r", LEGACY: b"r"}),
        ({CLIENT: b"c"}, {REQUEST: b"new", LEGACY: b"c", CLIENT: b"c"}),
        ({LEGACY: b"l"}, {REQUEST: b"new", LEGACY: b"l", CLIENT: b"l"}),
        ({LEGACY: b"l", CLIENT: b"c"}, {REQUEST: b"new", LEGACY: b"l", CLIENT: b"c"}),
        ({REQUEST: b"r", LEGACY: b"l", CLIENT: b"c"}, {REQUEST: b"r", LEGACY: b"l", CLIENT: b"c"}),
        ({REQUEST: b"x" * 100}, {REQUEST: b"x" * 100, LEGACY: b"x" * 100}),
        ({CLIENT: b"\xe4"}, {REQUEST: b"new", LEGACY: b"\xe4", CLIENT: b"\xe4"}),
    ],
)
def test_ids_as_v1_echoes_them(given: dict[bytes, bytes], expected: dict[bytes, bytes]) -> None:
    assert dict(read_ids(given, "new").headers()) == expected


@pytest.mark.parametrize(("name", "echoed"), [(REQUEST, {}), (CLIENT, {REQUEST: b"new"}), (LEGACY, {REQUEST: b"new"})])
def test_an_id_over_100_characters_is_refused_by_name(name: bytes, echoed: dict[bytes, bytes]) -> None:
    with pytest.raises(IdTooLong, match=r"x-.*must not exceed 100 characters") as caught:
        read_ids({name: b"x" * 101}, "new")
    assert dict(caught.value.headers) == echoed
