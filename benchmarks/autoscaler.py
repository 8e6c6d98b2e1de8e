"""From overload to a new replica asked for: real HAProxy, real agent, scripted replicas, a cluster in memory.

`python -m benchmarks.autoscaler [--json] [--rounds N]` measures; target: at most one second at the median.
`--record FOLDER` plays three loads instead and writes what the agent measured, for tests/golden/loads.
"""

from __future__ import annotations

import argparse
import itertools
import json
import shutil
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

from outhaul.home import Home
from outhaul.router.__main__ import TICK_SECONDS
from outhaul.service.autoscaler import Load, ScalerSpec, ScalerState, decide
from tests.router.stage import Stage, scaled, service, version

MOST_SECONDS = 1.0
MOST_REPLICAS = 8
START_SECONDS = 1.0
"""How long a replica takes to start while a load is recorded."""
Look = tuple[float, int, int, int, int]

LOADS: dict[str, Callable[[float], int]] = {
    # Seconds since the start → clients that ask without pause, 50 ms of work per request.
    "steady": lambda _: 3,
    "bursts": lambda now: 6 if now % 3 < 1 else 0,
    "ramp": lambda now: min(8, int(now / 2)),
}


class Clients:
    """Closed-loop clients whose number can be changed."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._wanted = 0
        self._threads: list[threading.Thread] = []

    def set(self, number: int) -> None:
        self._wanted = number
        while len(self._threads) < number:
            thread = threading.Thread(target=self._ask, args=(len(self._threads),), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _ask(self, number: int) -> None:
        while self._wanted >= 0:
            if number < self._wanted:
                self._stage.score("ms=50")
            else:
                time.sleep(0.02)

    def close(self) -> None:
        self._wanted = -1
        for thread in self._threads:
            thread.join()


def staged(folder: Path, play: Callable[[Stage, Clients], list[Look] | float]) -> list[Look] | float:
    """Play on a stage of its own: a service of one replica that may have `MOST_REPLICAS`."""
    folder.mkdir()
    stage = Stage(Home(folder), tick_seconds=TICK_SECONDS)
    clients = Clients(stage)
    try:
        stage.start_haproxy()
        spec = scaled(1, MOST_REPLICAS, max_queue_wait_ms=5000)
        stage.serve(service("digits", version(spec=spec)))
        return play(stage, clients)
    finally:
        clients.close()
        stage.close()
        shutil.rmtree(stage.home.sockets)


def time_to_ask(stage: Stage, clients: Clients) -> float:
    """Seconds from the first request of an overload to the call that asks for another replica."""
    time.sleep(1.5)  # idle long enough for the average to be that of an idle service
    started = time.monotonic()
    clients.set(4)
    while not stage.cluster.scaled:
        if time.monotonic() > started + 10:
            raise RuntimeError("no replica was asked for within ten seconds")
        time.sleep(0.005)
    return time.monotonic() - started


def record(shape: Callable[[float], int], seconds: float) -> Callable[[Stage, Clients], list[Look] | float]:
    """What the agent measures while the load has this shape and replicas take a second to start."""

    def play(stage: Stage, clients: Clients) -> list[Look] | float:
        stage.stop_agent()
        looks: list[Look] = []
        due: list[float] = []
        started = time.monotonic()
        while (now := time.monotonic() - started) < seconds:
            clients.set(shape(now))
            while len(stage.cluster.seen) + len(due) < stage.cluster.numbers["digits-1"]:
                due.append(now + START_SECONDS)
            if due and now > due[0]:
                due.pop(0)
                stage.add_replica()
            stage.agent.tick()
            load = stage.agent.scaling.seen["digits-1"].load
            if load:
                looks.append((round(now, 3), load.busy, load.queued, load.ready, load.coming))
            time.sleep(TICK_SECONDS)
        return looks

    return play


def golden(looks: list[Look]) -> dict[str, object]:
    """A trace with what the autoscaler makes of it."""
    spec, state, numbers = ScalerSpec(most=MOST_REPLICAS), ScalerState(), []
    for now, busy, queued, ready, coming in looks:
        decision, state = decide(spec, Load(busy, queued, ready, coming), state, now)
        numbers.append(decision.replicas)
    changes = sum(a != b for a, b in itertools.pairwise(numbers))
    meaning = {"least": 1, "most": MOST_REPLICAS, "limit": 1, "peak": max(numbers), "most_changes": changes}
    return {**meaning, "columns": ["seconds", "busy", "queued", "ready", "coming"], "looks": looks}


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--record", type=Path, metavar="FOLDER")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        if options.record:
            for name, shape in LOADS.items():
                looks = staged(Path(folder) / name, record(shape, 18.0))
                assert isinstance(looks, list)
                (options.record / f"{name}.json").write_text(json.dumps(golden(looks)) + "\n")
            return 0
        seconds = [staged(Path(folder) / str(n), time_to_ask) for n in range(options.rounds)]
    median = statistics.median(s for s in seconds if isinstance(s, float))
    result = {"seconds": seconds, "median_seconds": median, "target_met": median <= MOST_SECONDS}
    print(
        json.dumps(result)
        if options.json
        else f"overload → replica asked for: {median:.2f} s (target {MOST_SECONDS} s)"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
