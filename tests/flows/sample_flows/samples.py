"""A small flow that the tests of the starter execute."""

from __future__ import annotations

import time
from pathlib import Path

from prefect import flow, get_run_logger, runtime, task
from prefect.cache_policies import NO_CACHE


def note(book: str, line: str) -> None:
    with Path(book).open("a") as file:
        file.write(f"{line}\n")


@task(cache_policy=NO_CACHE)
def write_down(book: str, line: str) -> None:
    note(book, line)


@flow
def sleeper(book: str, hold: str = "", seconds: float = 60.0) -> None:
    """Write down that it started, wait while a file exists, write down how that went.

    Args:
        book: path of the file to write to
        hold: path of the file whose end it waits for
        seconds: how long to wait at most
    """
    note(book, "start")
    get_run_logger().info("asleep as %s", runtime.flow_run.id)
    write_down(book, "task")
    try:
        deadline = time.monotonic() + seconds
        while hold and Path(hold).exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        note(book, "awake")
    finally:
        note(book, "released")
