"""The HTTP libraries of the bundle, under their private name. Inside a bundle only."""

from __future__ import annotations

import asyncio
import importlib
import sys
from typing import Any

COMPILED = ("httptools", "uvloop")


def vendored(name: str) -> Any:
    """`uvicorn.server` of the bundle, never of the user's environment."""
    before = set(sys.modules)
    module = importlib.import_module(f"{__package__}._vendor.{name}")
    # Cython modules also enter sys.modules under the name they were compiled with. Left there, the user's own
    # `import uvloop` would get the bundle's half of it.
    for leaked in [m for m in sys.modules if m not in before and m.partition(".")[0] in COMPILED]:
        del sys.modules[leaked]
    return module


def http_protocol() -> Any:
    """The fastest HTTP parser that the bundle has for this interpreter."""
    try:
        return vendored("uvicorn.protocols.http.httptools_impl").HttpToolsProtocol
    except ModuleNotFoundError:  # no compiled wheel for this platform
        return vendored("uvicorn.protocols.http.h11_impl").H11Protocol


def new_event_loop() -> asyncio.AbstractEventLoop:
    """The fastest event loop that the bundle has for this interpreter."""
    try:
        loop: asyncio.AbstractEventLoop = vendored("uvloop").new_event_loop()
    except ModuleNotFoundError:  # no compiled wheel for this platform
        loop = asyncio.new_event_loop()
    return loop


def client_gone(receive: Any) -> bool:
    """Whether the client of a uvicorn request closed its connection. ASGI can only wait for that, which costs a task
    per request; the vendored uvicorn, whose version is pinned, knows it at once."""
    return bool(receive.__self__.disconnected)


def http_server(app: Any, on_started: Any, **settings: Any) -> Any:
    """A uvicorn server for `app` that calls `on_started` once it listens. `serve(sockets=…)` runs it, setting
    `should_exit` ends it after the answers that are under way."""
    config = vendored("uvicorn.config").Config(
        app,
        http=http_protocol(),
        ws="none",
        lifespan="off",
        interface="asgi3",
        log_config=None,
        log_level="error",
        access_log=False,
        proxy_headers=False,
        server_header=False,
        # Longer than any router keeps an idle connection, so that it is never us who closes one it is about to use.
        timeout_keep_alive=300,
        **settings,
    )
    config.load()

    class Listening(vendored("uvicorn.server").Server):  # type: ignore[misc]
        async def startup(self, sockets: Any = None) -> None:
            await super().startup(sockets=sockets)
            on_started(self)

    return Listening(config)
