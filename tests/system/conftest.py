from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from outhaul.adapters.bundle import ensure_bundle
from tests.system.command_line import EXAMPLES, Outhaul
from tests.system.scoring_process import SCRIPT, ScoringProcess, Start, make_environment


@pytest.fixture(scope="session")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("bundles")


@pytest.fixture(scope="session")
def bundle(bundles: Path) -> Path:
    return ensure_bundle(bundles, Path(sys.executable), "{}.{}".format(*sys.version_info))


@pytest.fixture(scope="session")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of an environment with nothing in it."""
    return make_environment(tmp_path_factory.mktemp("environment"), Path(sys.executable))


@pytest.fixture
def start(bundle: Path, environment: Path, tmp_path: Path) -> Iterator[Start]:
    started: list[ScoringProcess] = []

    def begin(script: str = SCRIPT, **settings: Any) -> ScoringProcess:
        folder = tmp_path / str(len(started))
        folder.mkdir()
        started.append(ScoringProcess(bundle, environment, folder, script, **settings))
        return started[-1]

    yield begin
    for process in started:
        process.close()


@pytest.fixture(scope="session")
def bytecode(pytestconfig: pytest.Config) -> Path:
    """Prefect's compiled modules, shared by all homes and sessions: compiling them takes seconds."""
    return pytestconfig.cache.mkdir("bytecode")


@pytest.fixture(scope="session")
def outhaul(tmp_path_factory: pytest.TempPathFactory, bytecode: Path) -> Iterator[Outhaul]:
    """The command line on one home, shared by all tests: its Prefect server takes long to start."""
    made = Outhaul(tmp_path_factory.mktemp("system") / "home", bytecode)
    made("up")
    yield made
    made("down")
    assert not made.processes(), "`down` leaves nothing behind"


@pytest.fixture(scope="module")
def digits(outhaul: Outhaul) -> dict[str, Any]:
    """The example `digits`, served: as `service show` has it."""
    outhaul("deploy", EXAMPLES / "digits", "--reuse")
    return dict(outhaul("service", "show", "digits"))
