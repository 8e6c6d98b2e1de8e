"""Reading a project folder's description: flags > `outhaul.yaml` > v1's files > what the folder's files suggest."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from outhaul.azureml.deployment_config import deployment_layer
from outhaul.azureml.inference_config import inference_layer
from outhaul.azureml.run_config import SUFFIX, choose_runconfig, run_layer
from outhaul.errors import Refused
from outhaul.project.checks import check_project
from outhaul.project.description import Overrides, Project
from outhaul.project.document import Document, read_document
from outhaul.project.layers import Layer, default_name, finish, flags_layer, merge
from outhaul.project.packages import environment_of, read_text
from outhaul.project.typed_document import read_typed

__all__ = ["check_project", "environment_of", "load_project"]

PROJECT_FILES = ("outhaul.yaml", "outhaul.yml")
CONDA_FILES = tuple(
    f"{name}.{end}" for name in ("conda_dependencies", "environment", "conda") for end in ("yml", "yaml")
)


def load_project(root: Path, overrides: Overrides | None = None) -> Project:
    """The description of the project in `root`. Writes nothing. Refused for whatever cannot be read as one.

    The name falls back to the folder's; a caller that unpacks a snapshot elsewhere gives it in `overrides`.
    """
    flags = overrides or Overrides()
    if not root.is_dir():
        raise Refused(
            "project-missing",
            f"{root} is no project folder",
            found="a file" if root.exists() else "nothing there",
            expected="a folder that holds the project",
            remedy="give the folder's path; `outhaul deploy .` takes the current one",
        )
    layers = [flags_layer(flags), *_file_layers(root, flags.runconfig), {"name": default_name(root.resolve().name)}]
    return finish(merge(layers))


def _file_layers(root: Path, runconfig: str | None) -> Iterator[Layer]:
    described = _only(root, PROJECT_FILES)
    if described:
        yield read_typed(_document(root, described), Project)
    run = choose_runconfig([path.name for path in sorted((root / ".azureml").glob(f"*{SUFFIX}"))], runconfig)
    if run:
        yield run_layer(_document(root, f".azureml/{run}"))
    inference = _only(root, tuple(f"inferenceconfig.{end}" for end in ("json", "yml", "yaml")))
    if inference:
        document = _document(root, inference)
        yield inference_layer(document, lambda path: (root / path).is_file(), lambda path: read_text(root, path))
    deployment = _only(root, tuple(f"deploymentconfig.{end}" for end in ("json", "yml", "yaml")))
    if deployment:
        yield deployment_layer(_document(root, deployment))
    yield _conventions(root)


def _conventions(root: Path) -> Layer:
    """What a folder says by its files' names alone."""
    layer: dict[str, Layer] = {}
    if (root / "train.py").is_file():
        layer["train"] = {"script": "train.py"}
    if (root / "score.py").is_file():
        layer["score"] = {"script": "score.py"}
    conda = [name for name in (*CONDA_FILES, *(f".azureml/{name}" for name in CONDA_FILES)) if (root / name).is_file()]
    if (root / "requirements.txt").is_file():
        layer["environment"] = {"requirements": "requirements.txt"}
    elif conda:
        layer["environment"] = {"conda_file": conda[0]}
    return layer


def _only(root: Path, names: Sequence[str]) -> str | None:
    found = [name for name in names if (root / name).is_file()]
    if len(found) > 1:
        raise Refused(
            "project-file-ambiguous",
            f"{' and '.join(found)} say the same thing twice",
            found=", ".join(found),
            expected="one of them",
            remedy=f"remove {found[1]}, or merge it into {found[0]}",
        )
    return found[0] if found else None


def _document(root: Path, name: str) -> Document:
    return read_document(read_text(root, name), name)
