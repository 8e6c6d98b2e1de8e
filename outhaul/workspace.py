"""A workspace: the ports that everything else works with, and the one place that chooses what stands behind them."""

from __future__ import annotations

from dataclasses import dataclass

from outhaul.ports import Cluster, Compute, EnvironmentStore, ImageBuilder, ObjectStore, SecretStore
from outhaul.settings import Settings
from outhaul.store.records import Records


@dataclass(frozen=True)
class Workspace:
    """What a step may touch."""

    settings: Settings
    store: ObjectStore
    records: Records
    secrets: SecretStore
    environments: EnvironmentStore
    global_environments: EnvironmentStore
    builder: ImageBuilder
    compute: Compute
    cluster: Cluster


def open_workspace(settings: Settings) -> Workspace:
    """The embedded workspace: everything on this machine, below `settings.home`."""
    from outhaul.adapters.environment_folder import FolderEnvironmentStore
    from outhaul.adapters.file_secrets import FileSecrets
    from outhaul.adapters.folder_store import FolderStore
    from outhaul.adapters.process_cluster import ProcessCluster
    from outhaul.adapters.process_compute import ProcessCompute
    from outhaul.adapters.uv_builder import UvBuilder
    from outhaul.snapshot.limits import UNPACK_LIMITS

    home = settings.home
    store = FolderStore(home.store)
    environments = FolderEnvironmentStore(home.environments, "workspace")
    return Workspace(
        settings=settings,
        store=store,
        records=Records(store),
        secrets=FileSecrets(home.secrets),
        environments=environments,
        global_environments=FolderEnvironmentStore(settings.global_environments, "global"),
        builder=UvBuilder(environments),
        compute=ProcessCompute(home, settings.slots, settings.slot_wait_seconds, limits=UNPACK_LIMITS),
        cluster=ProcessCluster(home),
    )
