"""ImageBuilder of this machine: a virtual environment by uv, or a conda prefix with uv's packages in it."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from outhaul.adapters import conda_builder
from outhaul.adapters.build_process import BuildLog, BuildSettings, run
from outhaul.adapters.environment_folder import Entry, FolderEnvironmentStore
from outhaul.adapters.interpreters import RUNNING, dotted, fetch_python, find_python, no_python, uv_command
from outhaul.adapters.uv_failures import failure
from outhaul.environment.definition import Environment, canonical, environment_hash, unsupported
from outhaul.environment.dependencies import Parts, pip_requirement, take_apart
from outhaul.environment.lock import pinned
from outhaul.errors import Failed, OuthaulError, Unreachable
from outhaul.ports import BuiltEnvironment
from outhaul.times import iso

_PRE = "--pre"


class UvBuilder:
    """Builds into `store`. Two builds of one environment at once, of any process, make one."""

    def __init__(self, store: FolderEnvironmentStore, settings: BuildSettings | None = None) -> None:
        self._store = store
        self._settings = settings or BuildSettings()

    def unsupported(self, environment: Environment) -> Sequence[str]:
        return unsupported(environment)

    def build(self, environment: Environment, log: Callable[[str], None]) -> BuiltEnvironment:
        digest, parts = environment_hash(environment), take_apart(environment.conda)
        key = self._store.key(digest, default_python=parts.python is None)
        with self._store.lock(key, log) as held:
            found = self._store.find(digest)
            if found is not None:
                return found
            path = self._store.log_path(key)
            with self._store.making(key) as folder, closing(BuildLog(path, log)) as lines:
                return self._store.complete(
                    key, _built(environment, parts, _Build(folder, self._settings, lines, held, path))
                )


class _Build:
    """One build into one folder."""

    def __init__(
        self, folder: Path, settings: BuildSettings, log: Callable[[str], None], held: int, log_path: Path
    ) -> None:
        self._folder = folder
        self.prefix = folder / "env"
        self._settings = settings
        self.log = log
        self._held = held
        self._log_path = log_path

    def make(self, environment: Environment, parts: Parts) -> str:
        """Fill the folder; returns the kind of environment that it became."""
        definition = environment.conda or {"dependencies": []}
        if parts.conda:
            conda_builder.install_conda(definition, self.prefix, self._settings, self.log)
            kind, pip = "conda", []
        else:
            kind = self._bare(parts, definition)
            pip = [pip_requirement(parts.pip)] if parts.pip is not None and kind == "venv" else []
        self.install([*pip, *parts.requirements], parts.constraints)
        return kind

    def install(self, requirements: Sequence[str], constraints: Sequence[str], *options: str) -> None:
        """Install pip packages into the environment."""
        if not requirements:
            return
        chosen = ["--prerelease", "allow"] if _PRE in requirements else []
        files = ["--requirement", self._listed("requirements.txt", [line for line in requirements if line != _PRE])]
        if constraints:
            files += ["--constraint", self._listed("constraints.txt", constraints)]
        python = str(self.prefix / "bin" / "python")
        self._install("--python", python, *chosen, *options, *files)

    def _install(self, *arguments: str) -> None:
        """What is cached is enough where the index does not answer: a train, an outage, a machine without network."""
        try:
            self._uv("pip", "install", *arguments)
        except Unreachable as error:
            self.log(f"{error.message}; trying with what is cached")
            try:
                self._uv("pip", "install", "--offline", *arguments)
            except OuthaulError:
                raise error from error.__cause__

    def _bare(self, parts: Parts, definition: dict[str, Any]) -> str:
        """An environment with Python and nothing else: of this machine's, else by uv, else by conda."""
        constraint = parts.python if parts.python is not None else f"={dotted(RUNNING[:2])}"
        python: Path | str | None = find_python(constraint, self._settings)
        if python is None:
            self.log(f"No python{constraint} on this machine; asking uv for it")
            python = fetch_python(constraint, self._settings, self.log, self._held)
        if isinstance(python, str):
            self._python_by_conda(constraint, definition, python)
            return "conda"
        self.log(f"Python of {python}")
        self._uv("venv", "--quiet", "--relocatable", "--no-project", "--python", str(python), str(self.prefix))
        return "venv"

    def _python_by_conda(self, constraint: str, definition: dict[str, Any], by_uv: str) -> None:
        if not conda_builder.available():
            raise no_python(constraint, {"uv": by_uv, "conda": "py-rattler is not installed"})
        self.log(f"No python{constraint} by uv; asking conda for it")
        try:
            conda_builder.install_conda(definition, self.prefix, self._settings, self.log)
        except (Failed, Unreachable) as error:
            raise no_python(constraint, {"uv": by_uv, "conda": error.found}) from error

    def _listed(self, name: str, lines: Sequence[str]) -> str:
        path = self._folder / name
        path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
        return str(path)

    def _uv(self, *arguments: str) -> None:
        ended = run([uv_command(), *arguments], self._settings, self.log, self._held)
        if ended.exit_code != 0:
            raise failure(ended, str(self._log_path))


def replicate(source: Path, entry: Entry, folder: Path, held: int) -> None:
    """Install a conda environment again: exactly its packages, in another place."""
    settings, path = BuildSettings(), folder.with_name(f"{folder.name}.log")
    parts = take_apart(entry.definition["conda"])
    with closing(BuildLog(path, lambda line: None)) as log:
        conda_builder.install_same(source / "env", folder / "env", settings)
        lines = pinned(parts, {name: v for name, v in entry.packages.items() if entry.conda.get(name) != v})
        _Build(folder, settings, log, held, path).install(lines, [], "--no-deps")


def _built(environment: Environment, parts: Parts, build: _Build) -> Entry:
    started = time.monotonic()
    try:
        kind = build.make(environment, parts)
    except OuthaulError as error:
        build.log(f"{error.code}: {error}")
        raise
    conda = conda_builder.conda_packages(build.prefix)
    return Entry(
        hash=environment_hash(environment),
        kind=kind,
        python_version=_version(build.prefix),
        packages={**conda, **_installed(build.prefix)},
        conda=conda,
        built_at=iso(time.time()),
        seconds=round(time.monotonic() - started, 3),
        definition=canonical(environment),
    )


def _installed(prefix: Path) -> dict[str, str]:
    """Name → version of the Python packages that uv installed."""
    from importlib.metadata import distributions  # slow to import, and only a build needs it

    sites = [str(path) for path in (prefix / "lib").glob("python*/site-packages")]
    ours = [found for found in distributions(path=sites) if (found.read_text("INSTALLER") or "").strip() != "conda"]
    return dict(sorted((found.metadata["Name"], found.version) for found in ours))


def _version(prefix: Path) -> str:
    """Ask the new environment's interpreter itself, which also shows that it runs."""
    code = "import platform; print(platform.python_version())"
    try:
        asked = subprocess.run(
            [prefix / "bin" / "python", "-I", "-c", code], capture_output=True, text=True, check=True, timeout=60
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise Failed("environment-broken", "the new environment's Python does not run", found=str(error)) from error
    return asked.stdout.strip()
