"""The step table as the Prefect UI shows it."""

from __future__ import annotations

from typing import Any

from outhaul.run.record import Run, RunState, Step, StepState
from outhaul.run.report import reused_everything, step_table
from outhaul.service.record import ModelRef


def run(**fields: Any) -> Run:
    return Run(
        **{"id": "r", "name": "deploy digits", "project": "digits", "kind": "deploy", "created_at": "", **fields}
    )


def step(name: str, state: StepState = StepState.DONE, note: str = "") -> Step:
    return Step(name=name, state=state, seconds=1.234, note=note)


def test_each_step_is_a_line_with_seconds_state_and_note() -> None:
    table = step_table(run(steps=[step("zip_project", note="5 files"), step("build_image", StepState.REUSED)]))
    assert "| zip_project | 1.23 | done | 5 files |" in table
    assert "| build_image | 1.23 | reused |  |" in table


def test_a_note_cannot_break_the_table() -> None:
    table = step_table(run(steps=[step("a", note="one | two\nthree")]))
    assert "| one \\| two; three |" in table


def test_an_error_stands_above_the_table_with_its_remedy() -> None:
    error = {"code": "x", "message": "it failed", "found": "line 1\nline 2", "expected": "", "remedy": "mend it"}
    table = step_table(run(state=RunState.FAILED, error=error, steps=[step("a", StepState.FAILED)]))
    assert table.index("> it failed") < table.index("> remedy: mend it") < table.index("| a |")
    assert "> found: line 1\n> line 2" in table
    assert "expected" not in table


def test_models_metrics_and_the_url_follow() -> None:
    table = step_table(run(models=[ModelRef("digits", 2)], metrics={"b": 2, "a": 0.5}, scoring_uri="http://x/score"))
    assert "Models: `digits:2`" in table
    assert "Metrics: `a` = 0.5, `b` = 2" in table
    assert "Scoring URL: http://x/score" in table


def test_everything_was_reused_only_when_the_rollout_was_too() -> None:
    rolled = step("roll_out_service", StepState.DONE)
    kept = step("roll_out_service", StepState.REUSED)
    assert reused_everything(run(reused_from="r0", steps=[kept]))
    assert reused_everything(run(reused_from="r0"))
    assert not reused_everything(run(reused_from="r0", steps=[rolled]))
    assert not reused_everything(run(steps=[kept]))
