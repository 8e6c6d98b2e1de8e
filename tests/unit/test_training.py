"""The entry script is started once, followed to its end, and what it wrote is kept whatever happened."""

from __future__ import annotations

from pathlib import Path

import pytest

from outhaul.errors import Cancelled, Failed
from outhaul.ports import BuiltEnvironment, ComputeRequest, ScriptSpec, Slot
from outhaul.run.lifecycle import begin_run, finish_run, reap, release_run, request_cancel
from outhaul.run.record import EndReason, Run, RunState
from outhaul.run.training import run_entry_script, save_everything
from outhaul.store.keys import run_files, run_record
from tests.unit.fake_workspace import Fakes, fake_workspace, good_script

SPEC = ScriptSpec(
    environment=BuiltEnvironment("h", "h", Path("/python"), "3.11.7", {}, "workspace", ""), script="train.py"
)


def bad_script(project: Path, spec: ScriptSpec) -> tuple[int, bytes]:
    good_script(project, spec)
    return 3, b"Traceback\n"


def started(fakes: Fakes, restartable: bool = False) -> Slot:
    begin_run(fakes.workspace, "r1", "train", {"name": "r", "project": "p", "restartable": restartable})
    return fakes.compute.acquire(ComputeRequest(owner="r1", expires_at=900.0), print)


def record(fakes: Fakes) -> Run:
    return fakes.workspace.records.read(run_record("r1"), Run)[0]


def test_a_script_that_ends_well_is_one_attempt_and_its_output_is_passed_on(tmp_path: Path) -> None:
    fakes, output = fake_workspace(tmp_path), bytearray()
    attempt = run_entry_script(fakes.workspace, "r1", started(fakes), SPEC, output.extend)
    assert (attempt.number, attempt.exit_code, attempt.reason) == (1, 0, EndReason.EXITED)
    assert output == b"training\ndone\n"
    assert record(fakes).state is RunState.FINALIZING


def test_a_flow_that_is_started_again_attaches_and_starts_nothing(tmp_path: Path) -> None:
    starts: list[str] = []

    def counted(project: Path, spec: ScriptSpec) -> tuple[int, bytes]:
        starts.append(spec.script)
        return good_script(project, spec)

    fakes = fake_workspace(tmp_path, counted)
    slot = started(fakes)
    for _ in range(2):
        run_entry_script(fakes.workspace, "r1", slot, SPEC, lambda data: None)
    assert starts == ["train.py"]
    assert len(record(fakes).attempts) == 1


def test_a_failed_script_is_not_tried_again_and_says_its_exit_status(tmp_path: Path) -> None:
    fakes = fake_workspace(tmp_path, bad_script)
    slot = started(fakes, restartable=True)
    with pytest.raises(Failed) as failed:
        run_entry_script(fakes.workspace, "r1", slot, SPEC, lambda data: None)
    assert failed.value.code == "entry-script-failed"
    assert "3" in failed.value.found
    assert "outhaul run logs r1" in failed.value.remedy
    assert len(record(fakes).attempts) == 1


def test_a_lost_attempt_is_followed_by_another_where_the_project_says_so(tmp_path: Path) -> None:
    fakes = fake_workspace(tmp_path)
    fakes.compute.lost = {1, 2}
    attempt = run_entry_script(fakes.workspace, "r1", started(fakes, restartable=True), SPEC, lambda data: None)
    assert attempt.number == 3
    assert [each.reason for each in record(fakes).attempts] == [EndReason.LOST, EndReason.LOST, EndReason.EXITED]


def test_a_lost_attempt_ends_a_run_that_must_not_run_twice(tmp_path: Path) -> None:
    fakes = fake_workspace(tmp_path)
    fakes.compute.lost = {1}
    with pytest.raises(Failed) as failed:
        run_entry_script(fakes.workspace, "r1", started(fakes), SPEC, lambda data: None)
    assert failed.value.code == "attempt-lost"
    assert "restartable" in failed.value.remedy


def test_a_cancelled_attempt_ends_the_run_as_cancelled(tmp_path: Path) -> None:
    fakes = fake_workspace(tmp_path)
    slot = started(fakes)
    fakes.compute.cancel("r1", 1)
    with pytest.raises(Cancelled) as cancelled:
        run_entry_script(fakes.workspace, "r1", slot, SPEC, lambda data: None)
    finish_run(fakes.workspace, "r1", cancelled.value)
    assert record(fakes).state is RunState.CANCELED


def test_outputs_and_metrics_are_saved_also_when_the_script_failed(tmp_path: Path) -> None:
    fakes = fake_workspace(tmp_path, bad_script)
    slot = started(fakes)
    with pytest.raises(Failed):
        run_entry_script(fakes.workspace, "r1", slot, SPEC, lambda data: None)
    run = save_everything(fakes.workspace, "r1", slot, lambda done, total: None)
    assert (run.outputs_saved, run.output_files, run.metrics) == (True, 2, {"accuracy": 0.97})
    assert fakes.workspace.store.get(run_files("r1") + "outputs/model.pkl")[0] == b"model"


@pytest.mark.parametrize("text", ["[1, 2]", "{", "", "null"])
def test_metrics_that_are_no_object_are_left_out(tmp_path: Path, text: str) -> None:
    def script(project: Path, spec: ScriptSpec) -> tuple[int, bytes]:
        (project / "outputs").mkdir()
        (project / "outputs" / "metrics.json").write_text(text)
        return 0, b""

    fakes = fake_workspace(tmp_path, script)
    slot = started(fakes)
    run_entry_script(fakes.workspace, "r1", slot, SPEC, lambda data: None)
    assert save_everything(fakes.workspace, "r1", slot, lambda done, total: None).metrics == {}


@pytest.mark.parametrize(
    ("error", "state"),
    [
        (None, RunState.COMPLETED),
        (Failed("x", "it failed"), RunState.FAILED),
        (ValueError("ours"), RunState.FAILED),
        (Cancelled("run-cancelled", "stopped"), RunState.CANCELED),
        (KeyboardInterrupt(), RunState.CANCELED),
        (SystemExit(143), RunState.CANCELED),
    ],
)
def test_a_run_ends_once_and_says_why(tmp_path: Path, error: BaseException | None, state: RunState) -> None:
    fakes = fake_workspace(tmp_path)
    started(fakes)
    finish_run(fakes.workspace, "r1", error)
    finish_run(fakes.workspace, "r1", Failed("later", "too late"))
    run = record(fakes)
    assert run.state is state
    assert run.ended_at is not None
    assert (run.error is None) == (error is None)
    assert "later" not in str(run.error)


def test_a_restarted_run_is_open_again(tmp_path: Path) -> None:
    fakes = fake_workspace(tmp_path)
    slot = started(fakes)
    run_entry_script(fakes.workspace, "r1", slot, SPEC, lambda data: None)
    finish_run(fakes.workspace, "r1", Failed("x", "it failed"))
    again = begin_run(fakes.workspace, "r1", "train", {"name": "r", "project": "p"})
    assert (again.state, again.error, again.ended_at) == (RunState.RUNNING, None, None)
    assert len(again.attempts) == 1


def test_a_release_saves_what_there_is_and_frees_the_slot_and_may_be_repeated(tmp_path: Path) -> None:
    fakes = fake_workspace(tmp_path)
    run_entry_script(fakes.workspace, "r1", started(fakes), SPEC, lambda data: None)
    for _ in range(2):
        release_run(fakes.workspace, "r1")
    assert fakes.compute.leases() == []
    assert record(fakes).outputs_saved
    assert not (tmp_path / "slots" / "r1").exists()


def test_asking_to_cancel_a_run_that_ended_changes_nothing(tmp_path: Path) -> None:
    fakes = fake_workspace(tmp_path)
    started(fakes)
    finish_run(fakes.workspace, "r1")
    assert request_cancel(fakes.workspace, "r1").state is RunState.COMPLETED


@pytest.mark.parametrize(
    ("alive", "now", "released"),
    [(True, 0.0, []), (False, 899.0, []), (True, 1000.0, []), (False, 901.0, ["r1"])],
)
def test_the_reaper_takes_only_what_is_dead_and_expired(
    tmp_path: Path, alive: bool, now: float, released: list[str]
) -> None:
    fakes = fake_workspace(tmp_path)
    started(fakes)
    assert reap(fakes.workspace, lambda run: alive, now) == released
    assert record(fakes).state is (RunState.FAILED if released else RunState.PREPARING)
    assert [lease.owner for lease in fakes.compute.leases()] == ([] if released else ["r1"])


def test_the_reaper_frees_the_slot_of_a_run_that_ended_at_once(tmp_path: Path) -> None:
    fakes = fake_workspace(tmp_path)
    started(fakes)
    finish_run(fakes.workspace, "r1")
    assert reap(fakes.workspace, lambda run: True, 0.0) == ["r1"]
    assert record(fakes).state is RunState.COMPLETED


def test_the_reaper_frees_a_slot_whose_run_was_never_written(tmp_path: Path) -> None:
    fakes = fake_workspace(tmp_path)
    fakes.compute.acquire(ComputeRequest(owner="r9", expires_at=10.0), print)
    assert reap(fakes.workspace, lambda run: False, 11.0) == ["r9"]
