from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from outhaul.home import Home
from tests.router.stage import Stage


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    """HAProxy runs, nothing is served yet."""
    home = Home(tmp_path)
    playing = Stage(home)
    playing.start_haproxy()
    yield playing
    playing.close()
    shutil.rmtree(home.sockets)
