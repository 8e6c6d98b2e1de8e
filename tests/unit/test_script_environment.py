"""What an entry script sees of its caller."""

from __future__ import annotations

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from outhaul.run.script_environment import script_environment

PYTHON = Path("/env/bin/python")


def test_the_environments_own_programs_come_first() -> None:
    env = script_environment({"PATH": "/usr/bin", "VIRTUAL_ENV": "/other"}, {}, PYTHON, "r1")
    assert (env["PATH"], env["VIRTUAL_ENV"]) == ("/env/bin:/usr/bin", "/env")


def test_proxies_certificates_and_locale_are_passed_on() -> None:
    caller = {"https_proxy": "http://p", "SSL_CERT_FILE": "/ca", "LC_ALL": "C.UTF-8", "CUDA_VISIBLE_DEVICES": "1"}
    assert caller.items() <= script_environment(caller, {}, PYTHON, "r1").items()


def test_what_the_project_declares_wins_but_for_the_runs_id() -> None:
    env = script_environment({"LANG": "C"}, {"LANG": "de", "AZUREML_RUN_ID": "forged"}, PYTHON, "r1")
    assert (env["LANG"], env["AZUREML_RUN_ID"], env["OUTHAUL_RUN_ID"]) == ("de", "r1", "r1")


@given(st.dictionaries(st.from_regex(r"(OUTHAUL|PREFECT|PYTHON|AWS|AZURE)_?[A-Z]{1,9}", fullmatch=True), st.text()))
def test_nothing_that_the_flow_knows_reaches_the_script(caller: dict[str, str]) -> None:
    assert script_environment(caller, {}, PYTHON, "r1") == script_environment({}, {}, PYTHON, "r1")
