"""A service under real load: from one replica to its most, and back, without a lost request."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.system.command_line import Outhaul

pytestmark = pytest.mark.timeout(600)

MOST = 3
ANSWER_SECONDS = 0.05
RATE = 40.0
"""Requests per second: 2 replicas' worth of work, so 3 replicas at 67 % each. One alone would manage half of it."""
ASKED_SECONDS = 6.0
"""From the first request until all replicas are asked for: a second of averaging, one look, and a busy machine."""
READY_SECONDS = 30.0
STEADY_SECONDS = 10.0
SCALE_IN_SECONDS = 60.0

SCORE = f"""
import time

def init():
    pass

def run(data):
    time.sleep({ANSWER_SECONDS})
    return "done"
"""


@dataclass(frozen=True)
class Sent:
    """One request: when it was sent, and what became of it (an error's name where there was no answer)."""

    at: float
    status: int | str


@dataclass(frozen=True)
class Size:
    at: float
    desired: int
    ready: int


class Watcher:
    """Asks `service show` all the while, and remembers the replicas that it tells."""

    def __init__(self, outhaul: Outhaul, name: str) -> None:
        self._outhaul, self._name = outhaul, name
        self.sizes: list[Size] = []

    async def until(self, desired: int, ready: int, seconds: float) -> float:
        """When there were so many replicas."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            size = await self.look()
            if (size.desired, size.ready) == (desired, ready):
                return size.at
        raise AssertionError(f"not {ready} of {desired} ready within {seconds:g} s: {self.sizes[-5:]}")

    async def look(self) -> Size:
        shown = await asyncio.to_thread(self._outhaul, "service", "show", self._name)
        self.sizes.append(Size(time.monotonic(), shown["replicas"]["desired"], shown["replicas"]["ready"]))
        return self.sizes[-1]

    def first(self, desired: int) -> float:
        """When so many were first asked for."""
        return next(size.at for size in self.sizes if size.desired == desired)


@pytest.fixture
def service(outhaul: Outhaul, tmp_path: Path) -> Iterator[tuple[str, str]]:
    """(scoring URL, key) of a service of 1 to 3 replicas."""
    model, script = tmp_path / "nothing.txt", tmp_path / "service" / "score.py"
    model.write_text("nothing")
    script.parent.mkdir()
    script.write_text(SCORE)
    outhaul("model", "register", model, "--name", "nothing")
    what = ["--model", "nothing", "--score-script", str(script), "--replicas", f"1..{MOST}"]
    run = outhaul("service", "create", "loaded", *what)
    yield run["scoringUri"], outhaul("service", "get-keys", "loaded")["primaryKey"]
    outhaul("service", "delete", "loaded", "--yes")


@asynccontextmanager
async def load(client: httpx.AsyncClient, url: str, rate: float) -> AsyncIterator[list[Sent]]:
    """So many requests a second while the block runs, whether the earlier ones are answered or not."""
    sent: list[Sent] = []
    under_way: set[asyncio.Task[None]] = set()

    async def one() -> None:
        at = time.monotonic()
        try:
            sent.append(Sent(at, (await client.post(url, json={})).status_code))
        except httpx.HTTPError as error:
            sent.append(Sent(at, type(error).__name__))

    async def all_of_them() -> None:
        began, number = time.monotonic(), 0
        while True:
            under_way.add(asyncio.create_task(one()))
            number += 1
            await asyncio.sleep(began + number / rate - time.monotonic())

    driver = asyncio.create_task(all_of_them())
    try:
        yield sent
    finally:
        driver.cancel()
        await asyncio.gather(driver, *under_way, return_exceptions=True)
        assert len(sent) == len(under_way)


async def drive(outhaul: Outhaul, url: str, key: str) -> None:
    watcher = Watcher(outhaul, "loaded")
    headers, limits = {"Authorization": f"Bearer {key}"}, httpx.Limits(max_connections=200)
    async with httpx.AsyncClient(trust_env=False, timeout=30, headers=headers, limits=limits) as client:
        async with load(client, url, RATE) as busy:
            began = time.monotonic()
            ready = await watcher.until(MOST, MOST, READY_SECONDS)
            await asyncio.sleep(STEADY_SECONDS)
        ended = time.monotonic()
        async with load(client, url, 2.0) as quiet:
            back = await watcher.until(1, 1, SCALE_IN_SECONDS + 30)
            await asyncio.sleep(2)
    report(busy, quiet, began, watcher)
    assert watcher.first(MOST) - began < ASKED_SECONDS
    assert {sent.status for sent in busy} <= {200, 503}, "nothing is lost; what is too much is refused"
    assert {sent.status for sent in busy if sent.at > ready + 1} == {200}, "nothing is refused within capacity"
    assert {sent.status for sent in quiet} == {200}, "scale-in loses nothing"
    assert max(size.desired for size in watcher.sizes) == MOST
    assert max(size.ready for size in watcher.sizes) <= MOST
    assert back - ended > SCALE_IN_SECONDS - 10, "replicas stay for a minute of lower need"


def report(busy: list[Sent], quiet: list[Sent], began: float, watcher: Watcher) -> None:
    """Shown when the test fails, and with `-s`."""
    print(f"busy {dict(Counter(s.status for s in busy))}, quiet {dict(Counter(s.status for s in quiet))}")
    print(
        f"last refusal {max((s.at - began for s in busy if s.status == 503), default=0):.1f} s after the first request"
    )
    changes: list[tuple[Any, ...]] = []
    for size in watcher.sizes:
        if not changes or changes[-1][1:] != (size.desired, size.ready):
            changes.append((round(size.at - began, 1), size.desired, size.ready))
    print(f"seconds, desired, ready: {changes}")


def test_from_one_replica_to_three_and_back(outhaul: Outhaul, service: tuple[str, str]) -> None:
    asyncio.run(drive(outhaul, *service))
