"""A model: named, versioned files and where they came from. Pure."""

from __future__ import annotations

import re
from typing import Any

import msgspec

from outhaul.errors import Refused
from outhaul.run.record import OutputFile
from outhaul.service.record import ModelRef

MODEL_NAME = re.compile(r"^[a-zA-Z0-9][a-zA-Z0-9\-\._]{0,254}$")


class Provenance(msgspec.Struct, kw_only=True):
    """Where a model came from. Fields are empty for a model that was registered from a local path."""

    run: str = ""
    snapshot: str = ""
    environment: str = ""
    git_commit: str = ""
    git_dirty: bool = False
    arguments: list[str] = []
    packages: dict[str, str] = {}
    metrics: dict[str, Any] = {}


class Model(msgspec.Struct, kw_only=True):
    """The record `models/<name>/<version>.json`."""

    schema: int = 1
    name: str
    version: int
    created_at: str
    digest: str
    """sha256 over the sorted (path, sha256) lines of its files: equal files, equal digest."""
    location: str
    """Key prefix of its files in the object store: a run's saved outputs, or files of its own. Never changed."""
    files: list[OutputFile]
    """Paths as they stand below AZUREML_MODEL_DIR; `location + path` is the key."""
    tags: dict[str, str] = {}
    description: str = ""
    provenance: Provenance = msgspec.field(default_factory=Provenance)

    @property
    def ref(self) -> ModelRef:
        return ModelRef(self.name, self.version)

    @property
    def bytes(self) -> int:
        return sum(file.bytes for file in self.files)


def check_model_name(name: str) -> None:
    """Refuse a name outside v1's rule."""
    if not MODEL_NAME.fullmatch(name):
        raise Refused(
            "model-name",
            f"`{name}` cannot name a model",
            found=repr(name),
            expected="1 to 255 letters, digits, `-`, `.` and `_`, a letter or digit first",
            remedy="choose another name with --name, or `models: [{name: …}]` in outhaul.yaml",
        )


def parse_model_ref(text: str) -> tuple[str, int | None]:
    """`name` or `name:version` → (name, version or None for the newest)."""
    name, _, version = text.partition(":")
    check_model_name(name)
    if version and not version.isdecimal():
        raise Refused(
            "model-version",
            f"`{text}` names no model version",
            found=repr(version),
            expected="a whole number after the colon, or no colon for the newest version",
            remedy=f"list the versions with `outhaul model list --name {name}`",
        )
    return name, int(version) if version else None
