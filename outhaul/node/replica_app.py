"""What a replica is made of, brought to a folder once per template: the score files and the models, in v1's layout.

    <app>/source/                                  the snapshot
    <app>/azureml-models/<name>/<version>/…        the models

All of the template's replicas read it; none writes to it.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import msgspec

from outhaul.adapters.bundle import ensure_bundle, serve_command
from outhaul.adapters.environment_folder import FolderEnvironmentStore
from outhaul.adapters.folder_store import FolderStore
from outhaul.errors import Failed, NotFound
from outhaul.home import Home
from outhaul.model.record import Model
from outhaul.node.replica_keeper import Place
from outhaul.node.state import ReplicaCommand
from outhaul.ports import BuiltEnvironment, ObjectStore
from outhaul.service.record import ModelRef
from outhaul.service.replica import ReplicaTemplate
from outhaul.store.keys import model_record, snapshot_zip

MODELS = "azureml-models"
SOURCE = "source"
NOT_INHERITED = ("PYTHON", "VIRTUAL_ENV", "CONDA", "OUTHAUL_", "PREFECT_", "UV_", "PIP_", "AZUREML_", "AML_")
"""Beginnings of env vars of the node that would lead an environment's own Python astray."""


class ScoringLauncher:
    """Prepares replicas that run the scoring server on the environment's own Python."""

    def __init__(self, home: Home) -> None:
        self._home = home
        self._store: ObjectStore = FolderStore(home.store)
        self._environments = FolderEnvironmentStore(home.environments, "workspace")

    def prepare(self, template: ReplicaTemplate, folder: Path) -> ScoringApp:
        """NotFound when the environment, the snapshot or a model is gone; Failed when a model's content is not what
        was registered."""
        environment = self._environment(template)
        bundle = ensure_bundle(self._home.bundles, environment.python, environment.python_version)
        if not folder.is_dir():
            materialise(self._store, template, folder)
        return ScoringApp(template, folder, environment, bundle, self._home.sockets)

    def _environment(self, template: ReplicaTemplate) -> BuiltEnvironment:
        found = self._environments.find(template.environment)
        if found is None:
            raise NotFound(
                "environment-not-built",
                f"the environment of {template.deployment} is not on this machine",
                found=f"nothing for {template.environment} in {self._home.environments}",
                expected="a built environment",
                remedy=f"deploy the service {template.service} again: that builds it",
            )
        return found


@dataclass(frozen=True)
class ScoringApp:
    """A template's app, ready to be run."""

    template: ReplicaTemplate
    folder: Path
    environment: BuiltEnvironment
    bundle: Path
    sockets: Path

    def command(self, place: Place) -> ReplicaCommand:
        """Writes the scoring server's configuration to the place's folder."""
        self.sockets.mkdir(mode=0o700, parents=True, exist_ok=True)
        socket = self.sockets / f"{place.replica}.sock"
        socket.unlink(missing_ok=True)  # of an earlier start that was killed
        config = place.folder / "scoring.json"
        config.write_bytes(msgspec.json.encode(self._config(place, socket)))
        return ReplicaCommand(
            argv=serve_command(self.bundle, self.environment.python, config),
            env_vars=inherited(os.environ, self.environment.python) | self.template.env_vars,
            cwd=str(self.folder),
            health=f"http+unix://{quote(str(socket), safe='')}",
        )

    def _config(self, place: Place, socket: Path) -> dict[str, object]:
        template = self.template
        return {
            "source_directory": str((self.folder / SOURCE / template.source_directory).resolve()),
            "score_script": template.score_script,
            "service": template.service,
            "version": template.version,
            "replica": place.replica,
            "app_root": str(self.folder),
            "model_dir": str(model_dir(self.folder, template.models)),
            "port": place.port,
            "health_socket": str(socket),
            "concurrency": template.concurrency,
            "scoring_timeout_ms": template.scoring_timeout_ms,
            "max_queue_wait_ms": template.max_queue_wait_ms,
            # Which version answered: a rollout waits for it, and a client can tell.
            "response_headers": {"x-outhaul-version": str(template.version)},
        }


def model_dir(app: Path, models: list[ModelRef]) -> Path:
    """v1's AZUREML_MODEL_DIR: the version's own folder for a single model, the folder of all for several."""
    if len(models) == 1:
        return app / MODELS / models[0].name / str(models[0].version)
    return app / MODELS


def inherited(own: Mapping[str, str], python: Path) -> dict[str, str]:
    """The node's env vars as far as a replica gets them, with the environment's programs first on PATH."""
    kept = {name: value for name, value in own.items() if not name.startswith(NOT_INHERITED)}
    return kept | {"PATH": f"{python.parent}{os.pathsep}{own.get('PATH', os.defpath)}"}


def materialise(store: ObjectStore, template: ReplicaTemplate, folder: Path) -> None:
    """Bring the score files and the models to `folder`, all of it or nothing."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    for left_over in folder.parent.glob(f".{folder.name}-*"):
        shutil.rmtree(left_over)
    part = folder.with_name(f".{folder.name}-{uuid.uuid4().hex}")
    part.mkdir()
    try:
        _unpack_snapshot(store, template.snapshot, part)
        (part / MODELS).mkdir()
        for ref in template.models:
            _fetch_model(store, ref, part / MODELS / ref.name / str(ref.version))
        part.replace(folder)
    except BaseException:
        shutil.rmtree(part)
        raise


def _unpack_snapshot(store: ObjectStore, snapshot: str, part: Path) -> None:
    from outhaul.snapshot.archive import unzip

    packed = part / "snapshot.zip"
    store.download(snapshot_zip(snapshot), packed)
    (part / SOURCE).mkdir()
    unzip(packed, part / SOURCE)
    packed.unlink()


def _fetch_model(store: ObjectStore, ref: ModelRef, target: Path) -> None:
    model = msgspec.json.decode(store.get(model_record(ref.name, ref.version))[0], type=Model)
    target.mkdir(parents=True)
    for file in model.files:
        path = target / file.path
        path.parent.mkdir(parents=True, exist_ok=True)
        store.download(model.location + file.path, path)
        _verify(path, file.sha256, ref)


def _verify(path: Path, expected: str, ref: ModelRef) -> None:
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != expected:
        raise Failed(
            "model-damaged",
            f"a file of the model {ref} is not what was registered",
            found=f"{path.name}: sha256 {found}",
            expected=f"sha256 {expected}",
            remedy="restore the store from its backup, or register the model again and deploy",
        )
    path.chmod(0o444)
