"""Logs of what the node runs: bounded, their last lines as a reason, and not kept for ever."""

from __future__ import annotations

import os
import shutil
from collections.abc import Collection
from pathlib import Path

from outhaul.adapters.process_cluster import OLD_LOG

MOST_LOG_BYTES = 10_000_000
ENDED_KEPT = 5
"""Logs of ended replicas that stay, per deployment."""
FOLDERS_KEPT = 20
"""Removed deployments whose logs stay."""
REASON_LINES = 15


def rotate(log: Path) -> None:
    """When too long: copy to the older piece and empty it. Its writer appends, so it goes on at the new end;
    what it writes during the copy may be lost."""
    try:
        if log.stat().st_size <= MOST_LOG_BYTES:
            return
    except FileNotFoundError:
        return
    part = log.with_name(f".{log.name}.part")
    shutil.copyfile(log, part)
    part.replace(log.with_suffix(OLD_LOG))
    os.truncate(log, 0)


def note(log: Path, text: str) -> None:
    """Add a line of the node's own."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("a") as file:
        file.write(f"[outhaul node] {text}\n")


def last_words(log: Path, lines: int = REASON_LINES) -> str:
    """What a process said last: from the start of the last traceback when there is one in its last lines."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - 8192))
            text = file.read().decode(errors="replace").rstrip()
    except FileNotFoundError:
        return ""
    said = [line for line in text.splitlines() if not line.startswith("[outhaul node]")]
    return "\n".join(said[-lines:])


def prune(logs: Path, living: Collection[Path], deployments: Collection[str]) -> None:
    """Remove all but the newest logs of ended replicas, and of deployments that are gone."""
    folders = [Path(entry.path) for entry in os.scandir(logs) if entry.is_dir()]
    for folder in folders:
        ended = sorted(path for path in folder.glob("*.log") if path not in living)
        for path in ended[:-ENDED_KEPT]:
            path.with_suffix(OLD_LOG).unlink(missing_ok=True)
            path.unlink()
    used = {path.parent for path in living} | {logs / name for name in deployments}
    gone = sorted((f for f in folders if f not in used), key=lambda folder: folder.stat().st_mtime)
    for folder in gone[:-FOLDERS_KEPT]:
        shutil.rmtree(folder)
