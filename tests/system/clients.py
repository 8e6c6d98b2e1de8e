"""Clients that ask all the time, for tests that change a service under their requests."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx

PAUSE_SECONDS = 0.02


@dataclass
class Answers:
    """What came back, in order; what got no answer has its error in place of a status."""

    statuses: list[int | str] = field(default_factory=list)
    bodies: list[Any] = field(default_factory=list)

    @property
    def lost(self) -> list[int | str]:
        """Whatever was not answered with 200."""
        return [status for status in self.statuses if status != 200]


@contextmanager
def asking(url: str, key: str, body: object, clients: int = 2) -> Iterator[Answers]:
    """So many clients send one request after the other while the block runs."""
    answers, stop = Answers(), threading.Event()
    threads = [threading.Thread(target=_client, args=(url, key, body, answers, stop)) for _ in range(clients)]
    for thread in threads:
        thread.start()
    try:
        yield answers
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def _client(url: str, key: str, body: object, answers: Answers, stop: threading.Event) -> None:
    with httpx.Client(trust_env=False, timeout=30, headers={"Authorization": f"Bearer {key}"}) as client:
        while not stop.is_set():
            try:
                reply = client.post(url, json=body)
                answers.statuses.append(reply.status_code)
                answers.bodies.append(reply.json())
            except httpx.HTTPError as error:
                answers.statuses.append(repr(error))
            time.sleep(PAUSE_SECONDS)
