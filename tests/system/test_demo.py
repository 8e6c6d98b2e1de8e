"""The main job: examples/digits from its folder to a served model, and what can be done with that."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from outhaul.project.sources import git_state
from tests.system.command_line import EXAMPLES, Outhaul, ask, eventually

pytestmark = pytest.mark.timeout(600)

DIGIT = json.loads((EXAMPLES / "digits" / "request.json").read_text())
STEPS = [
    *["zip_project", "look_up_earlier_run", "scale_up_compute", "hash_environment"],
    *["look_up_workspace_registry", "look_up_global_registry", "build_image", "push_image"],
    *["download_project", "unzip_project", "run_entry_script", "save_outputs", "scale_down_compute", "register_model"],
    *["roll_out_router", "roll_out_service", "check_service"],
]


def keys_of(outhaul: Outhaul, name: str) -> dict[str, str]:
    return dict(outhaul("service", "get-keys", name))


def test_the_first_deployment_goes_every_step(outhaul: Outhaul, digits: dict[str, Any]) -> None:
    run = outhaul("run", "show", digits["versions"][0]["run"])
    assert (run["state"], run["kind"], run["error"]) == ("Completed", "deploy", None)
    assert [step["name"] for step in run["steps"]] == STEPS
    states = {step["name"]: step["state"] for step in run["steps"]}
    assert states["build_image"] == states["run_entry_script"] == states["roll_out_service"] == "done"
    assert run["metrics"]["accuracy"] > 0.9
    assert run["scoringUri"] == digits["scoringUri"]
    saved = {file["path"] for file in outhaul("run", "outputs", run["id"])}
    assert saved == {"confusion_matrix.png", "metrics.json", "model.joblib"}
    assert outhaul("model", "show", "digits")["provenance"]["git"] == run["git"]
    assert bool(run["git"]["commit"]) == bool(git_state(str(EXAMPLES), EXAMPLES)[0])
    assert "accuracy" in outhaul.execute("run", "logs", run["id"]).stdout


def test_what_is_shown_of_a_service(digits: dict[str, Any]) -> None:
    assert {field: digits[field] for field in ("name", "state", "authEnabled", "replicas", "error")} == {
        "name": "digits",
        "state": "Healthy",
        "authEnabled": True,
        "replicas": {"ready": 2, "desired": 2},
        "error": None,
    }
    assert [(version["weight"], version["models"]) for version in digits["versions"]] == [(100, ["digits:1"])]


def test_both_keys_open_it_and_nothing_else_does(outhaul: Outhaul, digits: dict[str, Any]) -> None:
    for key in keys_of(outhaul, "digits").values():
        reply = ask(digits["scoringUri"], DIGIT, key)
        assert (reply.status_code, reply.json()) == (200, {"digits": [0]})
    assert ask(digits["scoringUri"], DIGIT).status_code == 401
    refusal = ask(digits["scoringUri"], DIGIT, "wrong" * 6)
    assert refusal.status_code == 401
    assert "get-keys" in refusal.json()["remedy"]


def test_a_new_key_counts_within_a_second(outhaul: Outhaul, digits: dict[str, Any]) -> None:
    old = keys_of(outhaul, "digits")
    new = outhaul("service", "regen-key", "digits", "--key", "primary")
    changed = time.monotonic()

    def status(key: str) -> int:
        return ask(digits["scoringUri"], DIGIT, key).status_code

    eventually(lambda: status(new["primaryKey"]) == 200, 1, "the new key opens the service")
    eventually(lambda: status(old["primaryKey"]) == 401, changed + 1 - time.monotonic(), "the old key does not")
    assert new["secondaryKey"] == old["secondaryKey"]
    assert status(new["secondaryKey"]) == 200


def test_description_and_logs(outhaul: Outhaul, digits: dict[str, Any]) -> None:
    described = ask(digits["swaggerUri"], key=keys_of(outhaul, "digits")["primaryKey"])
    assert described.status_code == 200
    assert described.json()["paths"]
    logs = outhaul("service", "get-logs", "digits")["logs"]
    assert logs.count("ready on") >= 2


def test_deploying_it_again_changes_nothing_and_says_so(outhaul: Outhaul, digits: dict[str, Any]) -> None:
    again = outhaul.execute("deploy", EXAMPLES / "digits", "--reuse")
    assert again.returncode == 0
    assert "nothing was rebuilt, retrained or rolled out" in again.stderr
    now = outhaul("service", "show", "digits")
    assert now["versions"] == digits["versions"]
    assert [model["version"] for model in outhaul("model", "list", "--name", "digits")] == [1]
    steps = {step["name"]: step["state"] for step in outhaul("run", "show", "latest")["steps"]}
    assert "build_image" not in steps
    assert "run_entry_script" not in steps
    assert steps["roll_out_service"] == "reused"


def test_a_deleted_service_is_gone(outhaul: Outhaul, digits: dict[str, Any]) -> None:
    key = keys_of(outhaul, "digits")["primaryKey"]
    outhaul("service", "delete", "digits", "--yes")
    eventually(lambda: ask(digits["scoringUri"], DIGIT, key).status_code == 404, 5, "the route is gone")
    names = {replica["id"] for version in digits["versions"] for replica in version["replicas"]}
    eventually(lambda: not names & {p["name"] for p in outhaul("status")}, 20, "the replicas are gone")
    assert outhaul.refused("service", "show", "digits")["code"] == "service-not-found"
    assert outhaul("model", "list", "--name", "digits"), "models stay"
