"""The hash: what changes it, what does not, and the vectors that keep it the same for ever."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from outhaul.environment.definition import Environment, canonical, environment_hash, image_name, unsupported
from outhaul.environment.dependencies import conda_variables, inline_conda, parse_conda, take_apart
from outhaul.environment.lock import lock
from outhaul.environment.requirements import parse_requirements
from outhaul.errors import Refused
from outhaul.ports import BuiltEnvironment

GOLDEN: list[dict[str, Any]] = json.loads(
    (Path(__file__).parent.parent / "golden" / "environment_hash.json").read_text("utf-8")
)

PACKAGES = st.sampled_from(["numpy", "scikit-learn=1.3", "pandas>=1.5,<2", "python=3.10", "conda-forge::pip", "r-base"])
PIP_LINES = st.sampled_from(["flask", "numpy==1.24", "uvicorn[standard]>=0.20", "tomli ; python_version < '3.11'"])
CHANNELS = st.lists(st.sampled_from(["conda-forge", "defaults", "https://example.org/conda"]), max_size=3, unique=True)
DEPENDENCIES = st.tuples(
    st.lists(PACKAGES, max_size=5, unique=True), st.lists(PIP_LINES, min_size=1, max_size=4, unique=True)
)


def hash_of(text: str) -> str:
    return environment_hash(Environment(conda=parse_conda(text)))


def built(**changes: Any) -> BuiltEnvironment:
    fields: dict[str, Any] = {
        "hash": "0" * 32,
        "key": "k",
        "python": Path("env/bin/python"),
        "python_version": "3.11.7",
        "packages": {},
        "store": "workspace",
        "built_at": "2026-01-01T00:00:00.000Z",
    }
    return BuiltEnvironment(**{**fields, **changes})


@pytest.mark.parametrize("vector", GOLDEN, ids=lambda vector: vector["name"])
def test_a_golden_vector_has_the_hash_that_it_always_had(vector: dict[str, Any]) -> None:
    conda = vector.get("conda_file")
    definition = parse_conda(conda) if conda else None
    if "requirements" in vector:
        definition = parse_requirements(vector["requirements"])
    environment = Environment(conda=definition, **vector.get("environment", {}))
    assert canonical(environment) == vector["canonical"]
    assert environment_hash(environment) == vector["hash"]


@given(CHANNELS, DEPENDENCIES, st.text("abc", min_size=1), st.randoms())
def test_what_only_people_read_does_not_change_the_hash(
    channels: list[str], dependencies: tuple[list[str], list[str]], name: str, random: Any
) -> None:
    conda, pip = dependencies
    body = {"channels": channels, "dependencies": [*conda, {"pip": pip}]}
    extras = {"name": name, "version": "7", "prefix": f"/opt/{name}", "variables": {"A": name}}
    entries = list({**body, **extras}.items())
    random.shuffle(entries)
    decorated = "# a comment\n\n" + yaml.safe_dump(dict(entries), sort_keys=False, default_flow_style=True, width=9999)
    assert hash_of(decorated + "\n# the end\n") == hash_of(yaml.safe_dump(body, sort_keys=True))


@given(DEPENDENCIES, st.randoms())
def test_another_order_of_dependencies_is_another_environment(
    dependencies: tuple[list[str], list[str]], random: Any
) -> None:
    conda, pip = dependencies
    shuffled = random.sample(conda, len(conda)), random.sample(pip, len(pip))
    first = environment_hash(Environment(conda={"dependencies": [*conda, {"pip": pip}]}))
    second = environment_hash(Environment(conda={"dependencies": [*shuffled[0], {"pip": shuffled[1]}]}))
    assert (first == second) == (shuffled == (conda, pip))


@given(st.lists(PIP_LINES, min_size=1, max_size=4), st.sampled_from(["", "  ", "\t"]), st.sampled_from(["\n", "\r\n"]))
def test_requirements_hash_as_a_conda_file_with_only_a_pip_section(lines: list[str], pad: str, end: str) -> None:
    text = end.join(f"{pad}{line}{pad}  # why{end}" for line in lines)
    as_conda = {"dependencies": [{"pip": lines}]}
    assert parse_requirements(text) == as_conda == parse_conda(yaml.safe_dump(as_conda))


@pytest.mark.parametrize(
    "change",
    [
        {"base_image": "debian:13"},
        {"base_image": None},
        {"base_image": None, "dockerfile": "FROM debian:12"},
        {"docker_steps": ["RUN b", "RUN a"]},
        {"docker_steps": ["RUN a"]},
        {"conda": None},
        {"conda": {"dependencies": []}},
        {"conda": {"channels": ["b", "a"], "dependencies": ["numpy"]}},
        {"conda": {"channels": ["a", "b"], "dependencies": ["numpy=1.24"]}},
    ],
    ids=str,
)
def test_each_thing_that_decides_which_packages_there_are_changes_the_hash(change: dict[str, Any]) -> None:
    base: dict[str, Any] = {
        "base_image": "debian:12",
        "docker_steps": ["RUN a", "RUN b"],
        "conda": {"channels": ["a", "b"], "dependencies": ["numpy"]},
    }
    assert environment_hash(Environment(**{**base, **change})) != environment_hash(Environment(**base))


def test_env_vars_are_no_part_of_the_hash() -> None:
    assert environment_hash(Environment(env_vars={"A": "1"})) == environment_hash(Environment())


def test_line_ends_of_another_system_do_not_change_the_hash() -> None:
    unix = Environment(dockerfile="FROM a\nRUN b\n", docker_steps=["RUN a \\\n && b"])
    windows = Environment(dockerfile="FROM a\r\nRUN b\r\n", docker_steps=["RUN a \\\r\n && b"])
    assert environment_hash(unix) == environment_hash(windows)


def test_an_image_is_named_by_the_hash() -> None:
    assert image_name("ab12") == "outhaul/environment_ab12"


def test_a_base_image_and_a_dockerfile_are_refused_together() -> None:
    with pytest.raises(Refused, match="one base"):
        environment_hash(Environment(base_image="debian:12", dockerfile="FROM debian:12"))


def test_half_a_character_is_refused_and_not_a_crash() -> None:
    with pytest.raises(Refused) as caught:
        environment_hash(Environment(conda={"dependencies": [{"pip": ["\ud800"]}]}))
    assert caught.value.code == "environment-text"


@pytest.mark.parametrize(
    ("text", "line", "expected"),
    [
        ("dependencies: [", "1", "valid YAML"),
        ("name: x\ndependancies: [numpy]", "2", "did you mean `dependencies`?"),
        ("name: x\ndependencies: numpy", "2", "a list"),
        ("dependencies:\n  - numpy\n  - 3.10", "3", "quote a number"),
        ("dependencies:\n  - numpy\n  - npm: [left-pad]", "3", "`pip:` with a list"),
        ("dependencies:\n  - pip: flask", "2", "a list"),
        ("dependencies:\n  - pip:\n    - flask\n    - ./wheels/own.whl", "4", "packages of an index"),
        ("channels: [3]\ndependencies: []", "1", "quote a number"),
        ("name: x", "1", "`dependencies:`"),
        ("- numpy", "1", "a mapping"),
        ("dependencies:\n  - '!!!'", "2", "a package such as"),
    ],
)
def test_a_wrong_conda_file_is_refused_with_its_line(text: str, line: str, expected: str) -> None:
    with pytest.raises(Refused) as caught:
        parse_conda(text, source="env.yml")
    found = caught.value.found
    assert found.startswith((f"env.yml:{line}", f"env.yml line {line}:")), found
    assert expected in caught.value.expected
    assert caught.value.remedy


def test_a_channel_with_a_token_is_refused_without_showing_it() -> None:
    with pytest.raises(Refused) as caught:
        parse_conda("channels: ['https://conda.anaconda.org/t/sec-ret/mine']\ndependencies: []")
    assert "sec-ret" not in str(caught.value)


def test_a_conda_file_in_place_is_the_same_as_in_a_file() -> None:
    content = {"channels": ["conda-forge"], "dependencies": ["python = 3.10", {"pip": ["flask >= 2"]}]}
    assert inline_conda(content) == parse_conda(yaml.safe_dump(content))


def test_the_variables_of_a_conda_file_are_env_vars() -> None:
    assert conda_variables("variables: {A: 1, B: 'yes'}\ndependencies: []") == {"A": "1", "B": "yes"}


def test_white_space_around_an_operator_is_no_difference_and_that_between_version_and_build_is() -> None:
    spaced = parse_conda("dependencies: ['numpy >= 1.2 ,  < 2', 'python 3.10 *_cpython']")
    assert spaced == {"dependencies": ["numpy>=1.2,<2", "python 3.10 *_cpython"]}


def test_python_and_pip_alone_need_no_conda() -> None:
    parts = take_apart(parse_conda("dependencies: [conda-forge::python=3.10.*=*_cpython, pip<24, {pip: [flask]}]"))
    assert (parts.python, parts.pip, parts.conda, parts.requirements) == ("=3.10.*", "<24", [], ["flask"])


def test_what_the_embedded_target_cannot_honour_is_said_with_the_remedy() -> None:
    said = unsupported(Environment(base_image="debian:12", docker_steps=["RUN a", "RUN b"]))
    assert [sentence.split(":")[0] for sentence in said] == ["The base image debian", "2 docker steps are not run"]
    assert all("target: docker" in sentence for sentence in said)
    assert unsupported(Environment(conda={"dependencies": ["numpy"]})) == []


def test_a_locked_requirements_file_pins_what_was_installed_and_keeps_options_and_urls() -> None:
    text = "--extra-index-url https://example.org/cpu\nFlask\nmine @ https://example.org/mine.whl\n"
    installed = built(packages={"Flask": "3.0", "Jinja2": "3.1", "mine": "1"})
    assert lock(Environment(conda=parse_requirements(text)), installed).splitlines() == [
        "--extra-index-url https://example.org/cpu",
        "Flask==3.0",
        "Jinja2==3.1",
        "mine @ https://example.org/mine.whl",
    ]


def test_a_locked_conda_file_names_conda_packages_and_pip_packages_apart_and_is_readable_again() -> None:
    environment = Environment(conda=parse_conda("channels: [a]\ndependencies: [python=3.11, blas, {pip: [flask]}]"))
    conda = {"python": "3.11.7", "blas": "1.0"}
    locked = lock(environment, built(packages={**conda, "flask": "3.0"}, conda=conda))
    assert parse_conda(locked) == {
        "channels": ["a"],
        "dependencies": ["python=3.11.7", "blas=1.0", {"pip": ["flask==3.0"]}],
    }
