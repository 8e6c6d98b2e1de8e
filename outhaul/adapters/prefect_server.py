"""The Prefect server and worker that `outhaul up` keeps: how they are started, and with which settings."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import outhaul
from outhaul.errors import NotFound
from outhaul.home import Home

POOL = "outhaul"
WORKER_LIMIT = 4
"""Flow runs that the worker executes at the same time. Runs started by the command line are not counted."""
POLL_SECONDS = 5
HEARTBEAT_SECONDS = 30
"""How often a flow run says that it lives. Prefect allows no less."""


def prefect_folder() -> Path:
    """The folder that holds flows/, tasks/, blocks/ and prefect.yaml: in a wheel its data, else the checkout.

    NotFound when Outhaul was installed without them.
    """
    package = Path(outhaul.__file__).resolve().parent
    candidates = (package / "_prefect", package.parent)
    for folder in candidates:
        if (folder / "prefect.yaml").is_file() and (folder / "flows").is_dir():
            return folder
    raise NotFound(
        "flows-missing",
        "this installation of Outhaul has no flows",
        found="no prefect.yaml in " + " or ".join(str(folder) for folder in candidates),
        remedy="reinstall: pip install --force-reinstall 'outhaul[flows]'",
    )


def own_api_url(port: int) -> str:
    """The API of the server that `outhaul up` keeps."""
    return f"http://127.0.0.1:{port}/api"


def ui_url(api_url: str, env_vars: Mapping[str, str] = os.environ) -> str:
    """Where a browser finds the server's pages."""
    return (env_vars.get("PREFECT_UI_URL") or api_url.removesuffix("/").removesuffix("/api")).rstrip("/")


def client_settings(home: Home, api_url: str, folder: Path | None = None) -> dict[str, str]:
    """Env vars of every process that executes our flows: a worker, an engine, a registration."""
    return {
        "OUTHAUL_HOME": str(home.root),
        "OUTHAUL_PREFECT_FOLDER": str(folder or prefect_folder()),
        "PREFECT_API_URL": api_url,
        "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": str(HEARTBEAT_SECONDS),
        "PREFECT_LOGGING_EXTRA_LOGGERS": "outhaul",
        "PREFECT_RESULTS_DEFAULT_SERIALIZER": "json",
        "PREFECT_RESULTS_LOCAL_STORAGE_PATH": str(home.prefect / "results"),
        **_quiet(home),
    }


def server_process(home: Home, port: int) -> dict[str, Any]:
    """The server as a process to be kept: loopback only, SQLite under the home, nothing sent anywhere."""
    env_vars = {
        "PREFECT_API_DATABASE_CONNECTION_URL": f"sqlite+aiosqlite:///{home.prefect / 'prefect.db'}",
        "PREFECT_SERVER_API_PORT": str(port),
        "PREFECT_SERVER_UI_API_URL": own_api_url(port),  # else the pages ask port 4200, wherever the server listens
        "PREFECT_SERVER_UI_STATIC_DIRECTORY": str(home.prefect / "ui"),
        "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
        **_quiet(home),
    }
    return {
        "name": "prefect-server",
        "argv": [*prefect(home), "server", "start", "--host", "127.0.0.1", "--port", str(port)],
        "env_vars": env_vars,
        "cwd": str(home.prefect),
        "ready": {"http": f"{own_api_url(port)}/health"},
    }


def worker_process(home: Home, api_url: str, folder: Path | None = None) -> dict[str, Any]:
    """The worker as a process to be kept. It executes what the UI, schedules and webhooks ask for."""
    argv = [*prefect(home), "worker", "start", "--pool", POOL, "--type", "process", "--limit", str(WORKER_LIMIT)]
    folder = folder or prefect_folder()
    env_vars = client_settings(home, api_url, folder) | {
        "PREFECT_WORKER_QUERY_SECONDS": str(POLL_SECONDS),
        "PREFECT_WORKER_HEARTBEAT_SECONDS": str(HEARTBEAT_SECONDS),
    }
    return {
        "name": "prefect-worker",
        "argv": [*argv, "--name", "outhaul-up"],
        "env_vars": env_vars,
        "cwd": str(folder),
    }


def prefect(home: Home) -> list[str]:
    """Prefect's command line."""
    return [*python(home), "-m", "prefect"]


def python(home: Home) -> list[str]:
    """Bytecode goes to a cache of ours: importing Prefect takes half the time, wherever it is installed."""
    return [sys.executable, "-X", f"pycache_prefix={home.cache / 'bytecode'}"]


def _quiet(home: Home) -> dict[str, str]:
    """No telemetry, no colours, and no profile of the user's own."""
    return {
        "DO_NOT_TRACK": "1",
        "PREFECT_CLI_COLORS": "false",
        "PREFECT_HOME": str(home.prefect),
        "PREFECT_LOGGING_COLORS": "false",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PYTHONDONTWRITEBYTECODE": "",
    }
