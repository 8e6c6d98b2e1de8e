"""Bad luck with a whole machine: everything killed, a reboot, the node alone killed."""

from __future__ import annotations

import re
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from outhaul.adapters import processes
from tests.system.clients import asking
from tests.system.command_line import Outhaul, ask, eventually
from tests.system.test_demo import DIGIT

pytestmark = pytest.mark.timeout(900)

SERVED_SECONDS = 60.0


@pytest.fixture
def stranger() -> Iterator[subprocess.Popen[bytes]]:
    """A process that is none of ours."""
    with subprocess.Popen(["sleep", "600"]) as process:
        yield process
        process.kill()


def kill_everything(outhaul: Outhaul) -> None:
    assert len(outhaul.processes()) >= 6, "node, HAProxy, agent, Prefect server and worker, replicas"
    processes.end_all(outhaul.processes())
    eventually(lambda: not outhaul.processes(), 20, "all are dead")


def check_served_as_before(outhaul: Outhaul, before: dict[str, Any], key: str) -> None:
    def answers() -> bool:
        return ask(before["scoringUri"], DIGIT, key).status_code == 200

    eventually(answers, SERVED_SECONDS, "the service answers at its old URL with its old key")
    eventually(lambda: outhaul("service", "show", "digits")["replicas"] == before["replicas"], 30, "all replicas")
    after = outhaul("service", "show", "digits")
    for field in ("state", "scoringUri", "createdAt", "updatedAt", "error"):
        assert after[field] == before[field]
    assert [(v["number"], v["weight"]) for v in after["versions"]] == [
        (v["number"], v["weight"]) for v in before["versions"]
    ]
    assert {p["state"] for p in outhaul("status")} == {"ready"}


def test_everything_killed_at_once_is_brought_back(outhaul: Outhaul, digits: dict[str, Any]) -> None:
    keys = outhaul("service", "get-keys", "digits")
    kill_everything(outhaul)
    with pytest.raises(httpx.TransportError):
        ask(digits["scoringUri"], DIGIT, keys["primaryKey"])
    outhaul("up")
    check_served_as_before(outhaul, digits, keys["primaryKey"])
    assert outhaul("service", "get-keys", "digits") == keys


def test_after_a_reboot_sockets_are_gone_and_pids_are_somebody_elses(
    outhaul: Outhaul, digits: dict[str, Any], stranger: subprocess.Popen[bytes]
) -> None:
    key = outhaul("service", "get-keys", "digits")["primaryKey"]
    kill_everything(outhaul)
    shutil.rmtree(outhaul.home.sockets)
    assert give_pids_to(stranger.pid, outhaul.home.node, outhaul.home.cluster) >= 6
    outhaul("up")
    check_served_as_before(outhaul, digits, key)
    assert stranger.poll() is None, "a process that has the pid of one of ours is left alone"


def give_pids_to(pid: int, *folders: Path) -> int:
    """Put another process's pid into every record of a process. Returns how many were changed."""
    changed = 0
    for path in (path for folder in folders for path in folder.rglob("*.json")):
        text, count = re.subn(r'"pid": *\d+', f'"pid": {pid}', path.read_text())
        path.write_text(text)
        changed += count
    return changed


def test_the_node_alone_is_killed_and_nobody_notices(outhaul: Outhaul, digits: dict[str, Any]) -> None:
    key = outhaul("service", "get-keys", "digits")["primaryKey"]

    def pids() -> dict[str, int]:
        return {line["name"]: line["pid"] for line in outhaul("status")}

    before = pids()
    with asking(digits["scoringUri"], key, DIGIT) as answers:
        eventually(lambda: answers.statuses, 10, "the first answer")
        processes.end_all([p for p in outhaul.processes() if p.pid == before["node"]], signal.SIGKILL)
        time.sleep(2)  # without a node
        outhaul("up")
        time.sleep(1)
    after = pids()
    assert answers.lost == []
    assert len(answers.statuses) > 20
    assert after.pop("node") != before.pop("node")
    assert after == before
