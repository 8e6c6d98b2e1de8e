"""Which earlier run made the same."""

from __future__ import annotations

from typing import Any

import pytest

from outhaul.run.record import Run, RunState
from outhaul.run.reuse import Ingredients, reusable_run
from outhaul.service.record import ModelRef

WANTED = Ingredients(snapshot="s", environment="e", arguments=("--a", "1"), data_digest="d")


def run(**changes: Any) -> Run:
    fields: dict[str, Any] = {
        "id": "r1",
        "name": "r",
        "project": "digits",
        "kind": "deploy",
        "created_at": "2026-01-01T00:00:00.000Z",
        "state": RunState.COMPLETED,
        "snapshot": "s",
        "environment": "e",
        "arguments": ["--a", "1"],
        "data_digest": "d",
        "outputs_saved": True,
        "models": [ModelRef("digits", 1)],
    }
    return Run(**fields | changes)


def test_the_same_ingredients_and_the_models_make_a_run_reusable() -> None:
    assert reusable_run(WANTED, ["digits"], [run()]) == run()


@pytest.mark.parametrize(
    "change",
    [
        {"snapshot": "other"},
        {"environment": "other"},
        {"arguments": ["1", "--a"]},
        {"arguments": []},
        {"data_digest": "newer"},
        {"models": []},
        {"outputs_saved": False},
        {"state": RunState.RUNNING},
        {"state": RunState.CANCELED},
        {"reused_from": "r0"},
    ],
    ids=str,
)
def test_a_run_that_differs_in_one_thing_is_not_reusable(change: dict[str, Any]) -> None:
    assert reusable_run(WANTED, ["digits"], [run(**change)]) is None


def test_a_run_whose_rollout_failed_has_its_models_and_is_reusable() -> None:
    assert reusable_run(WANTED, ["digits"], [run(state=RunState.FAILED)]) is not None


def test_the_newest_one_is_taken() -> None:
    newer = run(id="r2", created_at="2026-01-02T00:00:00.000Z")
    assert reusable_run(WANTED, ["digits"], [run(), newer, run()]) == newer


def test_without_runs_there_is_none() -> None:
    assert reusable_run(WANTED, [], []) is None
