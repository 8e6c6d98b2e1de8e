"""A home that is up, and the command line as a user calls it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import yaml

from outhaul.home import Home
from outhaul.run.flow_folder import FlowFolder, flow_is_alive, folder_of
from outhaul.run.record import Run
from outhaul.settings import read_settings
from outhaul.store.keys import run_record
from outhaul.store.records import Records
from outhaul.workspace import Workspace, open_workspace

PROJECTS = Path(__file__).parent / "projects"
COMMAND_SECONDS = 240.0

T = TypeVar("T", bound=msgspec.Struct)


@dataclass(frozen=True)
class Answer:
    """What a command printed and how it ended."""

    status: int
    out: bytes
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    @property
    def error(self) -> dict[str, Any]:
        """The error on the last line of stderr, as `-o json` writes it."""
        return dict(json.loads(self.err.splitlines()[-1])["error"])

    @property
    def run_id(self) -> str:
        """The run that the command said it started."""
        return next(line.split()[1] for line in self.err.splitlines() if line.startswith("run "))


@dataclass(frozen=True)
class Machine:
    """One home, its processes, and the env vars of whoever calls the command line."""

    home: Home
    env_vars: Mapping[str, str] = field(default_factory=dict)

    def call(self, *words: str, **env_vars: str) -> Answer:
        """`outhaul WORDS`."""
        done = subprocess.run(
            [sys.executable, "-m", "outhaul.cli", *words],
            env={**os.environ, **self.env_vars, **env_vars},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=COMMAND_SECONDS,
            check=False,
        )
        return Answer(done.returncode, done.stdout, done.stderr.decode(errors="replace"))

    def ok(self, *words: str, **env_vars: str) -> Answer:
        """As `call`, for what must succeed."""
        answer = self.call(*words, **env_vars)
        assert answer.status == 0, answer.err
        return answer

    @property
    def workspace(self) -> Workspace:
        return open_workspace(read_settings(self.env_vars))

    @property
    def records(self) -> Records:
        return self.workspace.records

    def run(self, run_id: str) -> Run:
        return self.records.read(run_record(run_id), Run)[0]

    def flow(self, run_id: str) -> FlowFolder:
        return folder_of(self.home, run_id)

    def flow_alive(self, run_id: str) -> bool:
        return flow_is_alive(self.home, run_id)


def project(folder: Path, template: str, change: Callable[[dict[str, Any]], None] = lambda _: None) -> Path:
    """A copy of a project below `projects/`, its outhaul.yaml changed."""
    target = folder / template
    target.mkdir(parents=True)
    for file in (PROJECTS / template).iterdir():
        (target / file.name).write_bytes(file.read_bytes())
    described = yaml.safe_load((target / "outhaul.yaml").read_text())
    change(described)
    (target / "outhaul.yaml").write_text(yaml.safe_dump(described))
    return target
