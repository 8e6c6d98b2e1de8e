"""What is wrong with a script, told from its text alone."""

from __future__ import annotations

import pytest

from outhaul.project.entry_script import check_score_script, check_training_script

GOOD = "def init():\n    pass\n\ndef run(data):\n    return data\n"


def codes(source: str, path: str = "score.py") -> list[str]:
    return [problem.code for problem in check_score_script(path, source.encode())]


@pytest.mark.parametrize(
    "source",
    [
        GOOD,
        "from lib import init, run\n",
        "from lib import *\n",
        "import lib\ninit = lib.init\nrun: object = lib.run\n",
        "def init(x=1): ...\ntry:\n    from fast import run\nexcept ImportError:\n    def run(data, headers): ...\n",
        "if True:\n    def init(): ...\nelse:\n    def init(): ...\nasync def run(*, data): ...\n",
        "def init(): ...\n@input_schema('data', X)\n@output_schema(Y)\ndef run(data, method='predict'): ...\n",
        "def init(): ...\n@my_own_decorator\ndef run(*args): ...\n",
        "match 1:\n    case 1:\n        def init(): ...\n        def run(d): ...\n",
    ],
)
def test_a_script_that_can_be_served_has_no_problem(source: str) -> None:
    assert codes(source) == []


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("", ["score-script-no-init", "score-script-no-run"]),
        ("def init(): ...\n", ["score-script-no-run"]),
        (
            "class A:\n    def init(self): ...\n    def run(self, x): ...\n",
            ["score-script-no-init", "score-script-no-run"],
        ),
        ("def outer():\n    def init(): ...\ndef run(data): ...\n", ["score-script-no-init"]),
        ("def init(model): ...\ndef run(data): ...\n", ["score-script-init-arguments"]),
        ("def init(): ...\ndef run(): ...\n", ["score-script-run-arguments"]),
        ("def init(): ...\ndef run(request_headers): ...\n", ["score-script-run-arguments"]),
        ("def init(): ...\ndef run(*args): ...\n", ["score-script-run-arguments"]),
        ("def init(): ...\ndef run(data, **more): ...\n", ["score-script-run-arguments"]),
        ("def init(): ...\ndef run(data, /): ...\n", ["score-script-run-arguments"]),
        ("def init(): ...\n@rawhttp\ndef run(): ...\n", ["score-script-run-arguments"]),
    ],
)
def test_what_v1_cannot_serve_is_refused(source: str, expected: list[str]) -> None:
    assert codes(source) == expected


@pytest.mark.parametrize("path", ["my-score.py", "1score.py", "class.py", "serving/my score.py"])
def test_a_score_script_must_have_a_name_that_can_be_imported(path: str) -> None:
    assert codes(GOOD, path) == ["score-script-name"]


def test_another_ending_is_no_python_file() -> None:
    assert codes(GOOD, "score.txt") == ["not-python"]
    assert [problem.code for problem in check_training_script("train.sh", b"")] == ["not-python"]


def test_a_syntax_error_shows_the_line_and_the_place() -> None:
    (problem,) = check_training_script("train.py", b"import os\nfor i in range(3)\n    print(i)\n")
    assert problem.code == "syntax-error"
    assert problem.message == "train.py has a syntax error: expected ':'"
    assert problem.found == "train.py:2\nfor i in range(3)\n                 ^"


def test_bytes_that_are_no_text_are_refused() -> None:
    assert [p.code for p in check_training_script("train.py", b"\xff\xfe\x00")] == ["syntax-error"]
    assert [p.code for p in check_training_script("train.py", b"x = 1\0")] == ["syntax-error"]


def test_the_declared_encoding_is_honoured() -> None:
    assert check_training_script("train.py", "# coding: latin-1\nx = 'é'\n".encode("latin-1")) == []


def test_syntax_that_only_a_newer_python_knows_is_left_to_it() -> None:
    assert check_training_script("train.py", b"x = = 1\n", (3, 99)) == []
    assert len(check_training_script("train.py", b"x = = 1\n", (3, 8))) == 1
