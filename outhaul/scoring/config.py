"""What a replica was told: one JSON object, read once at start."""

from __future__ import annotations

import dataclasses
import json
import os
from dataclasses import dataclass, field
from typing import Any, Mapping

MAX_BODY_BYTES = 100 * 1024 * 1024


class ConfigError(Exception):
    """The configuration cannot be used; the text says what was found and what was expected."""


@dataclass(frozen=True)
class Config:
    """Times are milliseconds, paths absolute unless said otherwise. Names follow `ReplicaTemplate`."""

    source_directory: str
    """First entry of sys.path, and the script's working directory."""
    score_script: str
    """Relative to `source_directory`."""
    service: str = "ML service"
    version: int = 1
    replica: str = ""
    workspace: str = ""
    app_root: str = ""
    """v1's AML_APP_ROOT. Default: `source_directory`."""
    model_dir: str = ""
    """v1's AZUREML_MODEL_DIR."""
    host: str = "127.0.0.1"
    port: int = 0
    """Of the scoring listener; 0 picks a free one, which the state file and /status then name."""
    health_socket: str = ""
    """Path of a Unix socket for the health listener; without it health listens on `host`:`health_port`."""
    health_port: int = 0
    concurrency: int = 1
    """How many calls of run() at once."""
    scoring_timeout_ms: int = 60_000
    """After this the client gets its answer; the worker stays busy until run() returns."""
    max_queue_wait_ms: int = 500
    """With `scoring_timeout_ms`: how long a request without a deadline of its own may wait for a worker."""
    drain_quiet_ms: int = 500
    """How long the listener stays open after readiness turned false, so that whoever routes here can see it."""
    drain_limit_ms: int = 0
    """How long draining may take in all. 0: queue wait + scoring timeout + 5 s."""
    stuck_after_ms: int = 300_000
    """The replica stops being live when every worker has been in one call for longer than its timeout plus this."""
    max_body_bytes: int = MAX_BODY_BYTES
    path_prefix: str = ""
    """Default: `/api/v1/service/<service>`."""
    response_headers: Mapping[str, str] = field(default_factory=dict)
    """Added to every scoring answer."""
    state_file: str = ""
    """Where each change of state is written as JSON (whole or not at all)."""
    access_log: bool = True
    """One line per request on standard error."""

    @property
    def prefix(self) -> str:
        return "/" + (self.path_prefix or "api/v1/service/" + self.service).strip("/")

    @property
    def drain_seconds(self) -> float:
        longest = self.max_queue_wait_ms + self.scoring_timeout_ms + 5_000
        return (self.drain_limit_ms or longest) / 1000.0

    @property
    def script_path(self) -> str:
        return os.path.join(self.source_directory, self.score_script)

    def env_vars(self) -> dict[str, str]:
        """The environment variables that v1's score scripts read."""
        root = self.app_root or self.source_directory
        return {
            "AML_APP_ROOT": root,
            "AZUREML_ENTRY_SCRIPT": self.score_script,
            "AZUREML_MODEL_DIR": self.model_dir,
            "AZUREML_SOURCE_DIRECTORY": self.source_directory,
            "SCORING_TIMEOUT_MS": str(self.scoring_timeout_ms),
            "SERVICE_NAME": self.service,
            "SERVICE_PATH_PREFIX": self.prefix.lstrip("/"),
            "SERVICE_VERSION": str(self.version),
            "WORKSPACE_NAME": self.workspace,
        }


def parse(text: str) -> Config:
    """ConfigError names every problem at once."""
    try:
        found = json.loads(text)
    except ValueError as error:
        raise ConfigError(f"the scoring configuration is not JSON: {error}") from error
    if not isinstance(found, dict):
        raise ConfigError(f"the scoring configuration is a JSON {type(found).__name__}, expected an object")
    problems = list(_problems(found))
    if problems:
        raise ConfigError("; ".join(problems))
    return Config(**found)


def _problems(found: Mapping[str, Any]) -> list[str]:
    fields = {f.name: f for f in dataclasses.fields(Config)}
    problems = [f"unknown key `{name}`" for name in found if name not in fields]
    problems += [f"`{name}` is missing" for name in ("source_directory", "score_script") if not found.get(name)]
    for name, value in found.items():
        if name not in fields:
            continue
        kind = {"str": str, "int": int, "bool": bool}.get(str(fields[name].type), dict)
        if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
            problems.append(f"`{name}` is {value!r}, expected {kind.__name__}")
        elif isinstance(value, int) and value < (1 if name in ("concurrency", "scoring_timeout_ms") else 0):
            problems.append(f"`{name}` is {value}, which is too small")
    return problems
