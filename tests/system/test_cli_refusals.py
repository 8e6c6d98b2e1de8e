"""Bad input through the real command line: refused with found, expected and remedy, and nothing was changed.

The texts are held in `tests/golden/cli-refusals/`; a change of wording is a change of that file, seen in review. To
write them anew: `OUTHAUL_WRITE_GOLDEN=1 pytest tests/system/test_cli_refusals.py`.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import socket
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pytest

from outhaul.home import Home
from outhaul.service.deployer_lock import DeployerLock
from outhaul.settings import read_settings
from outhaul.workspace import open_workspace
from tests.system.cli_process import Command

GOLDEN = Path(__file__).parents[1] / "golden" / "cli-refusals"
PROJECT = {
    "train.py": "print('training')\n",
    "score.py": "def init(): ...\ndef run(data): return data\n",
    "requirements.txt": "scikit-learn==1.5\n",
}
Files = Mapping[str, str | None]

DEPLOYMENTS: dict[str, tuple[Files, Sequence[str]]] = {
    "entry-script-missing": ({"outhaul.yaml": "train: {script: fit.py}\n"}, []),
    "entry-script-is-no-python": ({"outhaul.yaml": "train: {script: requirements.txt}\n"}, []),
    "syntax-error": ({"train.py": "import os\nfor n in range(3)\n    print(n)\n"}, []),
    "no-run-function": ({"score.py": "def init(): ...\n"}, []),
    "unknown-key": ({"outhaul.yaml": "train: {script: train.py, argumets: [a]}\n"}, []),
    "service-name": ({}, ["--service", "Digits_1"]),
    "limit-below-request": (
        {"outhaul.yaml": "service: {container_resource_requirements: {cpu: 1, cpu_limit: 0.5}}\n"},
        [],
    ),
    "autoscale-contradictions": (
        {
            "outhaul.yaml": "service:\n  num_replicas: 3\n  auth_enabled: true\n  token_auth_enabled: true\n"
            "  auto_scaler: {autoscale_enabled: true, min_replicas: 5, max_replicas: 2, target_utilization: 170}\n"
        },
        [],
    ),
    "several-runconfigs": ({".azureml/cpu.runconfig": "script: train.py\n", ".azureml/gpu.runconfig": ""}, []),
    "replicas-text": ({}, ["--replicas", "many"]),
    "replicas-reversed": ({}, ["--replicas", "4..2"]),
    "empty-folder": (dict.fromkeys(PROJECT, None), []),
}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "digits"
    folder.mkdir()
    return folder


@pytest.fixture
def outhaul(tmp_path: Path) -> Command:
    return Command(Home(tmp_path / "home"))


def write(root: Path, files: Files) -> None:
    for name, text in {**PROJECT, **files}.items():
        if text is not None:
            (root / name).parent.mkdir(exist_ok=True)
            (root / name).write_text(text)


def refusal(outhaul: Command, *arguments: str | Path, golden: str = "", hide: Sequence[str] = ()) -> dict[str, str]:
    """The error of a command that is refused, after a look that nothing changed and that people read the same."""
    before = tree(outhaul.home)
    answer = outhaul(*arguments, "-o", "json")
    assert answer.status == 1, answer
    assert answer.out == ""
    assert tree(outhaul.home) == before
    error: dict[str, str] = json.loads(answer.err)["error"]
    assert list(error) == ["code", "message", "found", "expected", "remedy", "retry"]
    assert error["found"]
    assert error["expected"]
    assert error["remedy"]
    assert error["retry"] is False
    if golden:
        told = outhaul(*arguments)
        assert told.status == 1
        compare(golden, told.err, [str(outhaul.home.root.parent), *hide])
    return error


def tree(home: Home) -> dict[str, str]:
    """Every file below the home but the cache, with its content's hash."""
    files = [path for path in home.root.rglob("*") if not path.is_relative_to(home.cache)]
    return {str(p): hashlib.sha256(p.read_bytes()).hexdigest() if p.is_file() else "folder" for p in files}


def compare(name: str, text: str, hide: Sequence[str]) -> None:
    for changing in hide:
        text = text.replace(changing, "…")
    path = GOLDEN / f"{name}.txt"
    if os.environ.get("OUTHAUL_WRITE_GOLDEN"):
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    assert text == path.read_text()


@pytest.mark.parametrize("name", DEPLOYMENTS)
def test_a_project_that_cannot_be_deployed_is_refused_and_changes_nothing(
    outhaul: Command, root: Path, name: str
) -> None:
    files, flags = DEPLOYMENTS[name]
    write(root, files)
    refusal(outhaul, "deploy", root, *flags, golden=name)


def test_a_syntax_error_is_shown_with_its_line(outhaul: Command, root: Path) -> None:
    write(root, {"train.py": "import os\nfor n in range(3)\n    print(n)\n"})
    found = refusal(outhaul, "deploy", root)["found"]
    assert "train.py:2" in found
    assert "for n in range(3)" in found


def test_an_unknown_key_gets_the_nearest_name(outhaul: Command, root: Path) -> None:
    write(root, {"outhaul.yaml": "train: {script: train.py, argumets: [a]}\n"})
    error = refusal(outhaul, "deploy", root)
    assert "arguments" in error["expected"] + error["remedy"]


def test_contradictions_are_named_all_at_once(outhaul: Command, root: Path) -> None:
    write(root, DEPLOYMENTS["autoscale-contradictions"][0])
    found = refusal(outhaul, "deploy", root)["found"]
    assert all(key in found for key in ("num_replicas", "min_replicas", "token_auth_enabled", "target_utilization"))


def test_a_project_over_the_size_limit_is_refused_with_its_biggest_files(outhaul: Command, root: Path) -> None:
    write(root, {"data.bin": "x" * 3_000_000, "more.bin": "x" * 2_000_000})
    small = outhaul.setting(OUTHAUL_SNAPSHOT_MAX_BYTES="4000000")
    error = refusal(small, "deploy", root, golden="over-the-size-limit")
    assert error["code"] == "snapshot-too-large"
    assert error["found"].index("data.bin") < error["found"].index("more.bin")


def test_a_project_with_a_link_out_of_its_root_is_refused(outhaul: Command, root: Path) -> None:
    write(root, {})
    (root.parent / "outside.txt").write_text("secret")
    (root / "link.txt").symlink_to(root.parent / "outside.txt")
    refusal(outhaul, "deploy", root, golden="link-out-of-the-root")


def test_a_folder_that_does_not_exist_is_refused(outhaul: Command, root: Path) -> None:
    assert refusal(outhaul, "deploy", root / "absent", golden="no-such-folder")["code"] == "project-folder"


@pytest.fixture
def taken_port() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


@pytest.mark.parametrize("setting", ["OUTHAUL_ROUTER_PORT", "OUTHAUL_PREFECT_PORT"])
@pytest.mark.parametrize("command", ["up", "deploy"])
def test_a_port_in_use_is_refused_with_the_program_that_has_it(
    outhaul: Command, root: Path, taken_port: int, setting: str, command: str
) -> None:
    write(root, {})
    here = outhaul.setting(**{setting: str(taken_port)})
    arguments: list[str | Path] = [command, *([root] if command == "deploy" else [])]
    error = refusal(here, *arguments)
    assert error["code"] == "port-in-use"
    assert str(os.getpid()) in error["found"]
    assert setting in error["remedy"]


def test_a_second_deployment_of_a_service_is_refused_while_one_runs(outhaul: Command, root: Path) -> None:
    write(root, {})
    lock = DeployerLock(open_workspace(read_settings(outhaul.env_vars)).records)
    lock.acquire("digits", "run-a", time.time())
    error = refusal(outhaul, "deploy", root)
    assert error["code"] == "deployment-in-progress"
    assert "run-a" in error["found"]


UNKNOWN: dict[str, Sequence[str]] = {
    "service-not-found": ["service", "show", "letters"],
    "service-not-found-update": ["service", "update", "letters", "--replicas", "2"],
    "service-not-found-delete": ["service", "delete", "letters", "--yes"],
    "service-not-found-keys": ["service", "get-keys", "letters"],
    "model-not-found": ["model", "show", "digits"],
    "model-version-not-found": ["model", "show", "digits:7"],
    "model-version-text": ["model", "show", "digits:seven"],
    "model-path-missing": ["model", "register", "absent.pkl", "--name", "digits"],
    "run-not-found": ["run", "show", "0123"],
    "environment-not-found": ["environment", "publish", "0123"],
}


@pytest.mark.parametrize("name", UNKNOWN)
def test_the_name_of_a_thing_that_does_not_exist_is_refused(outhaul: Command, name: str) -> None:
    refusal(outhaul, *UNKNOWN[name], golden=name)


@pytest.mark.parametrize(
    ("flags", "code"),
    [
        (["--model", "digits"], "model-not-found"),
        (["--model", "digits", "--replicas", "some"], "replicas"),
        (["--model", "../digits"], "model-name"),
    ],
)
def test_a_service_of_what_is_not_there_is_refused(outhaul: Command, root: Path, flags: list[str], code: str) -> None:
    write(root, {})
    error = refusal(outhaul, "service", "create", "digits", "--score-script", root / "score.py", *flags)
    assert error["code"] == code


@pytest.mark.parametrize(("rps", "seconds"), [("-1", "10"), ("20", "0")])
def test_a_load_that_is_none_is_refused(outhaul: Command, rps: str, seconds: str) -> None:
    refusal(outhaul, "replicas-needed", "--rps", rps, "--seconds", seconds)


USAGE: list[tuple[Sequence[str], str]] = [
    (["deploi"], "No such command"),
    (["deploy", "--replica"], "No such option"),
    (["replicas-needed", "--rps", "many", "--seconds", "1"], "not a valid float"),
    (["model", "register", "x", "--name", "m", "--tag", "plain"], "KEY=VALUE"),
    (["service", "create", "digits"], "Missing option"),
]


@pytest.mark.parametrize(("arguments", "words"), USAGE)
def test_a_command_line_that_is_not_understood_ends_with_2_and_says_where_help_is(
    outhaul: Command, arguments: Sequence[str], words: str
) -> None:
    answer = outhaul(*arguments, "-o", "json")
    assert (answer.status, answer.out) == (2, "")
    error = json.loads(answer.err)["error"]
    assert list(error) == ["code", "message", "found", "expected", "remedy", "retry"]
    assert error["code"] == "usage"
    assert words in error["message"]
    assert "--help" in error["remedy"]


@pytest.mark.parametrize("group", [[], ["run"], ["service"]])
def test_a_command_that_is_not_finished_gets_the_help(outhaul: Command, group: list[str]) -> None:
    answer = outhaul(*group)
    assert (answer.status, answer.out) == (2, "")
    assert answer.err.startswith("Usage: outhaul")
    assert "Commands:" in answer.err


def test_an_answer_that_does_not_come_ends_with_4(outhaul: Command) -> None:
    """A service is there, its router is not: an outside cause."""
    opened = open_workspace(read_settings(outhaul.env_vars))
    from outhaul.service.record import Service
    from outhaul.store.keys import service_record

    opened.records.create(service_record("digits"), Service(name="digits", created_at="", updated_at=""))
    answer = outhaul("service", "run", "digits", "--data", "{}", "-o", "json")
    assert answer.status == 4
    assert json.loads(answer.err)["error"]["retry"] is True


def test_no_colour_reaches_a_file(outhaul: Command, root: Path) -> None:
    for arguments in (["deploy", root / "absent"], ["--help"], ["model", "list"], ["snapshot", root]):
        answer = outhaul(*arguments)
        assert not re.search("\x1b", answer.out + answer.err)
