"""Makes a Prefect server know Outhaul: work pool, deployments, blocks, and the automation that finds dead flow runs."""

from __future__ import annotations

import hashlib
import os
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

import outhaul
from outhaul.adapters import state_files
from outhaul.adapters.prefect_api import PrefectApi
from outhaul.adapters.prefect_server import HEARTBEAT_SECONDS, POOL, client_settings, prefect, prefect_folder
from outhaul.errors import Failed
from outhaul.home import Home

ZOMBIES = "outhaul: crash flow runs that fell silent"
SILENT_SECONDS = 4 * HEARTBEAT_SECONDS
REGISTER_SECONDS = 180.0
CODE = ("flows", "tasks", "blocks")


class Registered(msgspec.Struct, kw_only=True):
    """`registered.json`: what was registered last, and the deployments that the server must still have."""

    key: str
    deployments: list[str]


def register(home: Home, api_url: str, folder: Path | None = None) -> bool:
    """Register pool, deployments, blocks and automation of `folder` (default: the installation's own flows).

    Idempotent, and skipped when this very code is registered on this server already. Returns whether anything was
    done. Failed with Prefect's words when it refuses a deployment; Unreachable.
    """
    folder = folder or prefect_folder()
    key = registration_key(api_url, folder)
    with PrefectApi(api_url) as api:
        if _still_registered(api, home, key):
            return False
        _make_pool(api)
        _make_automation(api)
        # Prefect's own commands read prefect.yaml and the blocks: an operator can run the very same.
        _prefect_command(home, api_url, folder, "deploy", "--all")
        for block in sorted((folder / "blocks").glob("[a-z]*.py")):
            _prefect_command(home, api_url, folder, "block", "register", "--file", str(block))
        _remember(home, Registered(key=key, deployments=_deployments_of_pool(api)))
    return True


def registration_key(api_url: str, folder: Path) -> str:
    """Changes with the version, the server, the folder and every byte of the flows' code."""
    files = [folder / "prefect.yaml", *(p for part in CODE for p in sorted((folder / part).rglob("*.py")))]
    digest = hashlib.sha256(f"{outhaul.__version__}\0{api_url}\0{folder}".encode())
    for file in files:
        digest.update(f"\0{file.relative_to(folder)}\0".encode() + file.read_bytes())
    return digest.hexdigest()


def _still_registered(api: PrefectApi, home: Home, key: str) -> bool:
    known = state_files.read(home.prefect / "registered.json", Registered)
    return known is not None and known.key == key and set(known.deployments) <= set(_deployments_of_pool(api))


def _deployments_of_pool(api: PrefectApi) -> list[str]:
    """Ids, so that a server whose database was removed and made anew is not taken for the same."""
    found = api.call("POST", "/deployments/filter", {"work_pools": {"name": {"any_": [POOL]}}})
    return sorted(str(deployment["id"]) for deployment in found)


def _remember(home: Home, registered: Registered) -> None:
    target = home.prefect / "registered.json"
    target.parent.mkdir(parents=True, exist_ok=True)
    state_files.write(target, registered)


def _make_pool(api: PrefectApi) -> None:
    if api.find(f"/work_pools/{POOL}") is not None:
        return
    kinds = api.call("GET", "/collections/views/aggregate-worker-metadata")
    template = kinds["prefect"]["process"]["default_base_job_configuration"]
    description = "Executes Outhaul's flows as processes, next to the worker that `outhaul up` keeps."
    pool = {"name": POOL, "type": "process", "base_job_template": template, "description": description}
    api.call("POST", "/work_pools/", pool)


def _make_automation(api: PrefectApi) -> None:
    named = {"automations": {"name": {"any_": [ZOMBIES]}}}
    if not api.call("POST", "/automations/filter", named):
        api.call("POST", "/automations/", zombie_automation())


def zombie_automation() -> dict[str, Any]:
    """A flow run that sent a heartbeat and then nothing for some minutes has died with its machine: call it Crashed."""
    trigger = {
        "type": "event",
        "posture": "Proactive",
        "match": {"prefect.resource.id": "prefect.flow-run.*"},
        "for_each": ["prefect.resource.id"],
        "after": ["prefect.flow-run.heartbeat"],
        "expect": ["prefect.flow-run.*"],
        "threshold": 1,
        "within": SILENT_SECONDS,
    }
    message = f"No sign of life for {SILENT_SECONDS} s: the flow's machine or process is gone."
    crash = {"type": "change-flow-run-state", "state": "CRASHED", "name": "Crashed", "message": message}
    return {"name": ZOMBIES, "description": message, "enabled": True, "trigger": trigger, "actions": [crash]}


def _prefect_command(home: Home, api_url: str, folder: Path, *arguments: str) -> None:
    env_vars = {**os.environ, **client_settings(home, api_url, folder), "PYTHONPATH": str(folder)}
    argv = [*prefect(home), "--no-prompt", *arguments]
    try:
        done = subprocess.run(argv, cwd=folder, env=env_vars, capture_output=True, text=True, timeout=REGISTER_SECONDS)
    except subprocess.TimeoutExpired as error:
        raise _not_registered(arguments, f"no end after {REGISTER_SECONDS:g} s") from error
    if done.returncode != 0:
        raise _not_registered(arguments, (done.stdout + done.stderr)[-3000:].strip())


def _not_registered(arguments: Sequence[str], found: str) -> Failed:
    return Failed(
        "deployments-not-registered",
        "Prefect did not take Outhaul's deployments and blocks",
        found=found,
        expected=f"`prefect {' '.join(arguments)}` to succeed",
        remedy="read what Prefect says above; outhaul up tries again",
    )
