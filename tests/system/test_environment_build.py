"""Environments built by the real uv and py-rattler: good ones, broken ones, killed ones."""

from __future__ import annotations

import importlib.metadata
import os
import subprocess
import sys
import sysconfig
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import outhaul
from outhaul.adapters.build_process import BuildSettings
from outhaul.adapters.environment_folder import FolderEnvironmentStore
from outhaul.adapters.interpreters import RUNNING, dotted, find_python
from outhaul.adapters.uv_builder import UvBuilder
from outhaul.environment.definition import Environment, environment_hash
from outhaul.environment.dependencies import parse_conda
from outhaul.environment.lock import lock
from outhaul.environment.requirements import parse_requirements
from outhaul.errors import Denied, Failed, OuthaulError, Refused, Unreachable
from outhaul.ports import BuiltEnvironment
from tests.system.package_index import Index, conda_channel, wheel

BUILDER = """
import sys
from pathlib import Path
from outhaul.adapters.environment_folder import FolderEnvironmentStore
from outhaul.adapters.uv_builder import UvBuilder
from outhaul.environment.definition import Environment
from outhaul.environment.requirements import parse_requirements
store = FolderEnvironmentStore(Path(sys.argv[1]), "workspace")
built = UvBuilder(store).build(Environment(conda=parse_requirements(sys.argv[2])), lambda line: None)
print(built.built_at, built.packages)
"""


@pytest.fixture
def index() -> Iterator[Index]:
    wheels = {
        ("ours", "1.0"): wheel("ours", "1.0"),
        ("ours", "2.0"): wheel("ours", "2.0", requires="deep"),
        ("deep", "0.5"): wheel("deep", "0.5"),
        ("clash", "1.0"): wheel("clash", "1.0", requires="ours<2"),
    }
    with Index(wheels).serving() as index:
        yield index


@pytest.fixture
def env_vars(index: Index, tmp_path: Path) -> dict[str, str]:
    """uv's settings: our index only, and a cache of the test's own."""
    own = {"UV_DEFAULT_INDEX": index.url, "UV_CACHE_DIR": str(tmp_path / "cache"), "UV_HTTP_RETRIES": "0"}
    return {**{name: value for name, value in os.environ.items() if not name.startswith("UV_")}, **own}


@pytest.fixture
def store(tmp_path: Path) -> FolderEnvironmentStore:
    return FolderEnvironmentStore(tmp_path / "workspace", "workspace")


Build = Callable[..., BuiltEnvironment]


@pytest.fixture
def build(store: FolderEnvironmentStore, env_vars: dict[str, str]) -> Build:
    def build(conda: dict[str, Any], log: Callable[[str], None] = lambda line: None, **more: str) -> BuiltEnvironment:
        settings = BuildSettings({**env_vars, **more})
        return UvBuilder(store, settings).build(Environment(conda=conda), log)

    return build


def failure_of(build: Build, conda: dict[str, Any], **more: str) -> OuthaulError:
    with pytest.raises(OuthaulError) as caught:
        build(conda, **more)
    return caught.value


def printed(python: Path, code: str) -> str:
    return subprocess.run([python, "-c", code], capture_output=True, text=True, check=True).stdout.strip()


def entries(store: FolderEnvironmentStore) -> list[str]:
    """All that stands in the store, but for locks and logs."""
    names = os.listdir(store.root)
    return [name for name in names if name != ".locks" and not name.endswith(".log")]


def test_requirements_are_installed_and_what_was_installed_is_known(
    build: Build, store: FolderEnvironmentStore
) -> None:
    lines: list[str] = []
    built = build(parse_requirements("ours"), lines.append)
    assert printed(built.python, "import ours, deep; print(ours.version, deep.version)") == "2.0 0.5"
    assert built.packages == {"ours": "2.0", "deep": "0.5"}
    assert built.python_version == dotted(RUNNING)
    assert store.find(built.hash) == built
    assert " + ours==2.0" in lines
    assert store.log_path(built.key).read_text().splitlines() == lines
    assert lock(Environment(conda=parse_requirements("ours")), built) == "deep==0.5\nours==2.0\n"


def test_what_is_built_is_not_built_again(build: Build, index: Index) -> None:
    first = build(parse_requirements("ours"))
    index.pages.clear()
    assert build(parse_requirements("# the same\nours")) == first
    assert index.pages == []


def test_constraints_and_pip_are_honoured(build: Build, index: Index) -> None:
    index.files["/pip/pip-23.1-py3-none-any.whl"] = wheel("pip", "23.1")
    text = "dependencies: [pip=23.1, {pip: [ours, -c limits.txt]}]"
    built = build(parse_conda(text, read=lambda path: "ours<2"))
    assert built.packages == {"ours": "1.0", "pip": "23.1"}


def test_settings_of_a_project_around_the_store_do_not_reach_the_build(build: Build, tmp_path: Path) -> None:
    (tmp_path / "uv.toml").write_text('index-url = "http://127.0.0.1:9/none"\nno-index = true\n')
    assert build(parse_requirements("ours==1.0")).packages == {"ours": "1.0"}


def test_a_copy_in_the_global_store_runs_without_the_original(build: Build, tmp_path: Path) -> None:
    built = build(parse_requirements("ours==1.0"))
    shared = FolderEnvironmentStore(tmp_path / "shared", "global").adopt(built)
    built.python.parents[2].rename(tmp_path / "away")
    code = "import ours, sys; print(ours.version, ours.__file__.startswith(sys.prefix), sys.prefix)"
    assert printed(shared.python, code) == f"1.0 True {shared.python.parents[1]}"


def test_requirements_that_do_not_fit_fail_with_the_resolvers_reason(
    build: Build, store: FolderEnvironmentStore
) -> None:
    conda = parse_requirements("clash\nours>=2")
    error = failure_of(build, conda)
    assert (type(error), error.code) == (Failed, "environment-build-failed")
    assert "clash depend on ours<2 and you require" in " ".join(error.found.split())
    assert entries(store) == []
    log = store.log_path(store.key(environment_hash(Environment(conda=conda)), default_python=True))
    assert error.found.splitlines()[0] in log.read_text()
    assert str(log) in error.remedy


@pytest.mark.parametrize(
    ("answer", "kind", "code"),
    [
        (401, Denied, "package-index-denied"),
        (403, Denied, "package-index-denied"),
        (404, Failed, "environment-build-failed"),
        (429, Unreachable, "package-index-unreachable"),
        (503, Unreachable, "package-index-unreachable"),
    ],
)
def test_absent_denied_and_unreachable_are_three_errors(
    build: Build, index: Index, store: FolderEnvironmentStore, answer: int, kind: type, code: str
) -> None:
    index.answer = answer
    error = failure_of(build, parse_requirements("ours"))
    assert (type(error), error.code) == (kind, code)
    assert entries(store) == []


def test_an_index_that_nobody_serves_is_unreachable(build: Build) -> None:
    error = failure_of(build, parse_requirements("ours"), UV_DEFAULT_INDEX="http://127.0.0.1:9/")
    assert error.code == "package-index-unreachable"
    assert error.retry


def test_an_index_that_never_answers_is_unreachable(build: Build, index: Index) -> None:
    index.answer = 0
    error = failure_of(build, parse_requirements("ours"), UV_HTTP_TIMEOUT="1")
    assert error.code == "package-index-unreachable"


def test_a_build_over_its_time_limit_fails_and_leaves_no_process(
    index: Index, store: FolderEnvironmentStore, env_vars: dict[str, str]
) -> None:
    index.answer = 0
    builder = UvBuilder(store, BuildSettings(env_vars, timeout_seconds=1.5))
    with pytest.raises(Failed) as caught:
        builder.build(Environment(conda=parse_requirements("ours")), lambda line: None)
    assert caught.value.code == "environment-build-time-limit"
    assert entries(store) == []


def test_with_the_network_off_cached_packages_are_enough(
    build: Build, store: FolderEnvironmentStore, index: Index, tmp_path: Path
) -> None:
    build(parse_requirements("ours==1.0\ndeep"))
    index.answer = 503
    again = build(parse_requirements("deep\nours==1.0"), UV_OFFLINE="1")
    assert again.packages == {"ours": "1.0", "deep": "0.5"}
    error = failure_of(build, parse_requirements("clash"), UV_OFFLINE="1")
    assert (type(error), error.code) == (Unreachable, "package-index-offline")


@pytest.mark.parametrize("answer", [503, 429])
def test_where_the_index_does_not_answer_cached_packages_are_enough(build: Build, index: Index, answer: int) -> None:
    build(parse_requirements("ours==1.0\ndeep"))
    index.answer = answer
    lines: list[str] = []
    assert build(parse_requirements("deep\nours==1.0"), lines.append).packages == {"ours": "1.0", "deep": "0.5"}
    assert "the package index does not answer; trying with what is cached" in lines


def test_two_processes_that_build_at_once_make_one(index: Index, env_vars: dict[str, str], tmp_path: Path) -> None:
    argv = [sys.executable, "-c", BUILDER, str(tmp_path / "workspace"), "ours"]
    both = [subprocess.Popen(argv, env=env_vars, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    first, second = (process.communicate(timeout=60)[0] for process in both)
    assert [process.returncode for process in both] == [0, 0]
    assert first == second
    assert index.pages.count("/ours/") == 1


def test_a_build_killed_in_the_middle_leaves_nothing_visible_and_the_next_succeeds(
    build: Build, store: FolderEnvironmentStore, index: Index, env_vars: dict[str, str]
) -> None:
    index.answer = 0
    argv = [sys.executable, "-c", BUILDER, str(store.root), "ours"]
    with subprocess.Popen(argv, env=env_vars, stdout=subprocess.DEVNULL) as builder:
        assert index.asked.wait(60)
        builder.kill()
    conda = parse_requirements("ours")
    assert len(entries(store)) == 1, "what the killed build left"
    assert store.find(environment_hash(Environment(conda=conda))) is None
    assert list(store.list()) == []
    index.answer = 200
    assert build(conda).packages["ours"] == "2.0"


def test_a_caller_that_stops_in_the_middle_leaves_nothing(build: Build, store: FolderEnvironmentStore) -> None:
    class Stopped(Exception):
        pass

    def stop(line: str) -> None:
        if "Installed" in line:
            raise Stopped

    with pytest.raises(Stopped):
        build(parse_requirements("ours"), stop)
    assert entries(store) == []


def test_python_is_taken_in_the_minor_that_the_project_asks_for(build: Build, env_vars: dict[str, str]) -> None:
    others = [f"=3.{minor}" for minor in range(8, 15) if minor != RUNNING[1]]
    found = next((asked for asked in others if find_python(asked, BuildSettings(env_vars))), None)
    if found is None:
        pytest.skip("this machine has one minor version of Python")
    built = build(parse_conda(f"dependencies: [python{found}, {{pip: [ours==1.0]}}]"))
    assert built.python_version.startswith(f"{found[1:]}.")
    assert printed(built.python, "import sys; print('%d.%d' % sys.version_info[:2])") == found[1:]


def test_a_python_that_nobody_has_is_refused_with_all_the_ways_to_it(
    build: Build, store: FolderEnvironmentStore, tmp_path: Path
) -> None:
    nowhere = {"PATH": str(tmp_path), "PYENV_ROOT": str(tmp_path), "UV_PYTHON_INSTALL_DIR": str(tmp_path / "pythons")}
    error = failure_of(build, parse_conda("dependencies: [python=3.6]"), UV_OFFLINE="1", **nowhere)
    assert (type(error), error.code) == (Refused, "python-missing")
    for way in ("uv python install 3.6", "pyenv", "conda"):
        assert way in error.remedy
    assert "uv:" in error.found
    assert "conda:" in error.found
    assert entries(store) == []


def test_conda_packages_and_pip_packages_make_one_environment(
    build: Build, store: FolderEnvironmentStore, tmp_path: Path
) -> None:
    channel = conda_channel(tmp_path / "channel")
    conda = {"channels": [channel], "dependencies": ["hello<2", {"pip": ["ours==1.0"]}]}
    built = build(conda)
    assert built.conda == {"hello": "1.0", "python": dotted(RUNNING)}
    assert built.packages == {**built.conda, "ours": "1.0"}
    assert printed(built.python, "import ours, sys; print(sys.prefix)") == str(built.python.parents[1])
    assert (built.python.parents[1] / "share" / "hello.txt").read_text() == "hello 1.0"
    assert "hello=1.0\n- pip:\n  - ours==1.0" in lock(Environment(conda=conda), built)


def test_a_conda_environment_is_installed_again_in_the_global_store(
    build: Build, store: FolderEnvironmentStore, tmp_path: Path
) -> None:
    channel = conda_channel(tmp_path / "channel")
    built = build({"channels": [channel], "dependencies": ["hello<2"]})
    shared = FolderEnvironmentStore(tmp_path / "shared", "global").adopt(built)
    assert shared.packages == built.packages
    assert printed(shared.python, "import sys; print(sys.prefix)") == str(shared.python.parents[1])
    assert (shared.python.parents[1] / "share" / "hello.txt").read_text() == "hello 1.0"


@pytest.mark.parametrize(
    ("dependencies", "channel", "kind", "said"),
    [
        (["hello>3"], "", Failed, "hello >3"),
        (["hello>>3"], "", Refused, ">>3"),
        (["hello"], "/gone", Failed, "gone"),
        (["hello"], "./channel", Refused, "./channel"),
    ],
)
def test_conda_packages_that_cannot_be_had_fail_with_the_reason_in_the_log(
    build: Build,
    store: FolderEnvironmentStore,
    tmp_path: Path,
    dependencies: list[str],
    channel: str,
    kind: type,
    said: str,
) -> None:
    conda = {"channels": [channel or conda_channel(tmp_path / "channel")], "dependencies": dependencies}
    error = failure_of(build, conda)
    assert type(error) is kind
    assert said in error.found
    log = store.log_path(store.key(environment_hash(Environment(conda=conda)), default_python=True))
    assert error.found.strip() in log.read_text()
    assert entries(store) == []


def test_without_py_rattler_conda_packages_are_refused_with_the_way_to_install_it(tmp_path: Path) -> None:
    site = tmp_path / "site"
    site.mkdir()
    for found in Path(sysconfig.get_paths()["purelib"]).iterdir():
        if "rattler" not in found.name and found.suffix != ".pth":
            (site / found.name).symlink_to(found)
    code = BUILDER.replace("parse_requirements(sys.argv[2])", '{"dependencies": ["hello"]}')
    env_vars = {**os.environ, "PYTHONPATH": os.pathsep.join([str(site), str(Path(outhaul.__file__).parents[1])])}
    argv = [sys.executable, "-S", "-c", code, str(tmp_path / "workspace")]
    ended = subprocess.run(argv, env=env_vars, capture_output=True, text=True, check=False)
    assert "Refused" in ended.stderr
    assert "pip install 'outhaul[conda]'" in ended.stderr


@pytest.mark.slow
def test_packages_older_than_ours_and_in_conflict_with_ours_are_what_the_environment_has(
    store: FolderEnvironmentStore,
) -> None:
    conda = parse_conda("dependencies: [python=3.11, {pip: [pydantic==1.10.13, numpy==1.24.4]}]")
    built = UvBuilder(store).build(Environment(conda=conda), lambda line: None)
    code = "import numpy, pydantic; print(numpy.__version__, pydantic.VERSION)"
    assert printed(built.python, code) == "1.24.4 1.10.13"
    assert importlib.metadata.version("msgspec")
    assert "msgspec" not in built.packages
