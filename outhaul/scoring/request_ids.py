"""v1's rules for request ids. Pure.

`x-request-id` names the request (a new one is made when absent). `x-ms-client-request-id` is the client's own id; the
older `x-ms-request-id` counts as it when it is absent, and is always echoed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Mapping

LONGEST = 100


class IdTooLong(Exception):
    """An id header is longer than v1 allows. `headers` are the ids that can still be echoed."""

    def __init__(self, message: str, headers: list[tuple[bytes, bytes]]) -> None:
        super().__init__(message)
        self.headers = headers


@dataclass(frozen=True)
class RequestIds:
    request_id: str
    client_id: str
    """Empty when the client gave none."""
    legacy_id: str

    def headers(self) -> list[tuple[bytes, bytes]]:
        named = [(b"x-request-id", self.request_id), (b"x-ms-request-id", self.legacy_id)]
        if self.client_id:
            named.append((b"x-ms-client-request-id", self.client_id))
        return [(name, value.encode("latin-1")) for name, value in named]


def read_ids(headers: Mapping[bytes, bytes], new_id: str) -> RequestIds:
    """The ids of one request, `new_id` where the sender gave none. IdTooLong over 100 characters (status 431)."""
    request_id = headers.get(b"x-request-id", b"").decode("latin-1") or new_id
    if len(request_id) > LONGEST:
        raise IdTooLong(f"x-request-id must not exceed {LONGEST} characters", [])
    legacy_id = headers.get(b"x-ms-request-id", b"").decode("latin-1")
    client_id = headers.get(b"x-ms-client-request-id", b"").decode("latin-1") or legacy_id
    legacy_id = legacy_id or client_id or request_id
    if max(len(legacy_id), len(client_id)) > LONGEST:
        message = f"x-ms-request-id and x-ms-client-request-id must not exceed {LONGEST} characters"
        raise IdTooLong(message, [(b"x-request-id", request_id.encode("latin-1"))])
    return RequestIds(request_id, client_id, legacy_id)
