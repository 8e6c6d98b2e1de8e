"""Every key in the object store. Records are JSON; blobs stand apart, so that listing records stays cheap."""

from __future__ import annotations


def run_record(run: str) -> str:
    return f"runs/{run}.json"


def run_files(run: str) -> str:
    """Prefix of a run's blobs: `outputs/…` and `logs/attempt-1.txt` below it."""
    return f"run-files/{run}/"


def model_record(name: str, version: int) -> str:
    return f"models/{name}/{version}.json"


def model_files(name: str, token: str) -> str:
    """Prefix of the blobs of a model that was registered from a local path. `token` is random: the blobs go up before
    the version is known, and two registrations at once must not meet."""
    return f"model-files/{name}/{token}/"


def service_record(name: str) -> str:
    return f"services/{name}.json"


def service_lock(name: str) -> str:
    return f"locks/service-{name}.json"


def snapshot_zip(digest: str) -> str:
    return f"snapshots/{digest}.zip"


def snapshot_manifest(digest: str) -> str:
    return f"snapshots/{digest}.json"
