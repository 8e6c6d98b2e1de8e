"""From a project reference to what a run will do: the snapshot, the project's description, the environment's hash."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import msgspec

from outhaul.environment.definition import Environment, environment_hash
from outhaul.errors import Conflict
from outhaul.project.checks import check_project
from outhaul.project.description import Overrides, Project
from outhaul.project.files import load_project
from outhaul.project.packages import environment_of
from outhaul.project.sources import fetch_project, forget_clone, git_state
from outhaul.snapshot.limits import Limits
from outhaul.snapshot.taking import Snapshot, take_and_zip
from outhaul.store.keys import snapshot_manifest, snapshot_zip
from outhaul.workspace import Workspace


@dataclass(frozen=True)
class Plan:
    """All that the later steps need to know of the project. Values only: no client, no open file."""

    project: Project
    environment: Environment
    environment_hash: str
    snapshot: str
    """Digest."""
    snapshot_files: int
    snapshot_bytes: int
    git_commit: str
    git_dirty: bool
    warnings: tuple[str, ...] = ()


def plan_run(
    workspace: Workspace,
    reference: str,
    overrides: Overrides,
    kind: str,
    agree: Callable[[Project], None] = lambda project: None,
) -> Plan:
    """Read and check the project, take its snapshot, and store that. Refused before anything is changed.

    `kind` is `deploy`, `train` (no score script needed) or `serve` (no entry script needed). `agree` may raise what
    else speaks against this project, before its snapshot is stored.
    """
    folder = fetch_project(workspace, reference)
    try:
        project = load_project(folder, overrides)
        check_project(project, folder, kind)
        agree(project)
        environment = environment_of(project, folder)
        snapshot = store_snapshot(workspace, folder)
        commit, dirty = git_state(reference, folder)
    finally:
        forget_clone(workspace, folder)
    return Plan(
        project=project,
        environment=environment,
        environment_hash=environment_hash(environment),
        snapshot=snapshot.digest,
        snapshot_files=len(snapshot.files),
        snapshot_bytes=snapshot.bytes,
        git_commit=commit,
        git_dirty=dirty,
        warnings=tuple(snapshot.warnings),
    )


def store_snapshot(workspace: Workspace, folder: Path) -> Snapshot:
    """Take the folder's snapshot and bring it to the object store, unless it is there already."""
    limits = Limits(bytes=workspace.settings.snapshot_max_bytes, files=workspace.settings.snapshot_max_files)
    snapshot, archive = take_and_zip(folder, workspace.settings.home, limits)
    if workspace.store.head(snapshot_zip(snapshot.digest)) is None:
        workspace.store.upload(snapshot_zip(snapshot.digest), archive)
        try:
            workspace.store.put(snapshot_manifest(snapshot.digest), msgspec.json.encode(snapshot), if_absent=True)
        except Conflict:
            # Equal digest, equal manifest: another deployer stored the same snapshot first.
            return snapshot
    return snapshot
