"""Where things stand on this machine. Every path that Outhaul writes below its home is named here and nowhere else."""

from __future__ import annotations

import hashlib
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Home:
    """The folder `OUTHAUL_HOME`: records, environments, secrets, and what runs on this machine."""

    root: Path

    @property
    def store(self) -> Path:
        """The embedded ObjectStore: records, snapshots, outputs, models."""
        return self.root / "store"

    @property
    def environments(self) -> Path:
        """The embedded workspace registry: one folder per built environment."""
        return self.root / "environments"

    @property
    def secrets(self) -> Path:
        """Plain keys, mode 0600, one file per name."""
        return self.root / "secrets"

    @property
    def runs(self) -> Path:
        """One folder per run and attempt: log, supervisor's files. Outlives the run's temporary storage."""
        return self.root / "runs"

    @property
    def slots(self) -> Path:
        """Embedded compute: one lease per slot, and the temporary storage of the run that holds it."""
        return self.root / "slots"

    @property
    def cluster(self) -> Path:
        """The embedded cluster: wanted deployments and observed replicas."""
        return self.root / "cluster"

    @property
    def router(self) -> Path:
        """HAProxy's configuration and maps, the agent's state."""
        return self.root / "router"

    @property
    def prefect(self) -> Path:
        """The Prefect server's and worker's files."""
        return self.root / "prefect"

    @property
    def node(self) -> Path:
        """Pid files and logs of what `outhaul up` keeps running, and the ports it picked."""
        return self.root / "node"

    @property
    def bundles(self) -> Path:
        """Scoring bundles, one per (our version, CPython minor, platform)."""
        return self.root / "bundles"

    @property
    def cache(self) -> Path:
        """What can be deleted at any time: the stat cache, downloaded zips."""
        return self.root / "cache"

    @property
    def sockets(self) -> Path:
        """Unix sockets. A short path of its own, since a socket's path may be no longer than 97 characters."""
        name = hashlib.sha256(str(self.root).encode()).hexdigest()[:12]
        base = os.environ.get("XDG_RUNTIME_DIR") or tempfile.gettempdir()
        return Path(base) / f"outhaul-{os.getuid()}-{name}"
