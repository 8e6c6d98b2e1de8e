"""Puts the parts together: bind → init() → serve → drain → exit.

The event loop has a thread of its own, where no user code runs; user code has the main thread (see `workers`).
Exit codes: 0 drained, 2 configuration, 3 the script failed to load or init() failed (v1's), 4 port in use.
"""

from __future__ import annotations

import asyncio
import faulthandler
import os
import signal
import socket
import sys
import threading
import time
from typing import Any, Callable

from . import script, status
from .app import ScoringApp
from .config import Config
from .desk import Desk
from .health import HealthApp
from .log import log
from .status import Status, write_state_file
from .vendored import http_server, new_event_loop
from .workers import Workers

EXIT_SCRIPT, EXIT_PORT = 3, 4
LINGER_SECONDS = 5.0


class Server:
    def __init__(self, config: Config, version: str) -> None:
        self._config = config
        self._loop = new_event_loop()
        self._status = Status(config.service, config.version, config.replica, config.concurrency, host=config.host)
        self._workers = Workers(config.concurrency)
        self._desk = Desk(config, self._workers, self._loop, log)
        self._app = ScoringApp(config, self._desk, f"outhaul/{version}", log)
        self._writing = threading.Lock()
        self._health_open = threading.Event()
        self._stopping = False
        self._scoring: Any = None
        self._health: Any = None
        self._tasks: list[asyncio.Task[Any]] = []

    def run(self) -> int:
        """The process's whole life. Returns the exit code."""
        try:
            listener = bind(self._config.host, self._config.port)
        except OSError as error:
            self._fail(f"cannot listen on {self._config.host}:{self._config.port}: {error}")
            return EXIT_PORT
        self._status.port = listener.getsockname()[1]
        faulthandler.enable()
        self._signals = catch_signals(self._loop, self._on_signal)
        thread = threading.Thread(target=self._run_loop, name="scoring-http", daemon=True)
        thread.start()
        self._in_loop(self._open_health)
        self._health_open.wait()
        started = self._start_script()
        if started:
            self._in_loop(lambda: self._open_scoring(listener))
            self._workers.work()
        self._in_loop(self._close_loop)
        thread.join(LINGER_SECONDS)  # a compiled loop must not be running while the interpreter is taken down
        return 0 if started else EXIT_SCRIPT

    def _start_script(self) -> bool:
        began = time.perf_counter()
        try:
            script.prepare(self._config)
            init, self._desk.convention = script.load(self._config)
            init()
        except BaseException as error:  # noqa: BLE001  v1 too takes sys.exit() in a script for a failed start
            self._fail(script.traceback_of(error))
            for line in script.model_files(self._config.model_dir) if os.path.isdir(self._config.model_dir) else []:
                log("INFO", line)
            return False
        self._status.init_seconds = round(time.perf_counter() - began, 3)
        return True

    def _fail(self, message: str) -> None:
        self._status.fail(message)
        log("ERROR", f"the replica cannot start: {message}")
        self._write_state()

    def _write_state(self) -> None:
        with self._writing:  # the loop's thread and the main thread both report
            write_state_file(self._config.state_file, self._status)

    # ---- the event loop's thread

    def _run_loop(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_forever()
            self._loop.close()
        except BaseException as error:  # noqa: BLE001  without its loop the process is deaf: end it, visibly
            log("ERROR", f"the event loop ended: {script.traceback_of(error)}")
            end_process(1)

    def _in_loop(self, start: Callable[[], Any]) -> None:
        self._loop.call_soon_threadsafe(lambda: self._tasks.append(self._loop.create_task(self._guarded(start))))

    async def _open_health(self) -> None:
        config = self._config
        port = {"host": config.host, "port": config.health_port}
        place: dict[str, Any] = {"uds": config.health_socket} if config.health_socket else port
        app = HealthApp(self._status, self._desk.load)
        self._health = http_server(app, self._health_opened, **place)
        await self._health.serve()

    def _health_opened(self, server: Any) -> None:
        name = server.servers[0].sockets[0].getsockname()
        self._status.health = self._config.health_socket or str(name[1])
        self._write_state()
        self._health_open.set()

    async def _open_scoring(self, listener: socket.socket) -> None:
        limit = max(1, int(self._config.drain_seconds))
        self._scoring = http_server(self._app, self._scoring_opened, timeout_graceful_shutdown=limit)
        await self._scoring.serve(sockets=[listener])

    def _scoring_opened(self, server: Any) -> None:
        self._status.state = status.READY
        self._write_state()
        seen, slots = self._status, self._config.concurrency
        log("INFO", f"ready on {seen.host}:{seen.port}, init() took {seen.init_seconds} s, concurrency {slots}")

    async def _guarded(self, serve: Callable[[], Any]) -> None:
        """A listener that ends with an error ends the process: it could neither serve nor say so."""
        try:
            await serve()
        except asyncio.CancelledError:
            raise
        except BaseException as error:  # noqa: BLE001  reported, then the process ends
            self._fail(script.traceback_of(error))
            end_process(1)

    # ---- the end

    def _on_signal(self) -> None:
        if self._stopping:
            return
        self._stopping = True
        self._tasks.append(self._loop.create_task(self._drain()))

    async def _close_loop(self) -> None:
        others = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        self._loop.stop()

    async def _drain(self) -> None:
        was_serving = self._scoring is not None
        self._status.state = status.DRAINING
        self._app.draining = True
        self._write_state()
        if was_serving:
            finished = await self._finish_requests()
        if not was_serving or not finished:
            end_process(0)  # the main thread is in init() or in a run() that does not return
        self._workers.stop()

    async def _finish_requests(self) -> bool:
        """False when the drain limit came first."""
        config, loop = self._config, self._loop
        end = loop.time() + config.drain_seconds
        load = self._desk.load()
        log("INFO", f"draining: {load.busy} in run(), {load.queued} queued, at most {config.drain_seconds:g} s")
        await asyncio.sleep(config.drain_quiet_ms / 1000)
        await until(lambda: self._app.open_requests == 0, end - loop.time())
        self._scoring.should_exit = True
        await until(lambda: self._app.open_requests == 0 and self._desk.load().busy == 0, end - loop.time())
        left = self._desk.load()
        self._status.state = status.STOPPED
        self._write_state()
        if left.busy:
            log("ERROR", f"the drain limit of {config.drain_seconds:g} s came first: {left.busy} in run() cut off")
        return not left.busy


async def until(reached: Callable[[], bool], seconds: float) -> None:
    """Return when the condition holds, or after the time. Looked at 50 times a second, and only while draining."""
    for _ in range(int(seconds * 50)):
        if reached():
            return
        await asyncio.sleep(0.02)


def bind(host: str, port: int) -> socket.socket:
    """Taken before init(), so that a port in use is found at once; nobody can connect until it listens."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # The protocol is named, or asyncio does not see that it is TCP and leaves Nagle's delay of 40 ms on.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((host, port))
    return listener


def catch_signals(loop: asyncio.AbstractEventLoop, stop: Callable[[], None]) -> tuple[socket.socket, socket.socket]:
    """SIGTERM and SIGINT reach the loop at once, also while the main thread is inside a long call in C: the wake-up
    descriptor is written by the C-level handler. The Python-level handler is a second way, should a script take the
    descriptor for itself. The caller keeps the sockets alive."""
    reader, writer = socket.socketpair()
    reader.setblocking(False)
    writer.setblocking(False)

    def on_bytes() -> None:
        if any(number in (signal.SIGTERM, signal.SIGINT) for number in reader.recv(64)):
            stop()

    loop.add_reader(reader.fileno(), on_bytes)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: loop.call_soon_threadsafe(stop))
    signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
    return reader, writer


def end_process(code: int) -> None:
    """End now, whatever other threads do. Output that Python still holds is written first."""
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            stream.flush()
    os._exit(code)


def leave(code: int) -> None:
    """End as a script does (atexit, buffers), but not later than a moment after: a thread that the score script
    started and never ends must not keep a drained replica."""
    watchdog = threading.Timer(LINGER_SECONDS, end_process, [code])
    watchdog.daemon = True
    watchdog.start()
    sys.exit(code)
