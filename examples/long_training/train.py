"""A training that takes its time: it prints every step, and writes a part of its model with each."""

import argparse
import random
import time
from pathlib import Path

STEPS_PER_SECOND = 5


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--megabytes", type=int, default=200)
    arguments = parser.parse_args()

    steps = max(1, round(arguments.seconds * STEPS_PER_SECOND))
    outputs = Path("outputs")
    outputs.mkdir(exist_ok=True)
    print(f"training begins: {steps} steps", flush=True)
    began = time.monotonic()
    written = 0
    for step in range(1, steps + 1):
        part = arguments.megabytes * 1_000_000 * step // steps - written
        (outputs / f"part-{step:04}.bin").write_bytes(random.randbytes(part))
        written += part
        print(f"step {step} of {steps}, loss {1 / step:.4f}, {written / 1e6:.1f} MB written", flush=True)
        time.sleep(max(0.0, began + step / STEPS_PER_SECOND - time.monotonic()))
    print("training has ended", flush=True)


if __name__ == "__main__":
    main()
