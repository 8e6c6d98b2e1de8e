"""A folder with nothing but train.py, requirements.txt and score.py; flags say the rest."""

from __future__ import annotations

import json

import pytest

from tests.system.command_line import EXAMPLES, Outhaul

pytestmark = pytest.mark.timeout(600)


def test_three_files_and_flags(outhaul: Outhaul) -> None:
    flags = "--train-script train.py --score-script score.py --requirements requirements.txt --name flags-only"
    run = outhaul("deploy", EXAMPLES / "flags_only", *flags.split())
    assert (run["state"], run["models"], run["service"]) == ("Completed", ["flags-only:1"], "flags-only")
    reply = outhaul("service", "run", "flags-only", "--data", '{"data": [20.5, 40]}')
    assert (reply["status"], json.loads(reply["body"])) == (200, {"usual": [True, False]})
    outhaul("service", "delete", "flags-only", "--yes")
