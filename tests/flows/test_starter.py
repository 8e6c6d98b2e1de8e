"""The starter against a real server, real engines and a real worker."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil
import pytest

from outhaul.adapters.prefect_api import PrefectApi
from outhaul.adapters.prefect_registration import register
from outhaul.adapters.prefect_server import worker_process
from outhaul.adapters.prefect_starter import PrefectStarter
from outhaul.errors import Busy, Conflict, NotFound, Refused, Unreachable
from outhaul.home import Home
from outhaul.ports import FlowRun
from outhaul.run.flow_folder import FlowFolder, folder_of
from tests.flows.conftest import eventually, free_port, kept, new_home

SAMPLES = Path(__file__).parent / "sample_flows"
SLEEPER = "sleeper/sleeper"


@pytest.fixture(scope="module")
def registered(prefect_api: str, tmp_path_factory: pytest.TempPathFactory, bytecode: Path) -> str:
    register(new_home(tmp_path_factory.mktemp("registering") / "home", bytecode), prefect_api, SAMPLES)
    return prefect_api


@pytest.fixture
def starter(registered: str, home: Home) -> Iterator[PrefectStarter]:
    starter = PrefectStarter(home, registered, SAMPLES)
    yield starter
    starter.close()


class Sleeper:
    """One flow run that waits for a file to go away, and the book it writes to."""

    def __init__(self, starter: PrefectStarter, folder: Path) -> None:
        self.starter = starter
        self.book = folder / "book"
        self.hold = folder / "hold"
        self.hold.touch()
        self.run = starter.start(SLEEPER, {"book": str(self.book), "hold": str(self.hold)})

    @property
    def folder(self) -> FlowFolder:
        return folder_of(self.starter.home, self.run.id)

    @property
    def state(self) -> str:
        return self.starter.show(self.run.id).state

    def lines(self) -> list[str]:
        return self.book.read_text().split() if self.book.exists() else []

    def wait_for_line(self, line: str, times: int = 1) -> None:
        eventually(lambda: self.lines().count(line) == times)

    def end(self) -> FlowRun:
        return self.starter.wait(self.run.id, lambda _: None, 60)

    def kill(self, *, engine: bool, watcher: bool) -> None:
        known = self.folder.read()
        assert known is not None
        assert known.engine_pid is not None
        for pid in [known.pid] * watcher + [known.engine_pid] * engine:
            os.kill(pid, signal.SIGKILL)
            eventually(lambda pid=pid: gone(pid))


def gone(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


@pytest.fixture
def sleeper(starter: PrefectStarter, tmp_path: Path) -> Iterator[Sleeper]:
    """A flow run in the middle of its work."""
    sleeper = Sleeper(starter, tmp_path)
    sleeper.wait_for_line("task")
    yield sleeper
    sleeper.hold.unlink(missing_ok=True)
    eventually(lambda: lock_is_free(sleeper.folder))


def lock_is_free(folder: FlowFolder) -> bool:
    lock = folder.lock()
    if lock is not None:
        os.close(lock)
    return lock is not None


def test_a_started_flow_runs_at_once_to_its_end(starter: PrefectStarter, tmp_path: Path) -> None:
    run = starter.start(SLEEPER, {"book": str(tmp_path / "book")})
    heard: list[str] = []
    ended = starter.wait(run.id, lambda seen: heard.append(seen.state), 30)
    assert (ended.id, ended.state) == (run.id, "Completed")
    assert heard[-1] == "Completed"
    assert (tmp_path / "book").read_text().split() == ["start", "task", "awake", "released"]
    assert f"asleep as {run.id}" in starter.logs(run.id).decode()


def test_the_run_page_of_a_flow_run_exists(starter: PrefectStarter, sleeper: Sleeper) -> None:
    assert sleeper.run.url == f"{starter.api_url.removesuffix('/api')}/runs/flow-run/{sleeper.run.id}"
    assert httpx.get(sleeper.run.url, headers={"Accept": "text/html"}, trust_env=False).is_success


def test_the_pages_ask_the_server_that_serves_them(prefect_api: str) -> None:
    settings = httpx.get(f"{prefect_api.removesuffix('/api')}/ui-settings", trust_env=False).json()
    assert settings["api_url"] == prefect_api


def test_the_same_idempotency_key_executes_once(starter: PrefectStarter, tmp_path: Path) -> None:
    runs = [starter.start(SLEEPER, {"book": str(tmp_path / "book")}, idempotency_key=str(tmp_path)) for _ in range(2)]
    starter.wait(runs[0].id, lambda _: None, 30)
    assert runs[0].id == runs[1].id
    again = starter.start(SLEEPER, {"book": "another"}, idempotency_key=str(tmp_path))
    assert (again.id, again.state) == (runs[0].id, "Completed")
    assert (tmp_path / "book").read_text().split().count("start") == 1


def test_a_worker_never_takes_a_run_that_was_started_here(sleeper: Sleeper, tmp_path: Path) -> None:
    starter = sleeper.starter
    worker = worker_process(starter.home, starter.api_url)
    worker["env_vars"]["PREFECT_WORKER_QUERY_SECONDS"] = "1"
    with PrefectApi(starter.api_url) as api, kept(worker, tmp_path / "worker.log"):
        deployment = api.deployment(SLEEPER)["id"]
        parameters = {"book": str(tmp_path / "others")}
        pending = {"parameters": parameters, "state": {"type": "PENDING"}}
        nobody, _ = api.create_flow_run(deployment, pending)
        scheduled, _ = api.create_flow_run(deployment, {"parameters": parameters})
        starter.wait(scheduled["id"], lambda _: None, 60)
        assert starter.show(nobody["id"]).state == "Pending"
        assert (tmp_path / "others").read_text().split().count("start") == 1
        starter.cancel(sleeper.run.id)
        assert sleeper.end().state == "Cancelled"
    assert sleeper.lines() == ["start", "task", "released"]


def test_a_cancelled_flow_releases_and_ends_cancelled(sleeper: Sleeper) -> None:
    sleeper.starter.cancel(sleeper.run.id)
    assert sleeper.end().state == "Cancelled"
    assert sleeper.lines() == ["start", "task", "released"]
    sleeper.starter.cancel(sleeper.run.id)
    assert sleeper.state == "Cancelled"


def test_a_flow_cancelled_before_its_first_line_never_gets_there(starter: PrefectStarter, tmp_path: Path) -> None:
    run = starter.start(SLEEPER, {"book": str(tmp_path / "book")})
    starter.cancel(run.id)
    assert starter.wait(run.id, lambda _: None, 30).state == "Cancelled"
    assert not (tmp_path / "book").exists()


def test_a_killed_engine_is_reported_with_the_reason_and_runs_again_under_its_id(sleeper: Sleeper) -> None:
    sleeper.kill(engine=True, watcher=False)
    assert sleeper.end().state == "Crashed"
    with PrefectApi(sleeper.starter.api_url) as api:
        message = api.flow_run(sleeper.run.id)["state"]["message"]
    assert "killed by SIGKILL" in message
    assert "asleep as" in message
    sleeper.hold.unlink()
    assert sleeper.starter.restart(sleeper.run.id).id == sleeper.run.id
    assert sleeper.end().state == "Completed"
    assert sleeper.lines() == ["start", "task", "start", "task", "awake", "released"]


def test_a_run_whose_processes_were_all_killed_runs_again_under_its_id(sleeper: Sleeper) -> None:
    sleeper.kill(engine=True, watcher=True)
    assert sleeper.state == "Running"
    sleeper.hold.unlink()
    sleeper.starter.restart(sleeper.run.id)
    assert sleeper.end().state == "Completed"


def test_a_run_whose_processes_were_all_killed_is_settled_by_tending(sleeper: Sleeper) -> None:
    sleeper.kill(engine=True, watcher=True)
    sleeper.starter.tend(sleeper.run.id)
    assert sleeper.end().state == "Crashed"


def test_a_run_whose_watcher_was_killed_can_still_be_cancelled(sleeper: Sleeper) -> None:
    sleeper.kill(engine=False, watcher=True)
    sleeper.starter.cancel(sleeper.run.id)
    assert sleeper.end().state == "Cancelled"
    assert sleeper.lines()[-1] == "released"


def test_a_cancelled_run_runs_again(sleeper: Sleeper) -> None:
    sleeper.starter.cancel(sleeper.run.id)
    sleeper.end()
    sleeper.hold.unlink()
    sleeper.starter.restart(sleeper.run.id)
    assert sleeper.end().state == "Completed"


def test_a_living_run_is_not_restarted(sleeper: Sleeper) -> None:
    with pytest.raises(Conflict, match="still being executed"):
        sleeper.starter.restart(sleeper.run.id)
    sleeper.kill(engine=False, watcher=True)
    with pytest.raises(Conflict, match="still being executed"):
        sleeper.starter.restart(sleeper.run.id)
    assert sleeper.lines().count("start") == 1


def test_waiting_has_a_limit(sleeper: Sleeper) -> None:
    with pytest.raises(Busy, match="did not end within 0 s"):
        sleeper.starter.wait(sleeper.run.id, lambda _: None, 0)


def test_a_completed_run_is_not_restarted(starter: PrefectStarter, tmp_path: Path) -> None:
    run = starter.start(SLEEPER, {"book": str(tmp_path / "book")})
    starter.wait(run.id, lambda _: None, 30)
    with pytest.raises(Conflict, match="has completed"):
        starter.restart(run.id)


def test_an_unknown_parameter_is_refused_by_name(starter: PrefectStarter) -> None:
    with pytest.raises(Refused, match="takes no parameter `bogus`") as refused:
        starter.start(SLEEPER, {"book": "b", "bogus": 1})
    assert refused.value.expected == "book, hold, seconds"


def test_a_parameter_of_the_wrong_type_is_refused_with_the_servers_words(starter: PrefectStarter) -> None:
    with pytest.raises(Refused) as refused:
        starter.start(SLEEPER, {"book": "b", "seconds": "many"})
    assert "'many' is not of type 'number'" in refused.value.found


def test_an_unknown_deployment_is_not_found(starter: PrefectStarter) -> None:
    with pytest.raises(NotFound, match="no deployment `sleeper/none`"):
        starter.start("sleeper/none", {})


def test_an_unknown_flow_run_is_not_found(starter: PrefectStarter) -> None:
    with pytest.raises(NotFound, match="knows no flow run"):
        starter.show("00000000-0000-4000-8000-000000000000")


def test_a_server_that_is_down_is_unreachable(home: Home) -> None:
    starter = PrefectStarter(home, f"http://127.0.0.1:{free_port()}/api", SAMPLES)
    with pytest.raises(Unreachable, match="does not answer") as unreachable:
        starter.start(SLEEPER, {})
    assert "outhaul up" in unreachable.value.remedy
    starter.close()


def test_registration_is_done_once_per_code_and_server(registered: str, home: Home) -> None:
    assert register(home, registered, SAMPLES)
    assert not register(home, registered, SAMPLES)
    with PrefectApi(registered) as api:
        assert len(api.call("POST", "/automations/filter", {})) == 1
        api.call("DELETE", f"/deployments/{api.deployment(SLEEPER)['id']}")
    assert register(home, registered, SAMPLES)
