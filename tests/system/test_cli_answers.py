"""What the commands answer with `-o json` is what their schemas promise; and none of these imports Prefect."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from outhaul.home import Home
from outhaul.model.registry import register_run_model
from outhaul.run.outputs import save_outputs
from outhaul.run.record import Attempt, EndReason, Run, RunState, Step, StepState
from outhaul.service.keys import ensure_keys
from outhaul.service.record import Keys, Score, Service, ServiceSpec, ServiceState, Version
from outhaul.settings import read_settings
from outhaul.store.keys import run_record, service_record
from outhaul.workspace import Workspace, open_workspace
from tests.system.cli_process import Command

SCHEMAS = Path(__file__).parents[2] / "docs/reference/cli"
TIME = "2026-01-02T03:04:05.678Z"
RUN = "0b5e7a52-9f0e-4a43-9d2f-1d1a7e6a2c11"


def valid(name: str, value: object) -> Any:
    schema = json.loads((SCHEMAS / f"{name}.schema.json").read_text())
    Draft202012Validator(schema).validate(value)
    return value


def written_run(opened: Workspace, root: Path) -> Run:
    """A run that trained, saved two files and registered a model."""
    (root / "outputs").mkdir(parents=True)
    (root / "outputs" / "model.pkl").write_bytes(b"model")
    (root / "outputs" / "metrics.json").write_text('{"accuracy": 0.97}')
    run = Run(
        id=RUN,
        name="deploy digits",
        project="digits",
        kind="deploy",
        state=RunState.COMPLETED,
        created_at=TIME,
        started_at=TIME,
        ended_at=TIME,
        attempts=[Attempt(number=1, started_at=TIME, ended_at=TIME, exit_code=0, reason=EndReason.EXITED)],
        steps=[Step(name="run_entry_script", state=StepState.DONE, seconds=1.5, note="python train.py")],
        outputs_saved=True,
        metrics={"accuracy": 0.97},
    )
    opened.records.create(run_record(RUN), run)
    save_outputs(root / "outputs", opened.store, RUN, lambda done, total: None)
    register_run_model(opened, run, "digits", "outputs/model.pkl", {"numpy": "2.3.4"})
    return run


def written_service(opened: Workspace) -> None:
    model = opened.records.read(run_record(RUN), Run)[0].models[0]
    version = Version(
        number=1,
        weight=100,
        created_at=TIME,
        run=RUN,
        snapshot="a" * 64,
        environment="b" * 32,
        score=Score(script="score.py"),
        models=[model],
        spec=ServiceSpec(),
    )
    hashes = ensure_keys(opened.secrets, "digits", Keys())
    service = Service(name="digits", created_at=TIME, updated_at=TIME, versions=[version], key_hashes=hashes)
    service.state = ServiceState.HEALTHY
    opened.records.create(service_record("digits"), service)


@pytest.fixture
def outhaul(tmp_path: Path) -> Command:
    """The command line on a home with one run, one model and one service; nothing is running."""
    command = Command(Home(tmp_path / "home"))
    opened = open_workspace(read_settings(command.env_vars))
    written_run(opened, tmp_path / "run")
    written_service(opened)
    return command


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project whose environment has no packages, so that it is built anywhere in a moment."""
    root = tmp_path / "digits"
    root.mkdir()
    (root / "train.py").write_text("print(1)\n")
    (root / "requirements.txt").write_text("")
    return root


def answer(outhaul: Command, *arguments: str | Path) -> Any:
    given = outhaul(*arguments, "-o", "json")
    assert given.status == 0, given
    return json.loads(given.out)


ANSWERS: list[tuple[str, list[str]]] = [
    ("run-list", []),
    ("run-show", ["latest"]),
    ("run-outputs", [RUN[:8]]),
    ("model-list", []),
    ("model-show", ["digits"]),
    ("service-list", []),
    ("service-show", ["digits"]),
    ("service-get-keys", ["digits"]),
    ("service-regen-key", ["digits", "--key", "primary"]),
    ("service-get-logs", ["digits"]),
    ("service-delete", ["digits", "--yes"]),
    ("environment-list", []),
    ("status", []),
    ("reap", []),
    ("down", []),
]


@pytest.mark.parametrize(("name", "arguments"), ANSWERS, ids=[name for name, _ in ANSWERS])
def test_an_answer_is_as_its_schema_says(outhaul: Command, name: str, arguments: list[str]) -> None:
    valid(name, answer(outhaul, *name.split("-", 1), *arguments))


def test_replicas_needed_is_the_descriptions_own_example(outhaul: Command) -> None:
    flags = ["--rps", "20", "--seconds", "10", "--utilization", "0.7", "--concurrency", "1"]
    assert valid("replicas-needed", answer(outhaul, "replicas-needed", *flags)) == {"replicas": 286}


def test_a_snapshots_answer_names_its_files_and_its_zip(outhaul: Command, project: Path) -> None:
    found = valid("snapshot", answer(outhaul, "snapshot", project))
    assert [file["path"] for file in found["files"]] == ["requirements.txt", "train.py"]
    assert Path(found["zip"]).is_file()


def test_what_was_saved_and_registered_can_be_downloaded(outhaul: Command, tmp_path: Path) -> None:
    saved = valid("run-outputs", answer(outhaul, "run", "outputs", "latest", "--target", tmp_path / "saved"))
    assert [Path(path).read_bytes() for path in saved if path.endswith(".pkl")] == [b"model"]
    model = valid("model-download", answer(outhaul, "model", "download", "digits:1", "--target", tmp_path / "model"))
    assert [Path(path).read_bytes() for path in model] == [b"model"]


def test_registering_a_path_makes_the_next_version(outhaul: Command, project: Path) -> None:
    flags = ["--name", "digits", "--tag", "kind=test", "--description", "none"]
    made = valid("model-register", answer(outhaul, "model", "register", project / "train.py", *flags))
    assert (made["version"], made["tags"]) == (2, {"kind": "test"})


def test_an_environment_is_hashed_built_pinned_and_published(outhaul: Command, project: Path) -> None:
    found = valid("environment-hash", answer(outhaul, "environment", "hash", project))
    pinned = valid("environment-lock", answer(outhaul, "environment", "lock", project))
    assert pinned["hash"] == found["hash"]
    assert valid("environment-publish", answer(outhaul, "environment", "publish", found["hash"]))["store"] == "global"
    both = valid("environment-list", answer(outhaul, "environment", "list"))
    assert [each["store"] for each in both] == ["workspace", "global"]


def test_an_error_is_as_its_schema_says(outhaul: Command) -> None:
    given = outhaul("run", "show", "absent", "-o", "json")
    assert valid("error", json.loads(given.err))["error"]["code"] == "run-not-found"


def test_tables_tell_people_the_same(outhaul: Command) -> None:
    assert "0b5e7a52" in outhaul("run", "list").out
    assert "run_entry_script" in outhaul("run", "show", "latest").out
    assert "Healthy" in outhaul("service", "show", "digits").out


def test_a_reader_that_leaves_early_is_no_error(outhaul: Command) -> None:
    read, write = os.pipe()
    os.close(read)
    argv = [sys.executable, "-m", "outhaul.cli", "run", "show", "latest"]
    done = subprocess.run(argv, env=outhaul.env_vars, stdout=write, stderr=subprocess.PIPE, text=True)
    os.close(write)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["deploy", "--help"],
        ["run", "list"],
        ["run", "show", "latest"],
        ["model", "list"],
        ["service", "show", "digits"],
        ["environment", "list"],
        ["environment", "hash", "."],
        ["snapshot", "examples"],
        ["status"],
        ["down"],
        ["reap"],
    ],
    ids=" ".join,
)
def test_a_command_that_runs_no_flow_does_not_import_prefect(outhaul: Command, arguments: list[str]) -> None:
    code = "\n".join(
        [
            "import sys",
            "from outhaul.cli.errors import run_command",
            "from outhaul.cli.root import outhaul",
            "run_command(outhaul, sys.argv[1:])",
            "print(sorted({'prefect', 'httpx', 'rich', 'asyncio'} & set(sys.modules)), file=sys.stderr)",
        ]
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        env=outhaul.env_vars,
        cwd=SCHEMAS.parents[2],
        capture_output=True,
        text=True,
    )
    assert done.stderr.splitlines()[-1] == "[]"
