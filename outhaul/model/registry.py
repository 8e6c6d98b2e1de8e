"""The model registry: register from a run's outputs or a local path, find, list, download."""

from __future__ import annotations

import hashlib
import time
import uuid
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from outhaul.errors import Conflict, NotFound, Refused
from outhaul.model.downloads import download_files
from outhaul.model.record import Model, Provenance, check_model_name, parse_model_ref
from outhaul.run.outputs import read_manifest, upload_tree
from outhaul.run.record import OutputFile, Run
from outhaul.service.record import ModelRef
from outhaul.store.keys import model_files, model_record, run_files, run_record
from outhaul.times import iso
from outhaul.workspace import Workspace


def register_run_model(workspace: Workspace, run: Run, name: str, path: str, packages: dict[str, str]) -> Model:
    """Register what the run saved at `path` (`outputs/model.joblib`, or a folder) as the next version of `name`.

    Called again for the same run it answers with the version that it made before. NotFound when the run saved nothing
    at `path`.
    """
    check_model_name(name)
    if known := next((ref for ref in run.models if ref.name == name), None):
        return find_model(workspace, str(known))
    files = _run_files_at(workspace, run.id, path)
    parent = PurePosixPath(path).parent.as_posix()
    location = run_files(run.id) + ("" if parent == "." else parent + "/")
    model = _made_by(workspace, name, run) or _register(workspace, name, location, files, _provenance(run, packages))

    def add(record: Run) -> Run:
        if model.ref not in record.models:
            record.models.append(model.ref)
        return record

    workspace.records.update(run_record(run.id), Run, add)
    return model


def _made_by(workspace: Workspace, name: str, run: Run) -> Model | None:
    """The version that a flow registered just before it was killed, when its run does not tell of it yet."""
    return next((model for model in list_models(workspace, name) if model.provenance.run == run.id), None)


def register_path(workspace: Workspace, path: Path, name: str, tags: dict[str, str], description: str) -> Model:
    """Register a local file or folder as the next version of `name`."""
    check_model_name(name)
    if not path.exists():
        raise Refused(
            "model-path",
            "there is nothing to register",
            found=f"no file or folder at {path}",
            expected="a model file or a folder of model files",
            remedy="check the path",
        )
    # Blobs go up before the record that names them: a reader never sees a model without its files.
    location = model_files(name, uuid.uuid4().hex)
    files = upload_tree(path, workspace.store, location)
    return _register(workspace, name, location, files, Provenance(), tags=tags, description=description)


def find_model(workspace: Workspace, reference: str) -> Model:
    """The model `name:version`, or the newest version of `name`."""
    name, version = parse_model_ref(reference)
    if version is None:
        version = _next_version(workspace, name) - 1
    model = workspace.records.find(model_record(name, version), Model) if version else None
    if model is None:
        raise NotFound(
            "model-not-found",
            f"there is no model `{reference}`",
            found=_known(workspace, name),
            expected="a registered model, as `name` or `name:version`",
            remedy="list the models with `outhaul model list`, or register one with `outhaul model register`",
        )
    return model


def list_models(workspace: Workspace, name: str | None = None) -> list[Model]:
    """All versions of all models (or of `name`), by name, the newest first."""
    keys = [stored.key for stored in workspace.store.list(f"models/{name}/" if name else "models/")]
    models = [model for key in keys if (model := workspace.records.find(key, Model)) is not None]
    return sorted(models, key=lambda model: (model.name, -model.version))


def download_model(workspace: Workspace, model: Model, target: Path) -> list[Path]:
    """Write the model's files below `target`. Refused when that would overwrite something."""
    return download_files(workspace.store, model.location, model.files, target)


def _register(
    workspace: Workspace,
    name: str,
    location: str,
    files: Sequence[OutputFile],
    provenance: Provenance,
    **about: object,
) -> Model:
    """Take the next free version. Two registrations at once get two versions: creation is conditional."""
    while True:
        version = _next_version(workspace, name)
        model = Model(
            name=name,
            version=version,
            created_at=iso(time.time()),
            location=location,
            digest=_digest(files),
            files=list(files),
            provenance=provenance,
            **about,  # type: ignore[arg-type]
        )
        try:
            workspace.records.create(model_record(name, version), model)
        except Conflict:
            continue
        return model


def _next_version(workspace: Workspace, name: str) -> int:
    prefix = f"models/{name}/"
    versions = [int(stored.key[len(prefix) : -len(".json")]) for stored in workspace.store.list(prefix)]
    return max(versions, default=0) + 1


def _run_files_at(workspace: Workspace, run_id: str, path: str) -> list[OutputFile]:
    """The run's saved files at or below `path`, named from `path`'s last part on, as v1 lays models out."""
    strip = len(PurePosixPath(path).parent.as_posix()) + 1 if "/" in path else 0
    saved = [
        OutputFile(path=f"outputs/{file.path}"[strip:], bytes=file.bytes, sha256=file.sha256)
        for file in read_manifest(workspace.store, run_id)
        if f"outputs/{file.path}" == path or f"outputs/{file.path}".startswith(path.rstrip("/") + "/")
    ]
    if not saved:
        raise NotFound(
            "model-not-in-outputs",
            f"the run saved nothing at `{path}`",
            found=", ".join(f"outputs/{f.path}" for f in read_manifest(workspace.store, run_id)[:10])
            or "no outputs at all",
            expected=f"a file or folder `{path}`",
            remedy="write the model there in the entry script, or name its real place in `models: [{name, path}]`",
        )
    return saved


def _known(workspace: Workspace, name: str) -> str:
    versions = [str(model.version) for model in list_models(workspace, name)]
    return f"versions {', '.join(versions)}" if versions else f"no version of `{name}`"


def _digest(files: Sequence[OutputFile]) -> str:
    lines = "".join(f"{file.path}\0{file.sha256}\n" for file in sorted(files, key=lambda file: file.path))
    return hashlib.sha256(lines.encode()).hexdigest()


def _provenance(run: Run, packages: dict[str, str]) -> Provenance:
    return Provenance(
        run=run.id,
        snapshot=run.snapshot,
        environment=run.environment,
        git_commit=run.git_commit,
        git_dirty=run.git_dirty,
        arguments=run.arguments,
        packages=packages,
        metrics=run.metrics,
    )


def model_refs(models: Sequence[Model]) -> list[ModelRef]:
    """References, sorted, so that equal sets of models are equal lists."""
    return sorted(model.ref for model in models)
