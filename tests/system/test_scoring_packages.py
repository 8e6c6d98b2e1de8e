"""The bundle in foreign environments: other Python versions, other packages under the same names."""

from __future__ import annotations

import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import uv

from outhaul import __version__
from outhaul.adapters.bundle import ensure_bundle, serve_command
from outhaul.errors import OuthaulError
from tests.system.scoring_process import ScoringProcess, find_python, make_environment

THIS = f"{sys.version_info.major}.{sys.version_info.minor}"
OTHERS = ["3.8", "3.9", "3.12", "3.13"]

FAKES = ["uvicorn", "h11", "httptools", "uvloop", "click", "pydantic", "typing_extensions"]
WHO_SCRIPT = f"""
import {", ".join(FAKES)}, queue, json
def init(): pass
def run(data):
    return {{m.__name__: getattr(m, "WHO", None) for m in ({", ".join(FAKES)})}}
"""


@pytest.mark.parametrize("minor", [THIS, *OTHERS])
@pytest.mark.parametrize("place", ["site-packages", "source"])
def test_the_users_packages_stay_the_users(bundles: Path, tmp_path: Path, minor: str, place: str) -> None:
    """An environment, or a project, with other packages under the names of those the server uses."""
    base = Path(sys.executable) if minor == THIS else find_python(minor)
    if base is None:
        pytest.skip(f"no Python {minor} on this machine")
    python = make_environment(tmp_path, base)
    target = (
        tmp_path / "source" if place == "source" else next((tmp_path / "env/lib").glob("python*")) / "site-packages"
    )
    target.mkdir(exist_ok=True)
    for name in FAKES:
        (target / f"{name}.py").write_text(f"WHO = 'user {name}'\n")
    (target / "queue.py").write_text("raise ImportError('the server must not import this')\n")
    server = ScoringProcess(ensure_bundle(bundles, base, minor), python, tmp_path, WHO_SCRIPT)
    try:
        assert server.wait_for("ready").score({}).json == {name: f"user {name}" for name in FAKES}
        server.terminate()
        assert server.wait() == 0
    finally:
        server.close()


def test_the_users_own_uvloop_is_whole(bundle: Path, tmp_path: Path) -> None:
    """Compiled modules register under the name they were built with; the user's must not get the bundle's half."""
    python = make_environment(tmp_path, Path(sys.executable))
    install = [uv.find_uv_bin(), "pip", "install", "-q", "--python", str(python), "uvloop==0.21.0"]
    subprocess.run(install, check=True)
    script = (
        "import uvloop, uvloop.loop\ndef init(): pass\ndef run(data): return [uvloop.__version__, uvloop.loop.__file__]"
    )
    server = ScoringProcess(bundle, python, tmp_path, script)
    try:
        version, file = server.wait_for("ready").score({}).json
        assert version == "0.21.0"
        assert str(tmp_path) in file
    finally:
        server.close()


def test_a_bundle_is_made_once_by_many_at_once(tmp_path: Path) -> None:
    with ThreadPoolExecutor(4) as pool:
        made = list(pool.map(lambda _: ensure_bundle(tmp_path, Path(sys.executable), THIS), range(4)))
    assert len(set(made)) == 1
    assert [path.name for path in tmp_path.iterdir() if not path.name.endswith(".lock")] == [made[0].name]
    assert json.loads((made[0] / "bundle.json").read_text())["version"] == __version__
    assert [p for p in made[0].rglob("*") if p.is_file() and p.stat().st_mode & 0o222] == []
    assert serve_command(made[0], Path("/env/bin/python"), Path("/c.json"))[0] == "/env/bin/python"


def test_a_bundle_that_cannot_be_made_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(OuthaulError):
        ensure_bundle(tmp_path, tmp_path / "no-python", THIS)
    assert [path.name for path in tmp_path.iterdir() if not path.name.endswith(".lock")] == []
