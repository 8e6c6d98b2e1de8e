"""The real node with a stand-in for what brings the score files: `node.py HOME`."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path

from outhaul.errors import Failed
from outhaul.home import Home
from outhaul.node.daemon import run_node
from outhaul.node.replica_keeper import Place
from outhaul.node.state import ReplicaCommand
from outhaul.service.replica import ReplicaTemplate

REPLICA = Path(__file__).with_name("replica.py")


@dataclass(frozen=True)
class StandInApp:
    template: ReplicaTemplate
    folder: Path

    def command(self, place: Place) -> ReplicaCommand:
        own = {"PORT": str(place.port), "REPLICA": place.replica, "REPLICA_FOLDER": str(place.folder)}
        return ReplicaCommand(
            argv=[sys.executable, str(REPLICA)],
            env_vars={"PATH": os.defpath, **own, **self.template.env_vars},
            cwd=str(self.folder),
            health=f"http://127.0.0.1:{place.port}",
        )


class StandInLauncher:
    def prepare(self, template: ReplicaTemplate, folder: Path) -> StandInApp:
        if template.snapshot == "gone":
            raise Failed("snapshot-missing", "the snapshot is gone")
        folder.mkdir(parents=True, exist_ok=True)
        return StandInApp(template, folder)


if __name__ == "__main__":
    sys.exit(run_node(Home(Path(sys.argv[1])), StandInLauncher()))
