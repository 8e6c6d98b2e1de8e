"""Writes one line into a book outside, so that a second execution would show, and takes as long as it is told."""

import sys
import time
from pathlib import Path

book, seconds = Path(sys.argv[1]), float(sys.argv[2])
with book.open("a") as file:
    file.write("trained\n")
outputs = Path("outputs")
outputs.mkdir(exist_ok=True)
(outputs / "early.txt").write_text("early")
end = time.monotonic() + seconds
number = 0
while time.monotonic() < end:
    print(f"line {number}")
    number += 1
    time.sleep(0.05)
(outputs / "model.txt").write_text(f"{number}")
(outputs / "metrics.json").write_text(f'{{"lines": {number}}}')
print(f"printed {number} lines")
