from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from outhaul.adapters.bundle import ensure_bundle
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
