from __future__ import annotations

import json

import pytest

from outhaul.scoring.config import ConfigError, parse
from outhaul.scoring.status import FAILED, READY, Load, Status

LEAST = {"source_directory": "/src", "score_script": "score.py"}


def test_defaults_are_those_of_the_replica_template() -> None:
    config = parse(json.dumps({**LEAST, "service": "digits"}))
    assert (config.concurrency, config.scoring_timeout_ms, config.max_queue_wait_ms) == (1, 60_000, 500)
    assert config.prefix == "/api/v1/service/digits"
    assert config.drain_seconds == 65.5


def test_the_script_finds_the_environment_variables_of_v1() -> None:
    config = parse(json.dumps({**LEAST, "service": "digits", "version": 3, "model_dir": "/m", "workspace": "w"}))
    assert config.env_vars() == {
        "AML_APP_ROOT": "/src",
        "AZUREML_ENTRY_SCRIPT": "score.py",
        "AZUREML_MODEL_DIR": "/m",
        "AZUREML_SOURCE_DIRECTORY": "/src",
        "SCORING_TIMEOUT_MS": "60000",
        "SERVICE_NAME": "digits",
        "SERVICE_PATH_PREFIX": "api/v1/service/digits",
        "SERVICE_VERSION": "3",
        "WORKSPACE_NAME": "w",
    }


def test_all_problems_are_named_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        parse(json.dumps({"score_script": "s.py", "concurrency": 0, "port": "80", "prot": 1}))
    text = str(caught.value)
    expected = [
        "unknown key `prot`",
        "`source_directory` is missing",
        "`concurrency` is 0",
        "`port` is '80', expected int",
    ]
    assert [part for part in expected if part not in text] == []


@pytest.mark.parametrize("text", ["", "[]", "{"])
def test_what_is_no_json_object_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="the scoring configuration is"):
        parse(text)


def test_not_ready_while_every_worker_is_past_its_timeout_and_live_until_they_are_stuck() -> None:
    status = Status("digits", 1, "", slots=2, state=READY)
    assert status.ready(Load(overdue=1)) == (True, READY)
    assert not status.ready(Load(overdue=2))[0]
    assert status.live(Load(overdue=2, stuck=1))
    assert not status.live(Load(overdue=2, stuck=2))


def test_a_failed_start_keeps_the_last_lines() -> None:
    status = Status("digits", 1, "", slots=1)
    status.fail("\n".join(str(n) for n in range(100)))
    assert status.state == FAILED
    assert status.message.splitlines()[0] == "80"
    assert not status.live(Load())
