"""A workspace whose ports are doubles, for the library's own rules."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from outhaul.ports import ScriptSpec
from outhaul.service.replica import ReplicaTemplate
from outhaul.settings import read_settings
from outhaul.store.records import Records
from outhaul.workspace import Workspace, open_workspace
from tests.fakes import FakeCluster, FakeCompute, FakeObjectStore, FakeSecrets

Script = Callable[[Path, ScriptSpec], tuple[int, bytes]]


def good_script(project: Path, spec: ScriptSpec) -> tuple[int, bytes]:
    (project / "outputs").mkdir(exist_ok=True)
    (project / "outputs" / "model.pkl").write_bytes(b"model")
    (project / "outputs" / "metrics.json").write_text('{"accuracy": 0.97}')
    return 0, b"training\ndone\n"


class ReadyCluster(FakeCluster):
    """A cluster whose replicas are ready at once."""

    def apply(self, template: ReplicaTemplate, replicas: int) -> None:
        super().apply(template, replicas)
        self.settle()


@dataclass(frozen=True)
class Fakes:
    workspace: Workspace
    compute: FakeCompute
    cluster: FakeCluster
    secrets: FakeSecrets


def fake_workspace(root: Path, script: Script = good_script, cluster: FakeCluster | None = None) -> Fakes:
    """Records, secrets, compute and cluster in memory; environments in folders below `root`."""
    settings = replace(read_settings({"OUTHAUL_HOME": str(root / "home")}), ready_seconds=0.0)
    store, secrets = FakeObjectStore(), FakeSecrets()
    compute, replicas = FakeCompute(root / "slots", script), cluster or ReadyCluster()
    opened = replace(
        open_workspace(settings),
        store=store,
        records=Records(store, pause=lambda seconds: None),
        secrets=secrets,
        compute=compute,
        cluster=replicas,
    )
    return Fakes(opened, compute, replicas, secrets)
