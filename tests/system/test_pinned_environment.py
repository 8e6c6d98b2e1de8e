"""An environment that pins packages which Outhaul itself could not work with."""

from __future__ import annotations

import json
from importlib.metadata import version

import pytest

from tests.system.command_line import EXAMPLES, Outhaul

pytestmark = pytest.mark.timeout(600)


def test_replicas_see_the_pinned_packages_and_we_see_ours(outhaul: Outhaul) -> None:
    assert version("pydantic").startswith("2.")
    project = EXAMPLES / "pinned_environment"
    run = outhaul("deploy", project)
    assert "numpy 1.24.4: slope 3.000, offset 1.000" in outhaul.execute("run", "logs", run["id"]).stdout
    reply = outhaul("service", "run", "pinned-environment", "--data", f"@{project / 'request.json'}")
    assert reply["status"] == 200
    answer = json.loads(reply["body"])
    assert answer == {"y": [1.0, 4.0, 7.0], "versions": {"numpy": "1.24.4", "pydantic": "1.10.24"}}
    outhaul("service", "delete", "pinned-environment", "--yes")
