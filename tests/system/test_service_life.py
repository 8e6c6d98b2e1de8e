"""A service of a registered model: made without training, grown, and moved to a new model under its clients."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.system.clients import asking
from tests.system.command_line import Outhaul, eventually

pytestmark = pytest.mark.timeout(600)

SCORE = """
import os
from pathlib import Path

def init():
    global word
    word = next(Path(os.environ["AZUREML_MODEL_DIR"]).rglob("word.txt")).read_text()

def run(data):
    return word
"""


def test_a_registered_model_is_served_grown_and_replaced_without_a_lost_request(
    outhaul: Outhaul, tmp_path: Path
) -> None:
    model, script = tmp_path / "word.txt", tmp_path / "service" / "score.py"
    script.parent.mkdir()
    script.write_text(SCORE)
    model.write_text("first")
    assert outhaul("model", "register", model, "--name", "word")["version"] == 1

    run = outhaul("service", "create", "words", "--model", "word:1", "--score-script", script, "--replicas", "1")
    assert "run_entry_script" not in {step["name"] for step in run["steps"]}
    key = outhaul("service", "get-keys", "words")["primaryKey"]

    outhaul("service", "update", "words", "--replicas", "2")
    shown = outhaul("service", "show", "words")
    assert (shown["replicas"], shown["state"]) == ({"ready": 2, "desired": 2}, "Healthy")

    model.write_text("second")
    outhaul("model", "register", model, "--name", "word")
    with asking(shown["scoringUri"], key, {}) as answers:
        eventually(lambda: answers.bodies, 10, "the first answers")
        outhaul("service", "update", "words", "--model", "word:2")
        seen = len(answers.bodies)
        eventually(lambda: len(answers.bodies) > seen + 10, 10, "answers after the rollout")
    assert answers.lost == []
    assert answers.bodies[0] == "first"
    assert set(answers.bodies[seen + 2 :]) == {"second"}  # one for each client may have been on its way

    shown = outhaul("service", "show", "words")
    assert (shown["replicas"], shown["state"]) == ({"ready": 2, "desired": 2}, "Healthy"), "replicas stay as updated"
    assert [v["models"] for v in shown["versions"] if v["weight"]] == [["word:2"]]
    outhaul("service", "delete", "words", "--yes")
