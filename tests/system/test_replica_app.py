"""Replicas made of a real environment, snapshot, models and the scoring server, kept by the real node."""

from __future__ import annotations

import hashlib
import io
import json
import os
import signal
import urllib.request
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from outhaul.adapters.environment_folder import FolderEnvironmentStore
from outhaul.adapters.folder_store import FolderStore
from outhaul.adapters.process_cluster import ProcessCluster
from outhaul.adapters.uv_builder import UvBuilder
from outhaul.environment.definition import Environment, environment_hash
from outhaul.errors import Failed, NotFound
from outhaul.home import Home
from outhaul.model.record import Model
from outhaul.node.control import down, status, up
from outhaul.node.replica_app import ScoringLauncher, materialise, model_dir
from outhaul.run.record import OutputFile
from outhaul.service.record import ModelRef
from outhaul.service.replica import Replica, ReplicaTemplate
from outhaul.store.keys import model_record, snapshot_zip
from tests.stand_ins.machine import until

SCORE = """
import os
import beside

def init():
    global weights
    with open(os.path.join(os.environ["AZUREML_MODEL_DIR"], "weights.txt")) as file:
        weights = file.read()

def run(data):
    return {"weights": weights, "beside": beside.VALUE, "color": os.environ["COLOR"]}
"""
BARE = Environment()
"""Python and nothing else: built offline in a moment."""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """A home with one environment, one snapshot and two models."""
    home = Home(tmp_path_factory.mktemp("home"))
    UvBuilder(FolderEnvironmentStore(home.environments, "workspace")).build(BARE, lambda line: None)
    store = FolderStore(home.store)
    put_snapshot(store, "good", {"src/score.py": SCORE, "src/beside.py": "VALUE = 7\n"})
    put_snapshot(
        store, "broken", {"src/score.py": "def init():\n    raise ValueError('no weights')\n\ndef run(data): ...\n"}
    )
    put_model(store, ModelRef("digits", 3), b"heavy")
    put_model(store, ModelRef("other", 1), b"light")
    return home


@pytest.fixture
def cluster(home: Home) -> Iterator[ProcessCluster]:
    """The cluster with its node up."""
    up(home, [])
    yield ProcessCluster(home)
    for template in ProcessCluster(home).deployments():
        ProcessCluster(home).remove(template.deployment)
    down(home, patience=20.0)


def put_snapshot(store: FolderStore, digest: str, files: dict[str, str]) -> None:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    store.put(snapshot_zip(digest), packed.getvalue())


def put_model(store: FolderStore, ref: ModelRef, data: bytes) -> None:
    location = f"model-files/{ref.name}/{ref.version}/"
    store.put(location + "weights.txt", data)
    file = OutputFile(path="weights.txt", bytes=len(data), sha256=hashlib.sha256(data).hexdigest())
    model = Model(
        name=ref.name,
        version=ref.version,
        created_at="2026-11-22T00:00:00.000Z",
        location=location,
        digest="",
        files=[file],
    )
    store.put(model_record(ref.name, ref.version), msgspec.json.encode(model))


def template(**changes: Any) -> ReplicaTemplate:
    fields: dict[str, Any] = {
        "deployment": "digits-1",
        "service": "digits",
        "version": 1,
        "environment": environment_hash(BARE),
        "snapshot": "good",
        "score_script": "score.py",
        "source_directory": "src",
        "models": [ModelRef("digits", 3)],
        "env_vars": {"COLOR": "blue"},
    }
    return ReplicaTemplate(**fields | changes)


def score(replica: Replica) -> Any:
    url = f"http://{replica.host}:{replica.port}/api/v1/service/digits/score"
    request = urllib.request.Request(url, data=b"{}", headers={"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=10) as answer:
        return json.load(answer)


def ready(cluster: ProcessCluster, number: int) -> list[Replica]:
    until(lambda: [r.state for r in cluster.replicas()] == ["ready"] * number, 60.0)
    return list(cluster.replicas())


@pytest.mark.slow
def test_replicas_score_with_the_model_the_script_and_the_env_vars(cluster: ProcessCluster) -> None:
    cluster.apply(template(), 2)
    for replica in ready(cluster, 2):
        assert score(replica) == {"weights": "heavy", "beside": 7, "color": "blue"}


@pytest.mark.slow
def test_a_script_whose_init_fails_says_why(cluster: ProcessCluster) -> None:
    cluster.apply(template(deployment="digits-2", snapshot="broken"), 1)
    until(lambda: any("ValueError: no weights" in r.message for r in cluster.replicas("digits-2")), 60.0)
    assert "ValueError: no weights" in cluster.logs("digits-2")


@pytest.mark.slow
def test_a_removed_deployment_leaves_no_file_of_its_replicas(cluster: ProcessCluster, home: Home) -> None:
    cluster.apply(template(deployment="digits-4"), 1)
    ready(cluster, 1)
    cluster.remove("digits-4")
    until(lambda: not cluster.replicas(), 20.0)
    until(lambda: not list((home.cluster / "apps").iterdir()))
    assert list((home.cluster / "running").iterdir()) == []
    assert list(home.sockets.glob("digits-4-*")) == []


@pytest.mark.slow
def test_a_killed_replica_serves_again_at_the_same_port(cluster: ProcessCluster, home: Home) -> None:
    cluster.apply(template(deployment="digits-6"), 1)
    (before,) = ready(cluster, 1)
    pid = next(s.pid for s in status(home) if s.name == before.id)
    os.kill(pid or 0, signal.SIGKILL)
    until(lambda: cluster.replicas()[0].restarts == 1)
    (after,) = ready(cluster, 1)
    assert (after.id, after.port) == (before.id, before.port)
    assert score(after)["weights"] == "heavy"


@pytest.mark.slow
def test_apps_outlive_down_so_that_up_is_quick(cluster: ProcessCluster, home: Home) -> None:
    cluster.apply(template(deployment="digits-5"), 1)
    ready(cluster, 1)
    (app,) = (home.cluster / "apps/digits-5").iterdir()
    made = app.stat().st_ino
    down(home)
    up(home, [])
    ready(cluster, 1)
    assert app.stat().st_ino == made


def test_one_model_has_its_own_folder_and_several_share_one(home: Home, tmp_path: Path) -> None:
    both = [ModelRef("digits", 3), ModelRef("other", 1)]
    materialise(FolderStore(home.store), template(models=both), tmp_path / "app")
    assert model_dir(tmp_path / "app", both) == tmp_path / "app/azureml-models"
    assert (tmp_path / "app/azureml-models/digits/3/weights.txt").read_text() == "heavy"
    assert (model_dir(tmp_path / "app", both[1:]) / "weights.txt").read_text() == "light"
    assert (tmp_path / "app/source/src/score.py").read_text() == SCORE


def test_a_damaged_model_leaves_nothing_behind(tmp_path: Path) -> None:
    store = FolderStore(tmp_path / "store")
    put_snapshot(store, "good", {"score.py": SCORE})
    put_model(store, ModelRef("digits", 3), b"heavy")
    store.put("model-files/digits/3/weights.txt", b"other")
    with pytest.raises(Failed) as caught:
        materialise(store, template(), tmp_path / "apps/app")
    assert caught.value.code == "model-damaged"
    assert list((tmp_path / "apps").iterdir()) == []


def test_what_a_killed_node_had_half_made_is_cleared(home: Home, tmp_path: Path) -> None:
    (tmp_path / ".app-0123").mkdir()
    materialise(FolderStore(home.store), template(), tmp_path / "app")
    assert [path.name for path in tmp_path.iterdir()] == ["app"]


def test_an_environment_that_is_not_built_is_not_found(home: Home, tmp_path: Path) -> None:
    with pytest.raises(NotFound) as caught:
        ScoringLauncher(home).prepare(template(environment="0" * 32), tmp_path / "app")
    assert caught.value.code == "environment-not-built"


def test_the_nodes_own_python_settings_do_not_reach_a_replica() -> None:
    from outhaul.node.replica_app import inherited

    own = {"PYTHONPATH": "x", "VIRTUAL_ENV": "y", "PREFECT_HOME": "z", "PATH": "/bin", "LANG": "C.UTF-8"}
    assert inherited(own, Path("/env/bin/python")) == {"PATH": "/env/bin:/bin", "LANG": "C.UTF-8"}
