"""What surrounds the steps: the run's record, the deployer's lock, and the guarantee that compute is given back."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from prefect import runtime
from prefect.client.schemas.objects import FlowRun, State
from prefect.flows import Flow
from pydantic_core import to_jsonable_python

from outhaul.run.lifecycle import LEASE_SECONDS, begin_run, finish_run, heartbeat, release_run
from outhaul.service.deployer_lock import DeployerLock
from tasks.compute import scale_down_compute
from tasks.context import RunRef
from tasks.report import publish_report


@contextmanager
def open_run(kind: str, workspace: str) -> Iterator[RunRef]:
    """The run's record from its beginning to its final state, under the flow run's id."""
    run = RunRef(id=str(runtime.flow_run.id), workspace=workspace)
    opened = run.opened
    about = {
        "name": runtime.flow_run.name,
        "project": "",
        "parameters": to_jsonable_python(runtime.flow_run.parameters),
        "flow_run_url": (runtime.flow_run.ui_url or "").replace("/flow-runs/", "/runs/"),
    }
    begin_run(opened, run.id, kind, about)
    try:
        with heartbeat(lambda: opened.compute.extend(run.id, time.time() + LEASE_SECONDS)):
            yield run
    except BaseException as error:
        finish_run(opened, run.id, error)
        publish_report(run)
        raise
    finish_run(opened, run.id)
    publish_report(run)


@contextmanager
def deploying(run: RunRef, service: str) -> Iterator[int]:
    """Hold the service's deployer lock. Conflict when another run deploys it. Yields the fence of all writes."""
    lock = DeployerLock(run.opened.records)
    fence = lock.acquire(service, run.id, time.time())
    try:
        with heartbeat(lambda: lock.renew(service, run.id, fence, time.time())):
            yield fence
    finally:
        lock.release(service, run.id, fence)


@contextmanager
def released(run: RunRef) -> Iterator[None]:
    """Give compute back however the block ends; without the Prefect server, too."""
    try:
        yield
    finally:
        try:
            scale_down_compute(run)
        except BaseException:
            release_run(run.opened, run.id)
            raise


def release_hook(flow: Flow[..., Any], flow_run: FlowRun, state: State[Any]) -> None:
    """Give compute back from whichever process learns of the end. Prefect calls hooks by these parameter names."""
    run = RunRef(id=str(flow_run.id), workspace=flow_run.parameters.get("workspace", "default"))
    release_run(run.opened, run.id)
