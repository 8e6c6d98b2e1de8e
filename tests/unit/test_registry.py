"""The model registry, over doubles."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from outhaul.errors import NotFound, Refused
from outhaul.model.registry import download_model, find_model, list_models, register_path, register_run_model
from outhaul.run.outputs import save_outputs
from outhaul.run.record import Run
from outhaul.service.record import ModelRef
from outhaul.store.keys import run_record
from outhaul.workspace import Workspace
from tests.unit.fake_workspace import fake_workspace


@pytest.fixture
def opened(tmp_path: Path) -> Workspace:
    return fake_workspace(tmp_path).workspace


@pytest.fixture
def run(opened: Workspace, tmp_path: Path) -> Run:
    """A run that saved `outputs/model.pkl` and `outputs/net/{a,b}.bin`."""
    outputs = tmp_path / "outputs"
    (outputs / "net").mkdir(parents=True)
    (outputs / "model.pkl").write_bytes(b"model")
    (outputs / "net" / "a.bin").write_bytes(b"a")
    (outputs / "net" / "b.bin").write_bytes(b"b")
    save_outputs(outputs, opened.store, "r1", lambda done, total: None)
    run = Run(id="r1", name="r", project="digits", kind="train", created_at="", snapshot="s", arguments=["-x"])
    opened.records.create(run_record("r1"), run)
    return run


@pytest.mark.parametrize(
    ("path", "files"),
    [
        ("outputs/model.pkl", ["model.pkl"]),
        ("outputs/net", ["net/a.bin", "net/b.bin"]),
        ("outputs/net/", ["net/a.bin", "net/b.bin"]),
        ("outputs/net/a.bin", ["a.bin"]),
        ("outputs", ["outputs/model.pkl", "outputs/net/a.bin", "outputs/net/b.bin"]),
    ],
)
def test_a_runs_model_is_named_from_its_last_part_on_and_its_files_are_found(
    opened: Workspace, run: Run, tmp_path: Path, path: str, files: list[str]
) -> None:
    model = register_run_model(opened, run, "digits", path, {"numpy": "2"})
    assert [file.path for file in model.files] == files
    written = download_model(opened, model, tmp_path / "got")
    assert [str(each.relative_to(tmp_path / "got")) for each in written] == files


def test_a_model_knows_where_it_came_from_and_the_run_knows_its_model(opened: Workspace, run: Run) -> None:
    model = register_run_model(opened, run, "digits", "outputs/model.pkl", {"numpy": "2"})
    origin = model.provenance
    assert (origin.run, origin.snapshot, origin.arguments, origin.packages) == ("r1", "s", ["-x"], {"numpy": "2"})
    assert opened.records.read(run_record("r1"), Run)[0].models == [ModelRef("digits", 1)]


@pytest.mark.parametrize("told", [True, False])
def test_a_run_that_registers_again_gets_the_version_it_made(opened: Workspace, run: Run, told: bool) -> None:
    """Whether the flow died before or after its record was written."""
    first = register_run_model(opened, run, "digits", "outputs/model.pkl", {})
    record = opened.records.read(run_record("r1"), Run)[0]
    again = register_run_model(opened, record if told else run, "digits", "outputs/model.pkl", {})
    assert again.ref == first.ref
    assert len(list_models(opened)) == 1


def test_what_the_run_did_not_save_cannot_be_registered_and_what_it_saved_is_named(opened: Workspace, run: Run) -> None:
    with pytest.raises(NotFound) as missing:
        register_run_model(opened, run, "digits", "outputs/mod", {})
    assert missing.value.code == "model-not-in-outputs"
    assert "outputs/model.pkl" in missing.value.found
    assert list_models(opened) == []


def test_versions_count_up_and_the_newest_is_found_by_name(opened: Workspace, tmp_path: Path) -> None:
    (tmp_path / "m.pkl").write_bytes(b"m")
    for _ in range(11):
        register_path(opened, tmp_path / "m.pkl", "digits", {"a": "b"}, "text")
    assert find_model(opened, "digits").version == 11
    assert find_model(opened, "digits:2").tags == {"a": "b"}
    assert [model.version for model in list_models(opened, "digits")] == list(range(11, 0, -1))
    assert list_models(opened, "digit") == []


def test_equal_files_have_equal_digests(opened: Workspace, tmp_path: Path) -> None:
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "a").write_text("a")
    first = register_path(opened, tmp_path / "m", "one", {}, "")
    same = register_path(opened, tmp_path / "m", "two", {}, "")
    (tmp_path / "m" / "a").write_text("b")
    other = register_path(opened, tmp_path / "m", "one", {}, "")
    assert first.digest == same.digest != other.digest


def test_two_registrations_at_once_get_two_versions(opened: Workspace, tmp_path: Path) -> None:
    (tmp_path / "m.pkl").write_bytes(b"m")
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda n: register_path(opened, tmp_path / "m.pkl", "digits", {}, str(n)), range(16)))
    assert sorted(model.version for model in made) == list(range(1, 17))


@pytest.mark.parametrize(
    ("reference", "code"),
    [("absent", "model-not-found"), ("m:7", "model-not-found"), ("m:x", "model-version"), ("../m", "model-name")],
)
def test_a_model_that_does_not_exist(opened: Workspace, tmp_path: Path, reference: str, code: str) -> None:
    (tmp_path / "m.pkl").write_bytes(b"m")
    register_path(opened, tmp_path / "m.pkl", "m", {}, "")
    with pytest.raises((NotFound, Refused)) as error:
        find_model(opened, reference)
    assert error.value.code == code


def test_a_download_never_overwrites(opened: Workspace, tmp_path: Path) -> None:
    (tmp_path / "m.pkl").write_bytes(b"new")
    model = register_path(opened, tmp_path / "m.pkl", "m", {}, "")
    (tmp_path / "m.pkl").write_bytes(b"old")
    with pytest.raises(Refused) as refused:
        download_model(opened, model, tmp_path)
    assert refused.value.code == "download-target"
    assert (tmp_path / "m.pkl").read_bytes() == b"old"
