"""The whole way without a network: in a network namespace that has loopback only."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.system.command_line import EXAMPLES, Outhaul
from tests.system.test_demo import DIGIT

pytestmark = pytest.mark.timeout(900)

UNSHARE = ["unshare", "--net"] if os.getuid() == 0 else ["unshare", "--map-root-user", "--net"]
INTERFACES = "import socket; print([name for _, name in socket.if_nameindex()])"


@pytest.fixture
def namespace() -> Iterator[list[str]]:
    """How a command is begun inside of the namespace. Where none can be made: skipped, and a failure in CI."""
    if reason := why_not():
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(reason)
    keeper = subprocess.Popen([*UNSHARE, "sh", "-c", "ip link set lo up && echo up && exec sleep 900"], stdout=-1)
    try:
        assert keeper.stdout
        assert keeper.stdout.readline() == b"up\n"
        user = [] if os.getuid() == 0 else ["--user", "--preserve-credentials"]
        yield ["nsenter", "--target", str(keeper.pid), *user, "--net", "--"]
    finally:
        keeper.kill()
        keeper.communicate()


def why_not() -> str:
    """Why no network namespace can be made here; empty when it can."""
    if missing := [tool for tool in ("unshare", "nsenter", "ip") if shutil.which(tool) is None]:
        return f"no network namespace: {', '.join(missing)} is not installed (Debian: util-linux, iproute2)"
    tried = subprocess.run([*UNSHARE, "ip", "link", "set", "lo", "up"], capture_output=True, text=True)
    return f"no network namespace: {tried.stderr.strip()}" if tried.returncode else ""


@pytest.fixture
def offline(namespace: list[str], tmp_path: Path, bytecode: Path) -> Iterator[Outhaul]:
    """An empty home whose commands, and all that they start, have no network."""
    seen = subprocess.run([*namespace, "python3", "-c", INTERFACES], capture_output=True, text=True, check=True)
    assert seen.stdout.strip() == "['lo']"
    made = Outhaul(tmp_path / "home", bytecode, prefix=namespace)
    yield made
    made("down")
    assert not made.processes()


def test_from_nothing_to_a_served_model_without_a_network(digits: dict[str, Any], offline: Outhaul) -> None:
    """`digits` was built with a network before, so its packages are in uv's cache; the environment is built anew."""
    assert digits["state"] == "Healthy"
    offline("up")
    run = offline("deploy", EXAMPLES / "digits")
    assert {step["name"]: step["state"] for step in run["steps"]}["build_image"] == "done"
    reply = offline("service", "run", "digits", "--data", json.dumps(DIGIT))
    assert (reply["status"], json.loads(reply["body"])) == (200, {"digits": [0]})
