"""An unchanged `outhaul deploy --reuse` of the digits example, from command to served, and where its time goes.

The limit beside it is what Prefect needs alone: importing its engine in a process of its own. Needs a home in which the
example was deployed once (`make demo`); the Prefect server is up already, as the target says.

    python benchmarks/deploy.py [--rounds 7] [--json]
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path

from outhaul.settings import read_settings

ROOT = Path(__file__).resolve().parent.parent
TARGET_SECONDS = 8.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    deploy()  # the first one may still have to deploy
    rounds = [(deploy(), engine_import()) for _ in range(arguments.rounds)]
    ours = statistics.median(seconds for (seconds, _), _ in rounds)
    steps = statistics.median(of_steps for (_, of_steps), _ in rounds)
    limit = statistics.median(seconds for _, seconds in rounds)
    report = {
        "unchanged_deploy_seconds": round(ours, 2),
        "of_which_steps_seconds": round(steps, 2),
        "prefect_import_seconds": round(limit, 2),
        "ratio_to_prefect_import": round(ours / limit, 2),
        "target_seconds": TARGET_SECONDS,
        "met": ours <= TARGET_SECONDS,
    }
    if arguments.json:
        print(json.dumps(report))
        return
    for name, value in report.items():
        print(f"{name:<28}{value}")


def deploy() -> tuple[float, float]:
    """(seconds from command to served, seconds of the steps)."""
    project = str(ROOT / "examples" / "digits")
    command = [sys.executable, "-m", "outhaul.cli", "deploy", project, "--reuse", "-o", "json"]
    started = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    seconds = time.perf_counter() - started
    if done.returncode:
        sys.exit(done.stderr)
    return seconds, sum(step["seconds"] for step in json.loads(done.stdout)["steps"])


def engine_import() -> float:
    """Seconds that a process needs to import Prefect's engine, with the same bytecode cache as a flow's process."""
    cache = read_settings().home.cache / "bytecode"
    command = [sys.executable, "-X", f"pycache_prefix={cache}", "-c", "import prefect.engine"]
    started = time.perf_counter()
    subprocess.run(command, check=True, cwd=ROOT)
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
