"""Environment hash and look-up, beside the cheapest way to ask uv the same. `python benchmarks/environment.py`

Prints JSON. `hash_and_lookup_ms`: read a conda YAML of 40 packages, parse and hash it, and find it in a store of 100
environments; in one process, median of many. `from_command_ms`: the same by a fresh interpreter, beyond that
interpreter's own start. `uv_check_ms`: `uv pip install --dry-run` of one package that is there, offline. Target: 50 ms.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from outhaul.adapters.build_process import BuildSettings
from outhaul.adapters.environment_folder import Entry, FolderEnvironmentStore
from outhaul.adapters.interpreters import uv_command
from outhaul.adapters.uv_builder import UvBuilder
from outhaul.environment.definition import Environment, canonical, environment_hash
from outhaul.environment.dependencies import parse_conda
from outhaul.environment.requirements import parse_requirements
from outhaul.ports import BuiltEnvironment

TARGET_MS = 50
ENVIRONMENTS = 100
PACKAGES = 40
# An installed package has its byte code, so it is kept here as well.
ENV_VARS = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
FRESH = """
import sys
from pathlib import Path
from outhaul.adapters.environment_folder import FolderEnvironmentStore
from outhaul.environment.dependencies import parse_conda
from outhaul.environment.definition import Environment, environment_hash
conda = parse_conda(Path(sys.argv[1]).read_text(encoding="utf-8"))
found = FolderEnvironmentStore(Path(sys.argv[2]), "workspace").find(environment_hash(Environment(conda=conda)))
assert found is not None
"""


def main() -> int:
    with tempfile.TemporaryDirectory() as folder:
        figures = measured(Path(folder))
    print(json.dumps(figures, indent=2))
    return 0 if figures["met"] else 1


def measured(folder: Path) -> dict[str, float | bool]:
    store = FolderEnvironmentStore(folder / "workspace", "workspace")
    path = folder / "conda.yml"
    path.write_text(conda_file(), encoding="utf-8")
    fill(store, path)
    built = UvBuilder(store).build(Environment(conda=parse_requirements("six")), lambda line: None)
    start, fresh, uv = alternating(
        lambda: run([sys.executable, "-c", "pass"]),
        lambda: run([sys.executable, "-c", FRESH, str(path), str(store.root)]),
        lambda: uv_check(built),
    )
    in_process = statistics.median(timed(lambda: look_up(store, path)) for _ in range(200))
    return {
        "hash_and_lookup_ms": round(in_process, 2),
        "from_command_ms": round(fresh - start, 1),
        "interpreter_start_ms": round(start, 1),
        "uv_check_ms": round(uv, 1),
        "ratio_to_uv_check": round(in_process / uv, 3),
        "target_ms": TARGET_MS,
        "met": in_process <= TARGET_MS,
    }


def conda_file() -> str:
    packages = "".join(f"      - package-{number}=={number}.0  # pinned\n" for number in range(PACKAGES))
    return f"name: bench\nchannels: [conda-forge]\ndependencies:\n  - python=3.11\n  - pip\n  - pip:\n{packages}"


def look_up(store: FolderEnvironmentStore, path: Path) -> BuiltEnvironment | None:
    conda = parse_conda(path.read_text(encoding="utf-8"))
    return store.find(environment_hash(Environment(conda=conda)))


def fill(store: FolderEnvironmentStore, path: Path) -> None:
    """The store with the environment of `path` and many others; only what a look-up reads of them."""
    wanted = Environment(conda=parse_conda(path.read_text(encoding="utf-8")))
    others = [Environment(conda=parse_requirements(f"package=={number}")) for number in range(ENVIRONMENTS - 1)]
    for environment in [wanted, *others]:
        digest = environment_hash(environment)
        bin_folder = store.root / store.key(digest) / "env" / "bin"
        bin_folder.mkdir(parents=True)
        (bin_folder / "python").symlink_to(sys.executable)
        packages = {f"package-{number}": "1.0" for number in range(PACKAGES * 3)}
        store.complete(store.key(digest), entry(digest, environment, packages))


def entry(digest: str, environment: Environment, packages: dict[str, str]) -> Entry:
    return Entry(
        hash=digest,
        kind="venv",
        python_version="3.11.7",
        packages=packages,
        built_at="2026-01-01T00:00:00.000Z",
        seconds=1.0,
        definition=canonical(environment),
    )


def uv_check(built: BuiltEnvironment) -> None:
    env_vars = {**BuildSettings().env_vars, "UV_OFFLINE": "1"}
    argv = [uv_command(), "pip", "install", "--dry-run", "--python", str(built.python), "six"]
    subprocess.run(argv, env=env_vars, check=True, capture_output=True)


def alternating(*works: Callable[[], None], rounds: int = 11) -> list[float]:
    """Each work's median in milliseconds; one after the other in each round, so that noise hits all."""
    taken = [[timed(work) for work in works] for _ in range(rounds)]
    return [statistics.median(column) for column in zip(*taken, strict=True)]


def timed(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return (time.perf_counter() - started) * 1000


def run(argv: list[str]) -> None:
    subprocess.run(argv, env=ENV_VARS, check=True)


if __name__ == "__main__":
    sys.exit(main())
