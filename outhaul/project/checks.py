"""Checks of a project before anything is changed: every problem that stands by itself is named at once."""

from __future__ import annotations

import re
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from operator import attrgetter
from pathlib import Path, PurePosixPath
from typing import Any

from outhaul.azureml.deployment_config import COMPUTE_TYPES
from outhaul.environment.definition import Environment
from outhaul.environment.dependencies import take_apart
from outhaul.environment.python_version import Version, nearest_minor
from outhaul.errors import Refused
from outhaul.model.record import check_model_name
from outhaul.problems import Problem, problem_of, refuse
from outhaul.project.description import Project
from outhaul.project.entry_script import check_score_script, check_training_script
from outhaul.project.packages import environment_of, is_text
from outhaul.service.record import MOST_MODELS, check_service_name, check_spec

AVAILABLE_TARGETS = ("embedded",)
ScriptCheck = Callable[[str, bytes, Version | None], list[Problem]]


def check_project(project: Project, root: Path, kind: str) -> None:
    """Refused, with every problem, when `project` in folder `root` cannot be run as `kind`. Reads, writes nothing.

    `deploy` trains and serves, `train` ends with a registered model, `serve` takes a model that is registered.
    """
    problems, python = _environment(project, root)
    if kind != "serve":
        problems += [*_training(project, root, python), *_compute(project), *_models(project)]
    if kind != "train":
        problems += [*_scoring(project, root, python), *_service(project)]
    refuse(problems, f"the project {project.name}")


def _training(project: Project, root: Path, python: Version | None) -> Iterator[Problem]:
    if project.train is None:
        yield _no_script("entry-script-missing", "an entry script", "train", "--train-script")
        return
    yield from _script(root, project.train.script, "entry", check_training_script, python)
    yield from _raised(attrgetter("timeout_seconds"), project.train)
    yield from _raised(attrgetter("memory_bytes"), project.train)


def _scoring(project: Project, root: Path, python: Version | None) -> Iterator[Problem]:
    if project.score is None:
        yield _no_script("score-script-missing", "a score script", "score", "--score-script")
        return
    path = str(PurePosixPath(project.score.source_directory) / project.score.script)
    yield from _script(root, path, "score", check_score_script, python)


def _no_script(code: str, what: str, section: str, flag: str) -> Problem:
    return Problem(
        code,
        f"the project names no {what.split(' ', 1)[1]}",
        found=f"no `{section}` in outhaul.yaml, no {section}.py, no v1 file that names one",
        expected=what,
        remedy=f"add `{section}: {{script: …}}` to outhaul.yaml, or give {flag}",
    )


def _script(root: Path, path: str, role: str, check: ScriptCheck, python: Version | None) -> Iterator[Problem]:
    absent = _file_problem(root, path, f"{role}-script-missing", f"the {role} script")
    if absent is not None:
        yield absent
    else:
        yield from check(path, (root / path).read_bytes(), python)


def _file_problem(root: Path, path: str, code: str, role: str) -> Problem | None:
    """Why `path` is no file of the project, None when it is one."""
    if leaves(root, path):
        return _outside(path, role)
    if (root / path).is_file():
        return None
    return Problem(
        code,
        f"{role} {path} is missing",
        found=f"a folder: {path}" if (root / path).is_dir() else _neighbours(root, path),
        expected=f"the file {path} in the project's folder",
        remedy="create it, or correct the path; paths are relative to the project's folder",
    )


def _neighbours(root: Path, path: str) -> str:
    folder = (root / path).parent
    if not folder.is_dir():
        return f"no folder {PurePosixPath(path).parent}"
    names = sorted(each.name for each in folder.iterdir() if each.suffix == PurePosixPath(path).suffix)
    return f"beside it: {', '.join(names[:8])}{', …' if len(names) > 8 else ''}" if names else "no such file"


def leaves(root: Path, path: str) -> bool:
    """Whether the path leads out of the folder: absolute, by `..`, or by a link."""
    return PurePosixPath(path).is_absolute() or not (root / path).resolve().is_relative_to(root.resolve())


def _outside(path: str, role: str) -> Problem:
    return Problem(
        "outside-project",
        f"{role} {path} is outside of the project's folder",
        found=path,
        expected="a path below the project's folder; only that folder is taken along",
        remedy="copy it into the project's folder",
    )


def _environment(project: Project, root: Path) -> tuple[list[Problem], Version | None]:
    """The environment's problems, and the Python that it asks for (None: any)."""
    problems = [*_one_of_each(project), *_environment_files(project, root), *_variables(project)]
    if problems:
        return problems, None
    try:
        return [], _newest_python(environment_of(project, root))
    except Refused as error:
        return [problem_of(error)], None


def _newest_python(environment: Environment) -> Version | None:
    constraint = take_apart(environment.conda).python
    return nearest_minor(constraint, sys.version_info[:2]) if constraint else None


def _one_of_each(project: Project) -> Iterator[Problem]:
    section = project.environment
    for keys in (("base_image", "dockerfile"), ("conda_file", "requirements", "conda")):
        given = [key for key in keys if getattr(section, key) is not None]
        if len(given) > 1:
            yield Problem(
                "environment-contradiction",
                f"`environment` gives {' and '.join(given)}",
                found=", ".join(f"{key}: {getattr(section, key)}" for key in given if key != "conda"),
                expected=f"one of {', '.join(keys)}",
                remedy=f"remove `{given[-1]}`",
            )


def _environment_files(project: Project, root: Path) -> Iterator[Problem]:
    for key in ("conda_file", "requirements", "dockerfile"):
        path = getattr(project.environment, key)
        if path is not None and not (key == "dockerfile" and is_text(path)):
            absent = _file_problem(root, path, "environment-file-missing", f"`environment.{key}`")
            if absent is not None:
                yield absent


def _variables(project: Project) -> Iterator[Problem]:
    for name in project.environment.variables:
        if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
            yield Problem(
                "variable-name",
                f"`{name}` cannot name an environment variable",
                found=repr(name),
                expected="letters, digits and `_`, no digit first",
                remedy="rename it under `environment.variables`",
            )


def _compute(project: Project) -> Iterator[Problem]:
    if project.compute.target not in AVAILABLE_TARGETS:
        yield Problem(
            "target-unavailable",
            f"the compute target `{project.compute.target}` is not available",
            found=f"compute.target: {project.compute.target}",
            expected=f"one of the targets that exist now: {', '.join(AVAILABLE_TARGETS)}",
            remedy="write `compute: {target: embedded}`, or leave it out",
        )
    yield from _raised(attrgetter("memory_bytes"), project.compute)


def _models(project: Project) -> Iterator[Problem]:
    models = project.wanted_models
    if len(models) > MOST_MODELS:
        yield Problem(
            "too-many-models",
            f"the project names {len(models)} models",
            found=f"{len(models)} entries under `models`",
            expected=f"at most {MOST_MODELS} for one service",
            remedy="put several files into one model: its path may be a folder",
        )
    repeated = [name for name, times in Counter(model.name for model in models).items() if times > 1]
    if repeated:
        yield Problem(
            "model-name-repeated",
            "two models have one name",
            found=", ".join(sorted(repeated)[:8]),
            expected="each name once under `models`",
            remedy="rename one of them, or put both files into one model",
        )
    for model in models:
        yield from _raised(check_model_name, model.name)
        path = PurePosixPath(model.path)
        if path.is_absolute() or ".." in path.parts:
            yield _outside(model.path, f"the path of model `{model.name}`:")


def _service(project: Project) -> Iterator[Problem]:
    yield from _raised(check_service_name, project.service_name)
    yield from _raised(check_spec, project.service_spec)
    if project.service_spec.compute_type not in COMPUTE_TYPES:
        yield Problem(
            "compute-type",
            f"`compute_type` is `{project.service_spec.compute_type}`",
            found=f"service.compute_type: {project.service_spec.compute_type}",
            expected=" or ".join(f"`{name}`" for name in COMPUTE_TYPES),
            remedy="write `aks`, or leave it out",
        )


def _raised(check: Callable[[Any], Any], value: Any) -> Iterator[Problem]:
    try:
        check(value)
    except Refused as error:
        yield problem_of(error)
