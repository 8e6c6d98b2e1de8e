"""Writes one output, prints one line, and then has the bad luck that its first argument names."""

import os
import subprocess
import sys
import time
from pathlib import Path

BYTES = 100_000_000
mode = sys.argv[1]
outputs = Path("outputs")
outputs.mkdir()
(outputs / "early.txt").write_text("early")
print("began")

if mode == "loud":
    line = "x" * 99 + "\n"
    rest = BYTES - len("began\n")
    sys.stdout.write((line * (rest // len(line) + 1))[:rest])
    sys.stdout.flush()
elif mode == "outputs":
    for number in range(10_000):
        (outputs / f"{number:05}.txt").write_text(str(number))
elif mode == "forks":
    child = subprocess.Popen(["sleep", "600"])
    detached = subprocess.Popen(["sleep", "600"], start_new_session=True)
    shell = subprocess.run(["sh", "-c", "setsid sleep 600 >&- 2>&- & echo $!"], stdout=subprocess.PIPE, check=True)
    Path(sys.argv[2], "pids").write_text(f"{child.pid} {detached.pid} {int(shell.stdout)}")
elif mode == "hang":
    time.sleep(600)
elif mode == "memory":
    held = []
    while True:
        held.append(bytearray(os.urandom(1 << 20) * 16))
        time.sleep(0.05)
elif mode == "killed":
    os.kill(os.getpid(), 9)
if mode in ("exit", "loud", "outputs", "forks"):
    sys.exit(3)
(outputs / "model.txt").write_text(mode)
