"""Notices the end of a process at once, whoever its parent is, and asks replicas for their health."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable
from pathlib import Path
from urllib.parse import unquote, urlsplit

import msgspec

from outhaul.adapters import processes
from outhaul.node.replica_life import Answer, ProbeResult

MOST_ANSWER_BYTES = 64 * 1024


class Watch:
    """Calls `ended(reason)` once, from the event loop, when the process has ended."""

    def __init__(self, started: processes.Started, ended: Callable[[str], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._child = started.child
        self._ended = ended
        self._pidfd = processes.open_pidfd(started.process)
        if self._pidfd is None:
            self._loop.call_soon(self._report)
        else:
            self._loop.add_reader(self._pidfd, self._report)

    def close(self) -> None:
        """Stop watching."""
        if self._pidfd is not None:
            self._loop.remove_reader(self._pidfd)
            os.close(self._pidfd)
            self._pidfd = None

    def _report(self) -> None:
        self.close()
        self._ended(end_reason(self._child.wait() if self._child else None))


def end_reason(status: int | None) -> str:
    """An exit status (negative: a signal's number) in words; None is that of a process with another parent."""
    if status is None:
        return "it ended by itself (started by an earlier node, so its exit status is unknown)"
    if status >= 0:
        return f"it ended by itself with exit status {status}"
    name = signal.Signals(-status).name
    hint = ": somebody, or the kernel for want of memory" if name == "SIGKILL" else ""
    return f"it was ended by {name}{hint}"


async def health(url: str, timeout_seconds: float) -> ProbeResult:
    """What the replica whose health is below the URL says of itself."""
    ready = await ask(f"{url}/ready", timeout_seconds)
    if ready.answer is not Answer.NOT_READY:
        return ready
    live = await ask(f"{url}/live", timeout_seconds)
    return ProbeResult(Answer.NOT_LIVE, ready.message) if live.answer is Answer.NOT_READY else ready


def socket_of(url: str) -> Path | None:
    """The Unix socket that a health URL names."""
    parts = urlsplit(url)
    return Path(unquote(parts.netloc)) if parts.scheme == "http+unix" else None


async def ask(url: str, timeout_seconds: float) -> ProbeResult:
    """GET the URL: below 400 is ready, any other answer is a reason why not."""
    try:
        async with asyncio.timeout(timeout_seconds):
            status, body = await _get(url)
    except TimeoutError:
        return ProbeResult(Answer.LOST, f"no answer within {timeout_seconds:g} seconds")
    except (OSError, ValueError, IndexError) as error:
        return ProbeResult(Answer.LOST, f"no answer: {error}")
    return ProbeResult(Answer.READY) if status < 400 else ProbeResult(Answer.NOT_READY, _message(status, body))


async def _get(url: str) -> tuple[int, bytes]:
    parts, unix = urlsplit(url), socket_of(url)
    if unix:
        reader, writer = await asyncio.open_unix_connection(unix)
    else:
        reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    try:
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        writer.write(f"GET {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
        head = await reader.readuntil(b"\r\n\r\n")
        status = int(head.split(b" ", 2)[1])
        return status, b"" if status < 400 else await reader.read(MOST_ANSWER_BYTES)
    except (asyncio.IncompleteReadError, asyncio.LimitOverrunError) as error:
        raise ValueError(f"not an HTTP answer ({error})") from error
    finally:
        writer.close()


class _Reason(msgspec.Struct):
    message: str = ""
    detail: str = ""


def _message(status: int, body: bytes) -> str:
    """The reason in a JSON answer's `message`, else its text."""
    try:
        reason = msgspec.json.decode(body, type=_Reason)
    except msgspec.DecodeError:
        return body.decode(errors="replace").strip() or f"its health answers {status}"
    return reason.detail or reason.message or f"its health answers {status}"
