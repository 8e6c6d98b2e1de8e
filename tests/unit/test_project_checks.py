"""What is refused before anything is changed."""

from __future__ import annotations

from pathlib import Path

import pytest

from outhaul.errors import Refused
from outhaul.project.checks import check_project
from outhaul.project.files import load_project
from outhaul.project.packages import environment_of

FILES = {
    "train.py": "print('training')\n",
    "score.py": "def init(): ...\ndef run(data): ...\n",
    "requirements.txt": "scikit-learn==1.5\n",
}
MANY = "\n".join(f"  - {{name: m{number}}}" for number in range(1001))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "digits"
    folder.mkdir()
    for name, text in FILES.items():
        (folder / name).write_text(text)
    (tmp_path / "outside.py").write_text("")
    return folder


def refusal(root: Path, text: str, kind: str = "deploy") -> Refused:
    (root / "outhaul.yaml").write_text(text)
    with pytest.raises(Refused) as refused:
        check_project(load_project(root), root, kind)
    return refused.value


@pytest.mark.parametrize("kind", ["deploy", "train", "serve"])
def test_a_sound_project_passes(root: Path, kind: str) -> None:
    check_project(load_project(root), root, kind)


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("train: {script: fit.py}", "entry-script-missing"),
        ("train: {script: requirements.txt}", "not-python"),
        ("train: {script: ../outside.py}", "outside-project"),
        ("train: {script: /etc/passwd}", "outside-project"),
        ("train: {script: train.py, timeout: 0s}", "duration"),
        ("score: {script: answer.py}", "score-script-missing"),
        ("score: {script: train.py}", "project-problems"),
        ("score: {script: score.py, source_directory: ..}", "outside-project"),
        ("environment: {requirements: absent.txt}", "environment-file-missing"),
        ("environment: {conda_file: absent.yml}", "environment-file-missing"),
        ("environment: {dockerfile: absent}", "environment-file-missing"),
        ("environment: {requirements: a.txt, conda_file: b.yml}", "project-problems"),
        ("environment: {base_image: a, dockerfile: 'FROM b'}", "environment-contradiction"),
        ("environment: {variables: {1A: x}}", "variable-name"),
        ("environment: {conda: {dependencies: [3]}}", "conda-file"),
        ("compute: {target: kubernetes}", "target-unavailable"),
        ("models: [{name: a, path: ../a}]", "outside-project"),
        ("models: [{name: a, path: /a}]", "outside-project"),
        ("models: [{name: a}, {name: a, path: outputs/b}]", "model-name-repeated"),
        ("models: [{name: a b}]", "model-name"),
        (f"models:\n{MANY}", "too-many-models"),
        ("service: {name: Digits}", "service-name"),
        ("name: ab", "service-name"),
        ("service: {compute_type: aci}", "compute-type"),
        ("service: {container_resource_requirements: {cpu: 2, cpu_limit: 1}}", "service-spec"),
    ],
)
def test_what_cannot_work_is_refused(root: Path, text: str, code: str) -> None:
    assert refusal(root, text).code == code


def test_a_link_out_of_the_folder_is_no_entry_script(root: Path) -> None:
    (root / "linked.py").symlink_to(root.parent / "outside.py")
    assert refusal(root, "train: {script: linked.py}").code == "outside-project"


def test_what_stands_beside_a_missing_script_is_listed(root: Path) -> None:
    assert refusal(root, "train: {script: trian.py}").found == "beside it: score.py, train.py"


def test_independent_problems_are_told_at_once(root: Path) -> None:
    (root / "train.py").write_text("x = (\n")
    error = refusal(root, "name: ab\nscore: {script: absent.py}\ncompute: {target: docker}")
    assert error.code == "project-problems"
    assert [line[:2] for line in error.found.splitlines() if line[:1].isdigit()] == ["1.", "2.", "3.", "4."]
    for text in (
        "train.py has a syntax error",
        "target `docker`",
        "absent.py is missing",
        "`ab` cannot name a service",
    ):
        assert text in error.found


def test_only_what_a_kind_needs_is_checked(root: Path) -> None:
    (root / "score.py").unlink()
    check_project(load_project(root), root, "train")
    (root / "score.py").write_text(FILES["score.py"])
    (root / "train.py").unlink()
    check_project(load_project(root), root, "serve")
    with pytest.raises(Refused, match="names no entry script"):
        check_project(load_project(root), root, "deploy")


def test_a_script_for_a_newer_python_is_not_judged_by_ours(root: Path) -> None:
    (root / "train.py").write_text("x = = 1\n")
    (root / "env.yml").write_text("dependencies: [python=3.20]\n")
    (root / "outhaul.yaml").write_text("environment: {conda_file: env.yml}")
    check_project(load_project(root), root, "train")


def test_the_environment_is_read_from_the_files_that_the_project_names(root: Path) -> None:
    (root / "Dockerfile").write_text("FROM python:3.11\n")
    (root / "env.yml").write_text("dependencies: [python=3.11]\nvariables: {A: conda, B: conda}\n")
    text = "environment: {dockerfile: Dockerfile, docker_steps: [RUN x], conda_file: env.yml, variables: {A: own}}"
    (root / "outhaul.yaml").write_text(text)
    environment = environment_of(load_project(root), root)
    assert (environment.dockerfile, environment.docker_steps) == ("FROM python:3.11\n", ["RUN x"])
    assert environment.conda == {"dependencies": ["python=3.11"]}
    assert environment.env_vars == {"A": "own", "B": "conda"}


def test_requirements_and_their_inline_form_are_one_environment(root: Path) -> None:
    from_file = environment_of(load_project(root), root)
    (root / "outhaul.yaml").write_text("environment: {conda: {dependencies: [{pip: [scikit-learn==1.5]}]}}")
    assert environment_of(load_project(root), root) == from_file
