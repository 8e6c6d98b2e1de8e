"""How long the command line takes to answer, beside the interpreter's own start.

    python benchmarks/cli.py [rounds]

Prints medians and the ratio to `python -c pass`. Rounds are interleaved, so that a busy moment of the machine hits all
commands alike. Processor seconds stand beside them: on a busy machine they are the steadier figure.
"""

from __future__ import annotations

import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

CHECKOUT = Path(__file__).parents[1]
LIMIT_SECONDS = 0.4
BASE = "python -c pass"
COMMANDS = [
    "--help",
    "deploy --help",
    "snapshot examples/digits",
    "environment hash examples/digits",
    "environment list",
    "run list",
    "run show latest",
    "model list",
    "service list",
    "service show digits",
    "status",
    "replicas-needed --rps 20 --seconds 10",
]


def measure(argv: list[str], env: dict[str, str]) -> tuple[float, float]:
    """(wall, processor) seconds of one run."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    started = time.perf_counter()
    subprocess.run(argv, env=env, cwd=CHECKOUT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)
    wall = time.perf_counter() - started
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> int:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 11
    lines = {BASE: [sys.executable, "-c", "pass"]}
    lines |= {f"outhaul {text}": [sys.executable, "-m", "outhaul.cli", *text.split()] for text in COMMANDS}
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in lines}
    with tempfile.TemporaryDirectory() as folder:
        env = {**os.environ, "OUTHAUL_HOME": os.environ.get("OUTHAUL_HOME") or folder}
        for number in range(rounds + 1):
            for name, argv in lines.items():
                seconds = measure(argv, env)
                if number:  # the first round fills caches
                    found[name].append(seconds)
    return report(found)


def report(found: dict[str, list[tuple[float, float]]]) -> int:
    """Print the table. Returns 1 when a median is over the limit."""
    medians = {name: [statistics.median(column) for column in zip(*all_, strict=True)] for name, all_ in found.items()}
    base = medians[BASE]
    print(f"{'command':<48}{'wall':>9}{'ratio':>8}{'cpu':>9}{'ratio':>8}")
    for name, (wall, cpu) in medians.items():
        print(f"{name:<48}{wall:>7.3f} s{wall / base[0]:>8.1f}{cpu:>7.3f} s{cpu / base[1]:>8.1f}")
    slow = [name for name, (wall, _) in medians.items() if wall > LIMIT_SECONDS]
    print(f"target: {LIMIT_SECONDS} s each; " + (f"missed by {', '.join(slow)}" if slow else "met by all"))
    return 1 if slow else 0


if __name__ == "__main__":
    sys.exit(main())
