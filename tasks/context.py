"""What every task needs: the workspace by name, the run's journal, and the retry policy that errors carry."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from prefect import Task, get_run_logger
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State, TaskRun
from prefect.tasks import exponential_backoff

from blocks.workspace import open_named
from outhaul.errors import OuthaulError
from outhaul.run.journal import Journal, OpenStep
from outhaul.workspace import Workspace


@dataclass(frozen=True)
class RunRef:
    """The run that a task works for, by names only: tasks never exchange clients."""

    id: str
    workspace: str = "default"

    @property
    def opened(self) -> Workspace:
        return open_named(self.workspace)


def only_temporary(task: Task[..., Any], task_run: TaskRun, state: State[Any]) -> bool:
    """The error's type is the retry policy: trying again is for what may pass by itself."""
    try:
        state.result()
    except OuthaulError as error:
        return error.retry
    except Exception:  # noqa: BLE001 - a fault of ours is raised by the task itself; here it only decides on a retry
        return False
    return False


ONCE: dict[str, Any] = {"cache_policy": NO_CACHE, "persist_result": False}
"""For steps that follow something: they re-attach by themselves, and a retry would add nothing."""

REMOTE: dict[str, Any] = {
    **ONCE,
    "retries": 3,
    "retry_delay_seconds": exponential_backoff(2),
    "retry_jitter_factor": 0.5,
    "retry_condition_fn": only_temporary,
}
"""For steps that talk to a store, a registry or a cluster."""


@contextmanager
def step(run: RunRef, name: str, note: str = "") -> Iterator[tuple[Workspace, OpenStep]]:
    """Open the workspace and write the step into the run's journal."""
    workspace = run.opened
    with Journal(workspace.records, run.id, time.time).step(name, note) as opened:
        yield workspace, opened
    get_run_logger().info("%s: %s", opened.state, opened.text)
