"""Azure ML v1's own files, read unchanged."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from outhaul.azureml.naming import camel
from outhaul.errors import Refused
from outhaul.project.description import EnvironmentSection, Overrides, Project, ScoreSection
from outhaul.project.files import load_project
from outhaul.service.record import AutoScaler, Resources

# The samples have the shapes that v1's own documentation shows.
DEPLOYMENT = {
    "computeType": "AKS",
    "autoScaler": {"autoscaleEnabled": True, "minReplicas": 1, "maxReplicas": 3, "targetUtilization": 70},
    "dataCollection": {"storageEnabled": True},
    "authEnabled": True,
    "containerResourceRequirements": {"cpu": 0.5, "memoryInGB": 1.0, "memoryInGBLimit": 2},
    "numReplicas": None,
    "keys": {"primaryKey": "first", "secondaryKey": "second"},
    "livenessProbeRequirements": {"initialDelaySeconds": 100},
}
RUNCONFIG = """\
script: train.py
arguments:
- --alpha
- 0.5
target: cpu-cluster
framework: Python
maxRunDurationSeconds: 3600
nodeCount: 1
environment:
  name: training
  version: null
  python:
    userManagedDependencies: false
    interpreterPath: python
    condaDependenciesFile: .azureml/conda_dependencies.yml
  environmentVariables:
    EXAMPLE_ENV_VAR: EXAMPLE_VALUE
    OMP_NUM_THREADS: 2
  docker:
    enabled: true
    baseImage: mcr/base:1
history:
  outputCollection: true
"""
CONDA = {"name": "x", "dependencies": ["python=3.8", {"pip": ["azureml-defaults", "scikit-learn"]}]}


def put(root: Path, name: str, content: object) -> None:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content, indent="\t"), encoding="utf-8")


def refusal(root: Path, flags: Overrides | None = None) -> Refused:
    with pytest.raises(Refused) as refused:
        load_project(root, flags)
    return refused.value


def test_a_deployment_configuration_becomes_the_service(tmp_path: Path) -> None:
    put(tmp_path, "deploymentconfig.json", DEPLOYMENT)
    project = load_project(tmp_path)
    spec = project.service_spec
    assert spec.compute_type == "aks"
    assert spec.auto_scaler == AutoScaler(autoscale_enabled=True, min_replicas=1, max_replicas=3, target_utilization=70)
    assert spec.container_resource_requirements == Resources(cpu=0.5, memory_in_gb=1, memory_in_gb_limit=2)
    assert spec.liveness_probe_requirements.initial_delay_seconds == 100
    assert (project.keys.primary_key, spec.keys.primary_key) == ("first", None)


def test_a_deployment_configuration_may_be_yaml(tmp_path: Path) -> None:
    put(tmp_path, "deploymentconfig.yml", "computeType: Local\nport: 8890\n")
    assert (load_project(tmp_path).service_spec.compute_type, load_project(tmp_path).service_spec.port) == (
        "local",
        8890,
    )


@pytest.mark.parametrize("content", [{"numReplicas": 1}, {"computeType": "aci"}, {"computeType": None}])
def test_a_compute_type_that_is_missing_or_unknown_is_refused(tmp_path: Path, content: object) -> None:
    put(tmp_path, "deploymentconfig.json", content)
    assert refusal(tmp_path).code == "compute-type"


def test_an_unknown_setting_is_refused_with_its_line_and_the_nearest_name(tmp_path: Path) -> None:
    put(tmp_path, "deploymentconfig.json", {"computeType": "aks", "autoScaler": {"minReplica": 1}})
    error = refusal(tmp_path)
    assert error.code == "unknown-key"
    assert error.found == 'deploymentconfig.json:4: "minReplica": 1'
    assert error.remedy == "did you mean `autoScaler.minReplicas`?"


def test_an_inference_configuration_names_the_score_script_and_the_packages(tmp_path: Path) -> None:
    environment = {
        "name": "scoring",
        "version": None,
        "environmentVariables": {"EXAMPLE_ENV_VAR": "EXAMPLE_VALUE", "A": "b"},
        "python": {"userManagedDependencies": False, "interpreterPath": "python", "condaDependencies": CONDA},
        "docker": {"baseImage": "mcr/base:2", "baseDockerfile": None, "baseImageRegistry": {"address": None}},
        "spark": {"precachePackages": True},
    }
    config = {"entryScript": "score.py", "sourceDirectory": "src", "environment": environment}
    put(tmp_path, "inferenceconfig.json", config)
    project = load_project(tmp_path)
    assert project.score == ScoreSection(script="score.py", source_directory="src")
    assert project.environment == EnvironmentSection(base_image="mcr/base:2", conda=CONDA, variables={"A": "b"})


@pytest.mark.parametrize(("place", "path"), [("src/env.yml", "src/env.yml"), ("env.yml", "env.yml")])
def test_a_conda_file_is_found_in_the_source_directory_or_at_the_root(tmp_path: Path, place: str, path: str) -> None:
    put(tmp_path, place, "dependencies: []")
    put(tmp_path, "inferenceconfig.json", {"entryScript": "score.py", "sourceDirectory": "src", "condaFile": "env.yml"})
    assert load_project(tmp_path).environment.conda_file == path


def test_the_old_form_of_an_inference_configuration_is_read(tmp_path: Path) -> None:
    put(tmp_path, "steps.txt", "RUN apt-get update\n")
    old = {"entryScript": "score.py", "runtime": "python", "condaFile": "c.yml", "enableGpu": False, "baseImage": "b"}
    put(tmp_path, "inferenceconfig.json", old | {"extraDockerfileSteps": "steps.txt", "sourceDirectory": None})
    expected = EnvironmentSection(base_image="b", docker_steps=["RUN apt-get update"], conda_file="c.yml")
    assert load_project(tmp_path).environment == expected


def test_packages_that_the_user_manages_are_none_of_ours(tmp_path: Path) -> None:
    python = {"userManagedDependencies": True, "condaDependencies": CONDA}
    docker = {"baseDockerfile": "FROM python:3.11", "baseImage": "unused"}
    put(tmp_path, "inferenceconfig.json", {"environment": {"python": python, "docker": docker}})
    assert load_project(tmp_path).environment == EnvironmentSection(dockerfile="FROM python:3.11")


@pytest.mark.parametrize(
    ("content", "code"),
    [
        ({"entryScrpt": "score.py"}, "unknown-key"),
        ({"entryScript": "s.py", "runtime": "spark-py"}, "runtime"),
        ({"environment": {"docker": {"buildContext": {"locationType": "git"}}}}, "build-context"),
        ({"entryScript": ["s.py"]}, "wrong-type"),
    ],
)
def test_what_an_inference_configuration_cannot_say_is_refused(tmp_path: Path, content: object, code: str) -> None:
    put(tmp_path, "inferenceconfig.json", content)
    assert refusal(tmp_path).code == code


def test_a_runconfig_names_the_entry_script(tmp_path: Path) -> None:
    put(tmp_path, ".azureml/train.runconfig", RUNCONFIG)
    project = load_project(tmp_path)
    assert project.train is not None
    assert (project.train.script, project.train.arguments) == ("train.py", ["--alpha", "0.5"])
    assert project.train.timeout_seconds == 3600
    assert project.environment == EnvironmentSection(
        base_image="mcr/base:1", conda_file=".azureml/conda_dependencies.yml", variables={"OMP_NUM_THREADS": "2"}
    )


def test_arguments_in_one_text_are_split_as_a_shell_does(tmp_path: Path) -> None:
    put(tmp_path, ".azureml/a.runconfig", "script: t.py\narguments: --name 'two words' -n 3\n")
    train = load_project(tmp_path).train
    assert train is not None
    assert train.arguments == ["--name", "two words", "-n", "3"]


def test_several_runconfigs_are_listed_unless_one_is_named(tmp_path: Path) -> None:
    put(tmp_path, ".azureml/a.runconfig", "script: a.py")
    put(tmp_path, ".azureml/b.runconfig", "script: b.py")
    error = refusal(tmp_path)
    assert (error.code, error.found) == ("runconfig-ambiguous", "a.runconfig\nb.runconfig")
    for name in ("b", "b.runconfig", ".azureml/b.runconfig"):
        train = load_project(tmp_path, Overrides(runconfig=name)).train
        assert train is not None
        assert train.script == "b.py"
    assert refusal(tmp_path, Overrides(runconfig="c")).code == "runconfig-missing"


@pytest.mark.parametrize(
    ("text", "code"),
    [("script: a.py\nnodeCount: 4", "node-count"), ("command: python a.py", "entry-script-missing")],
)
def test_a_run_that_is_no_single_script_is_refused(tmp_path: Path, text: str, code: str) -> None:
    put(tmp_path, ".azureml/a.runconfig", text)
    assert refusal(tmp_path).code == code


def test_the_project_file_wins_over_v1s_files_field_by_field(tmp_path: Path) -> None:
    put(tmp_path, ".azureml/train.runconfig", RUNCONFIG)
    put(tmp_path, "deploymentconfig.json", DEPLOYMENT)
    put(
        tmp_path,
        "inferenceconfig.json",
        {"entryScript": "score.py", "environment": {"python": {"condaDependencies": CONDA}}},
    )
    own = "train: {timeout: 60}\nenvironment: {requirements: r.txt}\nservice: {auto_scaler: {max_replicas: 5}}\n"
    put(tmp_path, "outhaul.yaml", own)
    project = load_project(tmp_path)
    assert project.train is not None
    assert (project.train.script, project.train.timeout) == ("train.py", 60)
    assert (project.environment.requirements, project.environment.conda_file, project.environment.conda) == (
        "r.txt",
        None,
        None,
    )
    assert (project.service_spec.least, project.service_spec.most) == (1, 5)


def test_every_setting_is_read_in_v1s_spelling() -> None:
    assert [camel(name) for name in ("memory_in_gb_limit", "num_replicas", "cpu")] == [
        "memoryInGBLimit",
        "numReplicas",
        "cpu",
    ]


def test_a_conda_file_alone_makes_the_environment(tmp_path: Path) -> None:
    put(tmp_path, ".azureml/conda_dependencies.yml", "dependencies: []")
    assert load_project(tmp_path) == Project(
        name=load_project(tmp_path).name,
        environment=EnvironmentSection(conda_file=".azureml/conda_dependencies.yml"),
    )
