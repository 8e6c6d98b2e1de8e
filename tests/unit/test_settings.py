"""Settings: defaults, environment variables, and the page that lists them."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

import pytest

from outhaul.errors import Refused
from outhaul.settings import Settings, read_settings

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs/reference/settings.md"
LISTED = dict(re.findall(r"^\| `([A-Z_]+)` \| (.*?) \|", PAGE.read_text(), re.MULTILINE))
IN_CODE = re.findall(r'^ {4}"""`([A-Z_]+)`', (ROOT / "outhaul/settings.py").read_text(), re.MULTILINE)


def test_the_page_lists_every_setting_in_the_same_order() -> None:
    assert list(LISTED) == IN_CODE
    assert len(IN_CODE) == len(fields(Settings))


def test_the_page_gives_the_real_defaults(tmp_path: Path) -> None:
    default = read_settings({"HOME": str(tmp_path)}, tmp_path)
    for name, text in LISTED.items():
        if re.fullmatch(r"`\d+`", text):
            assert getattr(default, name.removeprefix("OUTHAUL_").lower()) == int(text.strip("`"))


def test_each_number_is_read_from_its_variable(tmp_path: Path) -> None:
    numbers = [name for name, text in LISTED.items() if name.endswith("_PORT") or text.startswith("`")]
    env = {"HOME": str(tmp_path), **{name: str(1000 + n) for n, name in enumerate(n for n in numbers if n[0] == "O")}}
    env = {name: value for name, value in env.items() if name != "OUTHAUL_GLOBAL_ENVIRONMENTS"}
    found = read_settings(env, tmp_path)
    for name, value in env.items():
        if name != "HOME":
            assert getattr(found, name.removeprefix("OUTHAUL_").lower()) == int(value)


def test_the_home_is_found_as_git_finds_its_own(tmp_path: Path) -> None:
    (tmp_path / ".outhaul").mkdir()
    (tmp_path / "a" / "b").mkdir(parents=True)
    assert read_settings({}, tmp_path / "a" / "b").home.root == tmp_path / ".outhaul"


def test_without_a_home_in_sight_it_is_under_the_data_folder(tmp_path: Path) -> None:
    assert read_settings({"XDG_DATA_HOME": "/data"}, tmp_path).home.root == Path("/data/outhaul")
    assert read_settings({"HOME": "/home/u"}, tmp_path).home.root == Path("/home/u/.local/share/outhaul")


def test_the_variable_is_stronger_than_the_folder(tmp_path: Path) -> None:
    (tmp_path / ".outhaul").mkdir()
    assert read_settings({"OUTHAUL_HOME": "/other"}, tmp_path).home.root == Path("/other")


def test_an_empty_value_is_the_default(tmp_path: Path) -> None:
    found = read_settings({"OUTHAUL_SLOTS": " ", "PREFECT_API_URL": ""}, tmp_path)
    assert found.slots == 2
    assert found.prefect_api_url is None


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("OUTHAUL_SLOTS", "two"),
        ("OUTHAUL_SLOTS", "0"),
        ("OUTHAUL_SLOTS", "-1"),
        ("OUTHAUL_SLOTS", "1.5"),
        ("OUTHAUL_ROUTER_PORT", "65536"),
        ("OUTHAUL_PREFECT_PORT", "http"),
        ("OUTHAUL_SNAPSHOT_MAX_BYTES", "300MB"),
    ],
)
def test_a_value_that_cannot_be_read_is_refused_by_its_name(tmp_path: Path, name: str, text: str) -> None:
    with pytest.raises(Refused) as refused:
        read_settings({name: text}, tmp_path)
    assert refused.value.code == "setting"
    assert name in refused.value.message
    assert text in refused.value.found
