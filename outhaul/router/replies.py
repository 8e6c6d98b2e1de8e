"""What the router itself answers, as values: status, code, message, remedy. Pure.

Messages may hold HAProxy's `%[…]` expressions. Bodies are JSON: `{"code", "message", "remedy", "requestId"}`.
"""

from __future__ import annotations

from dataclasses import dataclass

SERVICE = "%[var(txn.service)]"
REQUEST_ID = "%[var(txn.id),json(utf8s)]"
RETRY_AFTER = ("retry-after", "%[var(txn.deployment),map_str(maps/retry.map,1)]")

MOST_BODY_BYTES = 104_857_600
MOST_ID_LENGTH = 100


@dataclass(frozen=True)
class Reply:
    status: int
    code: str
    message: str
    remedy: str
    headers: tuple[tuple[str, str], ...] = ()

    def body(self) -> str:
        # Not by json.dumps, which would escape the quotes inside of expressions. Texts hold neither `"` nor `\\`.
        fields = {"code": self.code, "message": self.message, "remedy": self.remedy, "requestId": REQUEST_ID}
        return "{" + ", ".join(f'"{name}": "{text}"' for name, text in fields.items()) + "}"

    def arguments(self) -> str:
        """`status … content-type … lf-string … hdr …`, as `http-request return` and `http-error` take them."""
        headers = "".join(f' hdr {name} "{value}"' for name, value in self.headers)
        body = self.body().replace("'", "'\\''")
        return f"status {self.status} content-type application/json lf-string '{body}'{headers}"


BAD_REQUEST = Reply(
    400,
    "bad-request",
    "The request is not valid HTTP, or its headers exceed 15 kB.",
    "Correct the request line and headers.",
)
UNAUTHORIZED = Reply(
    401,
    "unauthorized",
    f"Service {SERVICE} requires an auth header with one of its keys.",
    "Send `Authorization: Bearer KEY` with a key of `outhaul service get-keys`.",
    (("www-authenticate", "Bearer"),),
)
UNKNOWN_PATH = Reply(
    404,
    "unknown-path",
    "Nothing answers under this path.",
    "Use /api/v1/service/NAME/score, /api/v1/service/NAME/swagger.json or /api/v1/service/NAME/.",
)
UNKNOWN_SERVICE = Reply(
    404,
    "unknown-service",
    "No service has this name.",
    "Correct the name in the URL; `outhaul service list` shows the names there are.",
)
METHOD = Reply(
    405,
    "method-not-allowed",
    "Only GET, POST and OPTIONS are routed to a service.",
    "Send the request with one of these methods.",
    (("allow", "GET, POST, OPTIONS"),),
)
SLOW_REQUEST = Reply(
    408, "request-too-slow", "The request did not arrive within the time limit.", "Send the request without pauses."
)
TOO_LARGE = Reply(
    413,
    "payload-too-large",
    f"The body is larger than {MOST_BODY_BYTES} bytes.",
    "Send a smaller body, or a reference to the data instead of the data.",
)
LONG_ID = Reply(
    431,
    "request-id-too-long",
    f"The header x-request-id is longer than {MOST_ID_LENGTH} characters.",
    "Send a shorter id, or none: the router makes one.",
)
ROUTER_FAULT = Reply(
    500, "router-fault", "The router failed to handle the request.", "Try again; if it lasts, see the router's log."
)
REPLICA_CLOSED = Reply(
    502,
    "replica-closed",
    "Replica closed connection before replying",
    "Look for the cause with `outhaul service get-logs`; send the request again if it may run twice.",
)
NO_REPLICAS = Reply(
    503,
    "no-ready-replicas",
    f"No ready replicas for service {SERVICE}.",
    "Try again after Retry-After seconds; `outhaul service show` says why no replica is ready.",
    (RETRY_AFTER,),
)
OVERLOADED = Reply(
    503,
    "%[nbsrv,iif(overloaded,no-ready-replicas)]",
    f'%[nbsrv,iif("Too many requests","No ready replicas")] for service {SERVICE}%[nbsrv,iif(" (overloaded)",".")]',
    "Try again after Retry-After seconds; if it lasts, raise max_replicas or lower target_utilization.",
    (RETRY_AFTER,),
)
"""HAProxy answers 503 for a queue wait exceeded and for a connection refused: `nbsrv` tells which it was."""
TIMEOUT = Reply(
    504,
    "scoring-timeout",
    f"Service {SERVICE} did not answer within its scoring timeout.",
    "Send less work per request, or raise scoring_timeout_ms.",
)

ANYWHERE = (BAD_REQUEST, SLOW_REQUEST, ROUTER_FAULT, REPLICA_CLOSED, TIMEOUT)
"""Answers that HAProxy gives by itself."""
