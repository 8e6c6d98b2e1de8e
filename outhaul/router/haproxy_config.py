"""HAProxy's configuration as text. Pure. Valid on HAProxy 2.6 to 3.x.

A request's way: id → path (deployment, or `split`) → key → bucket where split → slot → the queue of that deployment's
replicas. Everything that changes while it runs stands in maps and servers, never in this text.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from outhaul.router import replies
from outhaul.router.dataplane import Server
from outhaul.router.replies import Reply
from outhaul.router.slots import Layout, slot_names, wait_of

SERVER_OPTIONS = (
    # A replica that died is found by the first request that cannot connect: that one is sent elsewhere, and no other
    # waits for it. The check brings the replica back, should it have been the network.
    "check inter 1s fall 2 rise 1 observe layer4 error-limit 1 on-error mark-down "
    # Without a number, an added server keeps no idle connection at all: a new one for each request.
    "pool-max-conn 1000 "
    # Idle connections go before the replica's own keep-alive limit, so that none closes while a request is on its way.
    "pool-purge-delay 2s"
)


@dataclass(frozen=True)
class RouterConfig:
    """Where the router listens and what it declares ahead."""

    public: str
    """`127.0.0.1:8080`."""
    metrics: str
    """Loopback address of the metrics."""
    runtime_socket: str
    agent_socket: str
    layout: Layout


def render(config: RouterConfig, servers: Mapping[str, Sequence[Server]] | None = None) -> str:
    """The whole file. `servers` (by slot) are written only for a reload: a new worker knows nothing of added ones."""
    parts = [_global(config), _defaults(), *_waits(config.layout), _frontend(config), _metrics(config), _unrouted()]
    parts += [_slot(slot, (servers or {}).get(slot, ())) for slot in slot_names(config.layout)]
    return "\n".join(parts)


def _global(config: RouterConfig) -> str:
    return f"""\
# Written by Outhaul; changes are lost.
global
  stats socket "{config.runtime_socket}" mode 600 level admin expose-fd listeners
  stats timeout 1m
  # One thread: only so is maxconn exact below HAProxy 3.2, and one queue is one FIFO.
  nbthread 1
  # A huge limit of open files, as containers have it, would cost gigabytes.
  fd-hard-limit 65536
  hard-stop-after 15m
"""


def _defaults() -> str:
    return f"""\
defaults base
  mode http
  balance leastconn
  timeout connect 250ms
  timeout client 30s
  timeout server 60s
  timeout http-request 10s
  timeout http-keep-alive 60s
  option http-no-delay
  option idle-close-on-response
  option abortonclose
  option redispatch 1
  retries 3
  retry-on conn-failure
  http-reuse safe
{_errors(replies.ANYWHERE)}
"""


def _waits(layout: Layout) -> Iterable[str]:
    for wait in sorted(layout):
        yield f"""\
defaults wait_{wait} from base
  timeout queue {wait}ms
  http-request return {replies.NO_REPLICAS.arguments()} if {{ nbsrv lt 1 }}
  http-request set-timeout server var(txn.deployment),map_str_int(maps/timeouts.map,60000)
  http-response set-status 502 if {{ status 500 }}
{_errors([replies.OVERLOADED])}
"""


def _frontend(config: RouterConfig) -> str:
    return f"""\
frontend scoring from base
  bind {config.public}
  http-request set-var(txn.id) req.fhdr(x-request-id)
  http-request return {replies.LONG_ID.arguments()} if {{ var(txn.id) -m len {replies.MOST_ID_LENGTH + 1}: }}
  http-request set-var(txn.id) uuid() unless {{ var(txn.id) -m found }}
  http-request set-header x-request-id %[var(txn.id)]
  http-after-response set-header x-request-id %[var(txn.id)] if {{ var(txn.id) -m found }}

  # One look-up says for an ordinary request that path and service are right. The others may take longer.
  http-request set-var(txn.deployment) path,map_str(maps/paths.map)
  acl routed var(txn.deployment) -m found
  acl right_form path_reg ^/api/v1/service/[^/]*/(score|swagger\\.json)$ ^/api/v1/service/[^/]+/?$
  http-request return {replies.UNKNOWN_SERVICE.arguments()} if !routed right_form
  http-request return {replies.UNKNOWN_PATH.arguments()} unless routed
  http-request return {replies.METHOD.arguments()} unless METH_POST or {{ method GET OPTIONS }}
  http-request set-var(txn.service) path,field(5,/)

  # The hash is kept for the connection's next request, and dropped before anything else when that one's header differs:
  # where sess.hash stands, it is of this request's header. Whether it is a key is looked up for each request.
  http-request unset-var(sess.hash) unless {{ req.fhdr(authorization,1),secure_memcmp(sess.authorization) }}
  acl hashed var(sess.hash) -m found
  http-request set-var(sess.authorization) req.fhdr(authorization,1) unless hashed
  http-request set-var(sess.hash) http_auth_bearer,sha2(256),hex unless hashed
  # Fails closed: without a matching hash there is no way in, but for a service that is known to be open.
  acl known_key var(txn.service),concat(:,sess.hash),map_str(maps/keys.map) -m found
  acl open var(txn.service),map_str(maps/auth.map) -m str none
  http-request return {replies.UNAUTHORIZED.arguments()} unless known_key or open
  # A key is for the router: it must not reach a replica's logs.
  http-request del-header authorization unless open

  http-request return {replies.TOO_LARGE.arguments()} if {{ req.body_size gt {replies.MOST_BODY_BYTES} }}
  # A slow client waits here, not in a replica's place.
  http-request wait-for-body time 10s if METH_POST
  http-request set-path /%[path,field(6,/)]
  acl split var(txn.deployment) -m str split
  http-request set-var(txn.deployment) rand(100),concat(:,txn.service),map_str(maps/buckets.map) if split
  use_backend %[var(txn.deployment),map_str(maps/slots.map,unrouted)]
"""


def _metrics(config: RouterConfig) -> str:
    return f"""\
frontend metrics from base
  bind {config.metrics}
  http-request use-service prometheus-exporter if {{ path /metrics }}
  http-request return {replies.UNKNOWN_PATH.arguments()} unless {{ path /agent/metrics }}
  default_backend agent

backend agent from base
  server agent unix@{config.agent_socket}
"""


def _unrouted() -> str:
    return f"""\
backend unrouted from base
  http-request return {replies.NO_REPLICAS.arguments()}
"""


def _slot(slot: str, servers: Sequence[Server]) -> str:
    lines = [
        f"  server {server.replica} {server.address} maxconn {server.limit} {SERVER_OPTIONS}" for server in servers
    ]
    return "\n".join([f"backend {slot} from wait_{wait_of(slot)}", *lines, ""])


def _errors(answers: Iterable[Reply]) -> str:
    return "\n".join(f"  http-error {answer.arguments()}" for answer in answers)
