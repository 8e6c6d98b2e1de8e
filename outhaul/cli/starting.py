"""Starting flows from the command line: everything that can be refused is refused here, before anything is changed."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from outhaul.errors import NotFound
from outhaul.machine import bring_up, check_ports, prefect_api_url
from outhaul.model.record import Model
from outhaul.ports import FlowRun, FlowStarter
from outhaul.project.description import Overrides, Project
from outhaul.project.quantities import parse_replicas
from outhaul.project.sources import snapshot_reference
from outhaul.run.planning import plan_run
from outhaul.run.record import Run
from outhaul.service.deployer_lock import DeployerLock
from outhaul.service.keys import ensure_keys
from outhaul.service.rollout import find_service
from outhaul.settings import Settings
from outhaul.store.keys import run_record
from outhaul.workspace import Workspace


def say(text: str) -> None:
    """What takes long, for the person who waits."""
    click.echo(f"… {text}", err=True)


def starter(settings: Settings) -> FlowStarter:
    """What reaches Prefect."""
    from outhaul.adapters.prefect_starter import PrefectStarter

    return PrefectStarter(settings.home, prefect_api_url(settings))


def start_project(opened: Workspace, kind: str, path: Path, flags: Overrides, switches: Mapping[str, bool]) -> FlowRun:
    """Check the project, take its snapshot, and start `deploy` or `train` on it."""

    def agree(project: Project) -> None:
        if kind == "deploy":
            DeployerLock(opened.records).check_free(project.service_name, time.time())

    check_ports(opened.settings)
    plan = plan_run(opened, str(path.absolute()), flags, kind, agree)
    parameters: dict[str, Any] = {
        "project": snapshot_reference(plan.snapshot, plan.git_commit, plan.git_dirty),
        "overrides": _form(flags, plan.project.name),
        **switches,
    }
    if kind == "deploy":
        name = plan.project.service_name
        ensure_chosen_keys(opened, name, plan.project.keys)
        parameters |= {"service": name, "replicas": flags.replicas or ""}
    bring_up(opened.settings, say)
    return starter(opened.settings).start({"deploy": "deploy/deploy", "train": "run/train"}[kind], parameters)


def start_rollout(
    opened: Workspace, folder: Path, name: str, models: list[str], replicas: str | None, flags: Mapping[str, str | None]
) -> FlowRun:
    """Check the score files and models, and start a rollout without training."""
    from outhaul.model.registry import find_model

    given: dict[str, Any] = {key: value for key, value in flags.items() if value is not None}
    overrides = Overrides(service=name, replicas=replicas, **given)
    found: list[Model] = []

    def agree(project: Project) -> None:
        found.extend(find_model(opened, reference) for reference in models)
        DeployerLock(opened.records).check_free(name, time.time())

    check_ports(opened.settings)
    plan = plan_run(opened, str(folder.absolute()), overrides, "serve", agree)
    ensure_chosen_keys(opened, name, plan.project.keys)
    parameters = {
        "project": snapshot_reference(plan.snapshot, plan.git_commit, plan.git_dirty),
        "service": name,
        "models": [str(model.ref) for model in found],
        "replicas": replicas or "",
        "overrides": _form(overrides, plan.project.name),
    }
    bring_up(opened.settings, say)
    return starter(opened.settings).start("rollout/rollout", parameters)


def start_update(opened: Workspace, name: str, models: list[str], replicas: str | None) -> FlowRun:
    """Start a rollout of what the service serves now, with what is named here in place of it."""
    from outhaul.model.registry import find_model

    live = find_service(opened, name).live
    if not live:
        raise NotFound(
            "nothing-served",
            f"`{name}` serves no version that could be updated",
            expected="a service with a version that answers requests",
            remedy="deploy it first with `outhaul deploy` or `outhaul service create`",
        )
    if replicas:
        parse_replicas(replicas)
    named = [str(find_model(opened, reference).ref) for reference in models]
    DeployerLock(opened.records).check_free(name, time.time())
    check_ports(opened.settings)
    origin = opened.records.find(run_record(live[0].run), Run)
    earlier = origin.parameters if origin else {}
    parameters = {
        "project": f"snapshot:{live[0].snapshot}",
        "service": name,
        "models": named or [str(ref) for ref in live[0].models],
        "replicas": replicas or earlier.get("replicas") or "",
        "overrides": earlier.get("overrides"),
    }
    bring_up(opened.settings, say)
    return starter(opened.settings).start("rollout/rollout", parameters)


def ensure_chosen_keys(opened: Workspace, name: str, chosen: Any) -> None:
    """Keys that the user wrote into the project go to the SecretStore here; the snapshot holds none."""
    if chosen.primary_key or chosen.secondary_key:
        ensure_keys(opened.secrets, name, chosen)


def _form(flags: Overrides, name: str) -> dict[str, Any]:
    """The overrides as the flow's parameter. The name goes along: a snapshot has no folder name to take it from."""
    fields = {field: getattr(flags, field) for field in flags.__struct_fields__ if field not in ("service", "replicas")}
    return {key: value for key, value in {**fields, "name": name}.items() if value is not None}
