"""Interpreters of this machine, and uv as the one who can bring another."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import msgspec

from outhaul.adapters.build_process import BuildSettings, run
from outhaul.adapters.uv_failures import reason
from outhaul.environment.python_version import Version, allows, best, nearest_minor, parse_version
from outhaul.errors import Failed, Refused

Log = Callable[[str], None]
RUNNING: Version = tuple(sys.version_info[:3])


class _Listed(msgspec.Struct):
    version: str
    path: str
    implementation: str
    variant: str = "default"


def uv_command() -> str:
    """uv's program, from its wheel or PATH. Failed when there is none."""
    import uv

    try:
        return str(uv.find_uv_bin())
    except FileNotFoundError as error:
        raise Failed("uv-missing", "uv is not installed", found=str(error), remedy="pip install uv") from error


def running_python() -> Path:
    """The interpreter that runs Outhaul, outside of any virtual environment."""
    return Path(getattr(sys, "_base_executable", None) or sys.executable).resolve()


def find_python(constraint: str, settings: BuildSettings) -> Path | None:
    """An interpreter at hand whose minor version the conda constraint allows, None when there is none."""
    if allows(constraint, RUNNING):
        return running_python()
    at_hand = dict([(RUNNING, running_python()), *_pyenv(settings.env_vars), *_known_to_uv(settings.env_vars)])
    chosen = best(constraint, at_hand, RUNNING)
    return at_hand[chosen] if chosen else None


def fetch_python(constraint: str, settings: BuildSettings, log: Log, held: int) -> Path | str:
    """Have uv download the nearest allowed minor version. The reason as text when it cannot."""
    minor = nearest_minor(constraint, RUNNING)
    if minor is None:
        return "no Python 3 fulfils the constraint"
    ended = run([uv_command(), "python", "install", dotted(minor)], settings, log, held)
    if ended.exit_code != 0:
        return reason(ended.lines)
    found = find_python(constraint, settings)
    return found or "uv installed it, but does not list it"


def no_python(constraint: str, tried: Mapping[str, str]) -> Refused:
    """The refusal that names every way to the Python that is missing. `tried` is way → what came of it."""
    minor = nearest_minor(constraint, RUNNING)
    wanted = dotted(minor) if minor else constraint
    return Refused(
        "python-missing",
        f"the environment needs Python {wanted}, which this machine does not have",
        found="\n".join([f"Python {dotted(RUNNING)} runs Outhaul", *(f"{way}: {what}" for way, what in tried.items())]),
        expected=f"`python{constraint}`; another minor version is never put in its place",
        remedy=f"`uv python install {wanted}`, or install python{wanted} on PATH or by pyenv, or"
        " `pip install 'outhaul[conda]'` (conda channels have it), or change the python line",
    )


def dotted(version: Version) -> str:
    return ".".join(map(str, version))


def _pyenv(env_vars: Mapping[str, str]) -> Iterator[tuple[Version, Path]]:
    """pyenv's own folder: its commands on PATH answer for the selected versions only."""
    root = Path(env_vars.get("PYENV_ROOT") or Path(env_vars.get("HOME", "/")) / ".pyenv") / "versions"
    for folder in sorted(root.glob("*")):
        if re.fullmatch(r"\d+\.\d+\.\d+", folder.name) and (folder / "bin" / "python").exists():
            yield parse_version(folder.name), folder / "bin" / "python"


def _known_to_uv(env_vars: Mapping[str, str]) -> Iterator[tuple[Version, Path]]:
    """What uv finds on PATH and among the interpreters that it installed."""
    argv = [uv_command(), "python", "list", "--only-installed", "--output-format", "json"]
    try:
        listed = subprocess.run(argv, cwd="/", env=dict(env_vars), capture_output=True, timeout=60, check=True)
    except (OSError, subprocess.SubprocessError) as error:
        said = (getattr(error, "stderr", None) or b"").decode(errors="replace")[-2000:]
        raise Failed("uv-failed", "uv cannot list interpreters", found=f"{error}\n{said}") from error
    for entry in msgspec.json.decode(listed.stdout, type=list[_Listed]):
        if entry.implementation == "cpython" and entry.variant == "default":
            yield parse_version(entry.version), Path(entry.path)
