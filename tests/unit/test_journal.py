"""The step table in the run's record, while the steps happen."""

from __future__ import annotations

import pytest

from outhaul.errors import Failed
from outhaul.run.journal import Journal
from outhaul.run.record import Run, Step, StepState
from outhaul.store.keys import run_record
from outhaul.store.records import Records
from tests.fakes import FakeObjectStore


class Stage:
    """A run's record and a clock that the test moves."""

    def __init__(self) -> None:
        self.now = 0.0
        self.records = Records(FakeObjectStore(), pause=lambda seconds: None)
        self.records.create(run_record("r"), Run(id="r", name="r", project="p", kind="deploy", created_at=""))
        self.journal = Journal(self.records, "r", lambda: self.now)

    @property
    def steps(self) -> list[Step]:
        return self.records.read(run_record("r"), Run)[0].steps


@pytest.fixture
def stage() -> Stage:
    return Stage()


def test_a_step_is_seen_while_it_runs_and_done_with_its_seconds(stage: Stage) -> None:
    with stage.journal.step("zip_project", "digits"):
        assert [(s.name, s.state, s.note) for s in stage.steps] == [("zip_project", StepState.RUNNING, "digits")]
        stage.now = 2.5
    assert [(s.state, s.seconds, s.note) for s in stage.steps] == [(StepState.DONE, 2.5, "digits")]


def test_a_note_is_written_when_the_last_one_could_be_read(stage: Stage) -> None:
    with stage.journal.step("build_image") as step:
        step.note("1 of 3")
        assert stage.steps[0].note == ""
        stage.now = 1.0
        step.note("2 of 3")
        assert stage.steps[0].note == "2 of 3"
        step.note("3 of 3")
    assert stage.steps[0].note == "3 of 3"


@pytest.mark.parametrize(("verb", "state"), [("reused", StepState.REUSED), ("skipped", StepState.SKIPPED)])
def test_a_step_may_end_as_reused_or_skipped(stage: Stage, verb: str, state: StepState) -> None:
    with stage.journal.step("a") as step:
        getattr(step, verb)("there already")
    assert (stage.steps[0].state, stage.steps[0].note) == (state, "there already")


def test_a_failed_step_says_why_and_its_error_goes_on(stage: Stage) -> None:
    with pytest.raises(Failed), stage.journal.step("a"):
        raise Failed("x", "it broke")
    assert (stage.steps[0].state, stage.steps[0].note) == (StepState.FAILED, "it broke")


def test_an_interrupted_step_is_failed_too(stage: Stage) -> None:
    with pytest.raises(KeyboardInterrupt), stage.journal.step("a"):
        raise KeyboardInterrupt
    assert stage.steps[0].state is StepState.FAILED


def test_a_step_that_happens_again_replaces_its_line(stage: Stage) -> None:
    for name in ("a", "b", "a"):
        with stage.journal.step(name):
            pass
    assert [s.name for s in stage.steps] == ["a", "b"]
