"""Settings: defaults → environment variables → checked values. The one reader of `OUTHAUL_*`.

Every setting has a default that runs the demo. `docs/reference/settings.md` lists them; a test holds it to this file.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from outhaul.errors import Refused
from outhaul.home import Home

HOME_FOLDER = ".outhaul"
MOST_PORT = 65_535
Default = TypeVar("Default", int, None)


@dataclass(frozen=True)
class Settings:
    """What an operator may change. Each field names its environment variable, unit and default's reason."""

    home: Home
    """`OUTHAUL_HOME`: where records, environments and everything that runs stand. Default: the nearest folder
    `.outhaul` in or above the current one, as git finds its own; else `outhaul` under `XDG_DATA_HOME`."""
    global_environments: Path
    """`OUTHAUL_GLOBAL_ENVIRONMENTS`: the global store of environments, shared by all homes of this user."""
    router_port: int | None = None
    """`OUTHAUL_ROUTER_PORT`: port of the router. None: a free one is picked once, then kept."""
    prefect_port: int | None = None
    """`OUTHAUL_PREFECT_PORT`: port of the Prefect server. None: a free one is picked once, then kept."""
    prefect_api_url: str | None = None
    """`PREFECT_API_URL`: an existing Prefect server. None: `outhaul up` keeps one of its own."""
    slots: int = 2
    """`OUTHAUL_SLOTS`: runs that this machine executes at once. Two, so that one long run does not block a second."""
    slot_wait_seconds: float = 3600.0
    """`OUTHAUL_SLOT_WAIT_SECONDS`: how long a run waits for a free slot before it gives up."""
    snapshot_max_bytes: int = 300_000_000
    """`OUTHAUL_SNAPSHOT_MAX_BYTES`: v1's limit of 300 MB, after ignore rules."""
    snapshot_max_files: int = 2_000
    """`OUTHAUL_SNAPSHOT_MAX_FILES`: v1's limit of 2,000 files, after ignore rules."""
    ready_seconds: float = 1200.0
    """`OUTHAUL_READY_SECONDS`: how long a rollout waits for its replicas. v1's limit of 20 minutes."""


def read_settings(env: Mapping[str, str] = os.environ, folder: Path | None = None) -> Settings:
    """The settings that `env` asks for in `folder` (the current one). Refused when a value cannot be read."""
    data_home = Path(env.get("XDG_DATA_HOME") or Path(env.get("HOME", "/tmp")) / ".local" / "share")
    home = Path(env.get("OUTHAUL_HOME") or _nearest(folder or Path.cwd()) or data_home / "outhaul")
    shared = env.get("OUTHAUL_GLOBAL_ENVIRONMENTS") or data_home / "outhaul-global" / "environments"
    return Settings(
        home=Home(home.expanduser().absolute()),
        global_environments=Path(shared).expanduser().absolute(),
        router_port=_number(env, "OUTHAUL_ROUTER_PORT", None, MOST_PORT),
        prefect_port=_number(env, "OUTHAUL_PREFECT_PORT", None, MOST_PORT),
        prefect_api_url=env.get("PREFECT_API_URL") or None,
        slots=_number(env, "OUTHAUL_SLOTS", 2),
        slot_wait_seconds=float(_number(env, "OUTHAUL_SLOT_WAIT_SECONDS", 3600)),
        snapshot_max_bytes=_number(env, "OUTHAUL_SNAPSHOT_MAX_BYTES", 300_000_000),
        snapshot_max_files=_number(env, "OUTHAUL_SNAPSHOT_MAX_FILES", 2_000),
        ready_seconds=float(_number(env, "OUTHAUL_READY_SECONDS", 1200)),
    )


def _nearest(folder: Path) -> Path | None:
    found = (place / HOME_FOLDER for place in (folder, *folder.parents))
    return next((home for home in found if home.is_dir()), None)


def _number(env: Mapping[str, str], name: str, default: Default, most: int | None = None) -> int | Default:
    text = env.get(name, "").strip()
    if not text:
        return default
    if not text.isdecimal() or int(text) < 1 or (most is not None and int(text) > most):
        raise Refused(
            "setting",
            f"the setting {name} cannot be read",
            found=repr(text),
            expected=f"a whole number from 1 to {most}" if most else "a whole number above 0",
            remedy=f"set {name} to such a number, or unset it for its default",
        )
    return int(text)
