"""`outhaul …` as a process of its own, as scripts call it, on a home where nothing runs."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

from outhaul.home import Home

SECONDS = 60.0


@dataclass(frozen=True)
class Answer:
    status: int
    out: str
    err: str


@dataclass(frozen=True)
class Command:
    """The command line on one home. Called with arguments, it answers with status, stdout and stderr."""

    home: Home
    more: dict[str, str] = field(default_factory=dict)

    @property
    def env_vars(self) -> dict[str, str]:
        given = {name: value for name, value in os.environ.items() if not name.startswith(("OUTHAUL_", "PREFECT_"))}
        shared = str(self.home.root / "cache" / "global")
        return {**given, "OUTHAUL_HOME": str(self.home.root), "OUTHAUL_GLOBAL_ENVIRONMENTS": shared, **self.more}

    def setting(self, **more: str) -> Command:
        """The same with more environment variables."""
        return Command(self.home, {**self.more, **more})

    def __call__(self, *arguments: str | Path) -> Answer:
        argv = [sys.executable, "-m", "outhaul.cli", *map(str, arguments)]
        done = subprocess.run(
            argv,
            env=self.env_vars,
            cwd=self.home.root.parent,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=SECONDS,
        )
        return Answer(done.returncode, done.stdout, done.stderr)
