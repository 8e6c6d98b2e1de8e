"""Times a snapshot of 2,000 files and 300 MB beside `zip -1 -r` on the same tree, in turns, and prints the ratios.

    python benchmarks/snapshot.py [--rounds N] [--json]

The targets: first time at most 0.6 × zip; unchanged at most 0.1 s beyond the interpreter's start.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from array import array
from collections.abc import Callable
from pathlib import Path

FILES = 1_999  # and an ignore file
FOLDERS = 50
TOTAL = 299_900_000
SEED = 20_240_229
TAKE = (
    "import sys; from pathlib import Path; from outhaul.home import Home; "
    "from outhaul.snapshot.taking import take_and_zip; from outhaul.snapshot.limits import Limits; "
    "take_and_zip(Path(sys.argv[1]), Home(Path(sys.argv[2])), Limits())"
)
Times = dict[str, list[tuple[float, float]]]
ZIP = "zip -1 -r"
FIRST = "outhaul, first time"
UNCHANGED = "outhaul, unchanged"
BARE = "python -c pass"
# An installed package has its byte code, so it is kept here as well.
ENVIRONMENT = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}


def make_tree(root: Path) -> None:
    """Half text, a quarter random bytes, a quarter float32 weights; 100 files hold half of the bytes."""
    chance = random.Random(SEED)
    words = [bytes(chance.choices(b"abcdefghijklmnopqrstuvwxyz_", k=chance.randint(2, 10))) for _ in range(3_000)]
    sizes = [TOTAL // 2 // 100] * 100 + [TOTAL // 2 // (FILES - 100)] * (FILES - 100)
    makers = [text, text, noise, weights]
    for number, size in enumerate(sizes):
        file = root / f"part{number % FOLDERS:02d}" / f"file{number:04d}.bin"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(makers[number % 4](chance, words, size))
    (root / ".gitignore").write_text("*.pyc\n__pycache__/\n/build/\n!keep\n")


def text(chance: random.Random, words: list[bytes], size: int) -> bytes:
    return b" ".join(chance.choices(words, k=size // 4))[:size]


def noise(chance: random.Random, words: list[bytes], size: int) -> bytes:
    return chance.randbytes(size)


def weights(chance: random.Random, words: list[bytes], size: int) -> bytes:
    some = [chance.gauss(0, 0.05) for _ in range(4_096)]
    return array("f", chance.choices(some, k=size // 4)).tobytes()


def seconds(command: list[str], cwd: Path) -> tuple[float, float]:
    """Time on the wall, and of the processors; the second holds on a busy machine, too."""
    start, used = time.perf_counter(), processor_seconds()
    subprocess.run(command, cwd=cwd, check=True, stdout=subprocess.DEVNULL, env=ENVIRONMENT)
    return time.perf_counter() - start, processor_seconds() - used


def processor_seconds() -> float:
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return children.ru_utime + children.ru_stime


def measure(work: Path, rounds: int) -> tuple[Times, list[int]]:
    """The times of each case, and the sizes of zip's file and ours."""
    tree = work / "tree"
    make_tree(tree)
    time.sleep(3)  # so that the files count as settled for the stat cache
    here = Path.cwd()

    def zipped(number: int) -> tuple[float, float]:
        return seconds(["zip", "-1", "-q", "-r", str(work / f"peer{number}.zip"), "."], tree)

    def ours(number: int) -> tuple[float, float]:
        return seconds([sys.executable, "-c", TAKE, str(tree), str(work / f"home{number}")], here)

    cases: dict[str, Callable[[int], tuple[float, float]]] = {
        ZIP: zipped,
        FIRST: ours,
        UNCHANGED: ours,
        BARE: lambda number: seconds([sys.executable, "-c", "pass"], here),
    }
    times: Times = {name: [] for name in cases}
    for number in range(rounds):
        for name, case in cases.items():
            times[name].append(case(number))
    return times, [(work / "peer0.zip").stat().st_size, next((work / "home0/cache/zips").glob("*.zip")).stat().st_size]


def summary(times: Times, sizes: list[int]) -> dict[str, float]:
    wall = {name: statistics.median(pair[0] for pair in pairs) for name, pairs in times.items()}
    cpu = {name: statistics.median(pair[1] for pair in pairs) for name, pairs in times.items()}
    return {
        **{f"{name} [s]": round(median, 3) for name, median in wall.items()},
        "first / zip": round(wall[FIRST] / wall[ZIP], 3),
        "first / zip, processor": round(cpu[FIRST] / cpu[ZIP], 3),
        "unchanged beyond start [s]": round(wall[UNCHANGED] - wall[BARE], 3),
        "the same, processor [s]": round(cpu[UNCHANGED] - cpu[BARE], 3),
        "zip's file [MB]": round(sizes[0] / 1e6, 1),
        "our file [MB]": round(sizes[1] / 1e6, 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as work:
        result = summary(*measure(Path(work), options.rounds))
    if options.json:
        print(json.dumps(result))
    else:
        print("\n".join(f"{name:<28} {value:>10}" for name, value in result.items()))


if __name__ == "__main__":
    main()
