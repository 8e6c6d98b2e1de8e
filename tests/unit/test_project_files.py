"""Reading `outhaul.yaml`, flags and conventions: what wins, and how mistakes are told."""

from __future__ import annotations

from pathlib import Path

import pytest

from outhaul.errors import Refused
from outhaul.project.description import ModelSection, Overrides, Project
from outhaul.project.files import load_project

GOLDEN = Path(__file__).parents[1] / "golden" / "project-file"
BAR = "=====\n"


def write(root: Path, **files: str) -> None:
    """Files by name, with `__` for `/` and the last `_` for the dot of the ending."""
    for name, text in files.items():
        path = root / ".".join(name.replace("__", "/").rsplit("_", 1))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


def load(root: Path, text: str, **flags: object) -> Project:
    write(root, outhaul_yaml=text)
    return load_project(root, Overrides(**flags))  # type: ignore[arg-type]


@pytest.mark.parametrize("case", sorted(GOLDEN.glob("*.case")), ids=lambda path: path.stem)
def test_a_mistake_in_the_project_file_is_told_as_agreed(case: Path, tmp_path: Path) -> None:
    text, _, expected = case.read_text(encoding="utf-8").partition(BAR)
    with pytest.raises(Refused) as refused:
        load(tmp_path, text)
    assert f"{refused.value.code}\n{refused.value}\n" == expected


def test_a_secret_key_is_never_quoted_in_an_error() -> None:
    assert "hunter2secret" not in (GOLDEN / "key-in-message.case").read_text(encoding="utf-8").partition(BAR)[2]


def test_an_empty_file_is_a_project_named_after_its_folder(tmp_path: Path) -> None:
    folder = tmp_path / "My Project_2"
    folder.mkdir()
    project = load(folder, "")
    assert project == Project(name="my-project-2")
    assert project.service_name == "my-project-2"
    assert project.wanted_models == [ModelSection(name="my-project-2", path="outputs")]


def test_a_folder_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Refused, match="is no project folder"):
        load_project(tmp_path / "absent")


def test_two_project_files_are_refused(tmp_path: Path) -> None:
    write(tmp_path, outhaul_yaml="name: a", outhaul_yml="name: b")
    with pytest.raises(Refused, match=r"outhaul\.yaml and outhaul\.yml say the same thing twice"):
        load_project(tmp_path)


def test_a_file_that_is_not_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "outhaul.yaml").write_bytes(b"name: \xff\xfe")
    with pytest.raises(Refused) as refused:
        load_project(tmp_path)
    assert refused.value.code == "project-file-unreadable"


def test_arguments_and_variables_are_taken_as_written(tmp_path: Path) -> None:
    text = "train: {script: t.py, arguments: [--epochs, 5, 1.10, yes, 0x1F]}\nenvironment: {variables: {A: no, B: 012}}"
    project = load(tmp_path, text)
    assert project.train is not None
    assert project.train.arguments == ["--epochs", "5", "1.10", "yes", "0x1F"]
    assert project.environment.variables == {"A": "no", "B": "012"}


def test_nothing_is_interpolated(tmp_path: Path) -> None:
    assert load(tmp_path, "environment: {variables: {A: '${HOME}'}}").environment.variables == {"A": "${HOME}"}


def test_amounts_are_read_with_their_units(tmp_path: Path) -> None:
    project = load(tmp_path, "train: {script: t.py, timeout: 30m, memory: 2GB}\ncompute: {memory: 0.5}")
    assert project.train is not None
    assert (project.train.timeout_seconds, project.train.memory_bytes) == (1800, 2 * 10**9)
    assert project.compute.memory_bytes == 500_000_000


def test_sections_without_content_are_as_absent(tmp_path: Path) -> None:
    assert load(tmp_path, "name: a\ntrain:\nenvironment:\nservice:\n") == Project(name="a")


def test_an_anchor_and_a_merge_key_work(tmp_path: Path) -> None:
    text = "environment:\n  variables: &v {A: '1'}\nservice:\n  tags: {<<: *v, B: '2'}\n"
    assert load(tmp_path, text).service_spec.tags == {"A": "1", "B": "2"}


def test_a_folder_with_scripts_and_requirements_needs_no_file(tmp_path: Path) -> None:
    write(tmp_path, train_py="", score_py="", requirements_txt="")
    project = load_project(tmp_path)
    assert project.train is not None
    assert project.score is not None
    assert (project.train.script, project.score.script) == ("train.py", "score.py")
    assert project.environment.requirements == "requirements.txt"


def test_flags_alone_describe_a_folder_with_other_names(tmp_path: Path) -> None:
    flags = Overrides(
        name="fit",
        train_script="fit.py",
        train_arguments=["-n", "3"],
        score_script="answer.py",
        source_directory="serving",
        requirements="deps.txt",
        base_image="python:3.11",
        service="answers",
        replicas="2..4",
    )
    project = load_project(tmp_path, flags)
    assert project.train is not None
    assert project.score is not None
    assert (project.train.script, project.train.arguments) == ("fit.py", ["-n", "3"])
    assert (project.score.script, project.score.source_directory) == ("answer.py", "serving")
    assert (project.environment.requirements, project.environment.base_image) == ("deps.txt", "python:3.11")
    assert (project.name, project.service_name) == ("fit", "answers")
    assert (project.service_spec.least, project.service_spec.most) == (2, 4)


def test_a_flag_wins_over_the_file_field_by_field(tmp_path: Path) -> None:
    project = load(tmp_path, "train: {script: a.py, timeout: 60}", train_script="b.py")
    assert project.train is not None
    assert (project.train.script, project.train.timeout) == ("b.py", 60)


@pytest.mark.parametrize("text", ["num_replicas: 5", "auto_scaler: {min_replicas: 3, max_replicas: 9}"])
def test_a_number_of_replicas_hides_what_the_file_says_of_them(tmp_path: Path, text: str) -> None:
    fixed = load(tmp_path, f"service: {{{text}}}", replicas="2").service_spec
    assert (fixed.autoscaled, fixed.least, fixed.most) == (False, 2, 2)
    scaled = load(tmp_path, f"service: {{{text}}}", replicas="1..2").service_spec
    assert (scaled.autoscaled, scaled.least, scaled.most) == (True, 1, 2)


def test_packages_from_a_flag_hide_those_of_the_file(tmp_path: Path) -> None:
    section = load(tmp_path, "environment: {requirements: r.txt, base_image: b}", conda="c.yml").environment
    assert (section.requirements, section.conda_file, section.base_image) == (None, "c.yml", "b")


def test_settings_of_a_script_without_the_script_are_refused(tmp_path: Path) -> None:
    with pytest.raises(Refused) as refused:
        load(tmp_path, "train: {timeout: 60}")
    assert refused.value.code == "entry-script-missing"


def test_an_empty_name_from_a_flag_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Refused) as refused:
        load(tmp_path, "", name="")
    assert refused.value.code == "project-setting"


def test_keys_stand_apart_from_the_settings(tmp_path: Path) -> None:
    project = load(tmp_path, "service: {keys: {primary_key: one, secondary_key: two}}")
    assert (project.keys.primary_key, project.keys.secondary_key) == ("one", "two")
    assert project.service_spec.keys.primary_key is None
    assert project.without_keys().keys.primary_key is None
