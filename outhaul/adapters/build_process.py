"""One step of a build as a child process: its output line by line, a time limit, and no orphan left by a failure."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from outhaul.errors import Failed

BUILD_SECONDS = 5400.0
_LINES_KEPT = 400
_PR_SET_PDEATHSIG = 1
# Loaded here and not after the fork, where only what is loaded may be called.
_libc = ctypes.CDLL(None, use_errno=True)
# They would lead the installer to another environment than the one being built.
_MISLEADING = (
    "CONDA_PREFIX",
    "PYTHONHOME",
    "PYTHONPATH",
    "UV_PROJECT_ENVIRONMENT",
    "UV_PYTHON",
    "UV_SYSTEM_PYTHON",
    "VIRTUAL_ENV",
    "__PYVENV_LAUNCHER__",
)


@dataclass(frozen=True)
class BuildSettings:
    """`env_vars` are the builder's environment: index, certificates, proxies, cache and offline mode are uv's own
    variables (`UV_DEFAULT_INDEX`, `SSL_CERT_FILE`, `UV_OFFLINE`, …). `timeout_seconds` limits each step."""

    env_vars: Mapping[str, str] = field(default_factory=lambda: dict(os.environ))
    timeout_seconds: float = BUILD_SECONDS

    @property
    def offline(self) -> bool:
        return self.env_vars.get("UV_OFFLINE", "").lower() in ("1", "true", "yes", "on", "y", "t")


class BuildLog:
    """Lines to the caller and into a file that outlives the build."""

    def __init__(self, path: Path, say: Callable[[str], None]) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = path.open("w", encoding="utf-8")
        self._say = say

    def __call__(self, line: str) -> None:
        self._file.write(f"{line}\n")
        self._file.flush()
        self._say(line)

    def close(self) -> None:
        self._file.close()


@dataclass(frozen=True)
class Ended:
    """A child's exit status (minus the signal's number) and the last lines of its output."""

    exit_code: int
    lines: Sequence[str]


def run(argv: Sequence[str], settings: BuildSettings, log: Callable[[str], None], held: int) -> Ended:
    """Run to its end. The child inherits the lock `held` and starts in `/`, where no project's settings mislead it.

    Failed when it takes longer than the time limit, or cannot be started.
    """
    with _started(argv, settings, held) as popen, _limited(popen, settings.timeout_seconds) as late:
        assert popen.stdout is not None
        lines = deque((_told(raw, log) for raw in popen.stdout), maxlen=_LINES_KEPT)
        ended = Ended(popen.wait(), list(lines))
    if late.is_set():
        raise Failed(
            "environment-build-time-limit",
            f"building the environment took longer than {settings.timeout_seconds:g} s",
            found="\n".join(ended.lines[-5:]),
            expected=f"{Path(argv[0]).name} to end within {settings.timeout_seconds:g} s",
            remedy="look at the build's log; pin versions so that the resolver has less to try",
        )
    return ended


@contextmanager
def _started(argv: Sequence[str], settings: BuildSettings, held: int) -> Iterator[subprocess.Popen[bytes]]:
    env = {name: value for name, value in settings.env_vars.items() if name not in _MISLEADING}
    try:
        popen = subprocess.Popen(
            list(argv),
            cwd="/",
            # Byte code is made now: an entry does not change after its marker. It makes the build longer.
            env={"UV_COMPILE_BYTECODE": "1", **env, "NO_COLOR": "1", "UV_NO_PROGRESS": "1"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=partial(_die_with, os.getpid()),
            pass_fds=(held,),
        )
    except OSError as error:
        raise Failed("cannot-start", f"cannot start {argv[0]}", found=str(error), remedy="install it again") from error
    with popen:
        try:
            yield popen
        finally:
            _end(popen)


def _die_with(parent: int) -> None:
    """Runs in the child before the program. Where the kernel has no such thing, the next build waits for the orphan."""
    if hasattr(_libc, "prctl"):
        _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != parent:
            os._exit(1)


@contextmanager
def _limited(popen: subprocess.Popen[bytes], seconds: float) -> Iterator[threading.Event]:
    late = threading.Event()

    def expire() -> None:
        late.set()
        _end(popen)

    timer = threading.Timer(seconds, expire)
    timer.daemon = True
    timer.start()
    try:
        yield late
    finally:
        timer.cancel()


def _end(popen: subprocess.Popen[bytes]) -> None:
    if popen.returncode is None:
        with suppress(ProcessLookupError):  # it ended between the check and the signal
            os.killpg(popen.pid, signal.SIGKILL)


def _told(raw: bytes, log: Callable[[str], None]) -> str:
    line = raw.decode(errors="replace").rstrip()
    log(line)
    return line
