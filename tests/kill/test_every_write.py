"""The full matrix: SIGKILL before each file that the flow's process writes, with and without its watcher.

Steps have many writes; `tests/flows/test_kill_points.py` goes through their starts and ends only. How many writes a
deployment has is counted first, so that none is left out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.flows.killing import Deployment, NeverReached, check_done, half_written
from tests.flows.machine import Machine

AT_ONCE = 3
FEWEST = {"first": 40, "reuse": 20}
"""Writes of one deployment at least: with fewer, the points were not seen."""
MOST = 200


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("books")


@pytest.fixture(scope="module")
def earlier(machine: Machine, folder: Path) -> Deployment:
    """The deployment whose training the others reuse."""
    earlier = Deployment(machine, folder, "earlier")
    earlier.complete()
    return earlier


@pytest.mark.parametrize("watcher", [False, True], ids=["the flow", "the flow and its watcher"])
@pytest.mark.parametrize("kind", ["first", "reuse"])
def test_a_flow_killed_before_any_of_its_writes_completes_when_it_is_started_again(
    machine: Machine, earlier: Deployment, folder: Path, kind: str, watcher: bool
) -> None:
    def survived(number: int) -> bool:
        """False when the flow has no write of that number."""
        name = f"{kind}-{number}{'-both' if watcher else ''}"
        reused = {"reuse": True, "made_by": earlier.name} if kind == "reuse" else {}
        deployment = Deployment(machine, folder, name, **reused)  # type: ignore[arg-type]
        try:
            flow = deployment.stop_at(f"write:{number}")
        except NeverReached:
            return False
        flow.kill(watcher=watcher)
        check_done(deployment, flow.restart())
        machine.ok("service", "delete", name, "--yes")
        return True

    reached = sum(outcomes(survived))
    # Any deployment clears at its beginning what dead ones left.
    Deployment(machine, folder, f"{kind}-{watcher}-last".lower()).complete()
    assert reached >= FEWEST[kind]
    assert half_written(machine) == []


def outcomes(survived: Callable[[int], bool]) -> Iterator[bool]:
    """One outcome per write, several at the same time, until there are no more."""
    with ThreadPoolExecutor(AT_ONCE) as pool:
        for first in range(1, MOST, AT_ONCE):
            batch = list(pool.map(survived, range(first, first + AT_ONCE)))
            yield from batch
            if not all(batch):
                return
    pytest.fail(f"more than {MOST} writes")
