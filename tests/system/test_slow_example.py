"""A training that takes its time and writes 200 MB: followed, cancelled, and re-attached after its flow was killed."""

from __future__ import annotations

import os
import signal
from typing import Any

import pytest

from outhaul.run.flow_folder import flow_is_alive, folder_of
from tests.system.command_line import EXAMPLES, Outhaul, eventually

pytestmark = pytest.mark.timeout(600)

SECONDS = 20
MEGABYTES = 200


def begin(outhaul: Outhaul) -> str:
    """Start the training; returns the run's id."""
    arguments = f"--seconds {SECONDS} --megabytes {MEGABYTES}"
    started = outhaul("train", EXAMPLES / "long_training", "--train-arguments", arguments, "--detach")
    return str(started["id"])


def show(outhaul: Outhaul, run: str) -> dict[str, Any]:
    return dict(outhaul("run", "show", run))


def until_recorded(outhaul: Outhaul, run: str) -> None:
    """A detached run has no record before its engine has started."""
    eventually(lambda: outhaul.execute("run", "show", run).returncode == 0, 60, "the run's record")


def test_followed_line_by_line_then_cancelled(outhaul: Outhaul) -> None:
    run = begin(outhaul)
    until_recorded(outhaul, run)
    with outhaul.start("run", "logs", run, "--follow") as following:
        assert following.stdout
        lines = iter(following.stdout.readline, "")
        assert next(lines).startswith("training begins")
        seen = [next(lines) for _ in range(10)]
        assert [line.split(",")[0] for line in seen] == [f"step {n} of {SECONDS * 5}" for n in range(1, 11)]
        assert show(outhaul, run)["state"] == "Running", "lines are seen while the script runs"
        outhaul("run", "cancel", run)
        rest = list(lines)
        assert following.wait() == 0
    assert not any(line.startswith("training has ended") for line in rest)

    ended = show(outhaul, run)
    assert ended["state"] == "Canceled"
    assert ended["attempts"][0]["reason"] == "cancelled"
    assert ended["models"] == []
    eventually(lambda: not flow_is_alive(outhaul.home, run), 60, "the flow's processes have ended")
    saved = {file["path"]: file["bytes"] for file in outhaul("run", "outputs", run)}
    assert len(saved) >= 10, "what was written before is saved"
    assert saved["part-0001.bin"] == MEGABYTES * 1_000_000 // (SECONDS * 5)
    assert not leftovers(outhaul)


def test_killed_flow_is_restarted_and_finds_its_script_at_work(outhaul: Outhaul) -> None:
    run = begin(outhaul)
    until_recorded(outhaul, run)

    def output() -> str:
        return outhaul.execute("run", "logs", run).stdout

    eventually(lambda: "step 5 of" in output(), 60, "the script is at work")
    known = folder_of(outhaul.home, run).read()
    assert known
    assert known.engine_pid
    os.kill(known.engine_pid, signal.SIGKILL)
    eventually(lambda: not flow_is_alive(outhaul.home, run), 60, "the flow is dead and settled")

    ended = outhaul("run", "restart", run)
    assert (ended["state"], ended["models"]) == ("Completed", ["long-training:1"])
    assert [(attempt["number"], attempt["exitCode"]) for attempt in ended["attempts"]] == [(1, 0)]
    assert ended["outputs"] == {"files": SECONDS * 5, "bytes": MEGABYTES * 1_000_000, "saved": True}
    assert output().count("training begins") == 1
    assert output().count("training has ended") == 1
    assert not leftovers(outhaul)


def leftovers(outhaul: Outhaul) -> list[str]:
    """Temporary storage of runs that still stands."""
    return [str(path) for path in outhaul.home.slots.rglob("*.bin")]
