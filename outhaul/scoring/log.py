"""One line per event on standard error, in v1's format. Not `logging`: that belongs to the score script."""

from __future__ import annotations

import os
import sys
import time


def log(level: str, text: str) -> None:
    """`2026-11-22 10:00:00,123 I [17] outhaul - text`."""
    now = time.time()
    stamp = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(now))
    line = f"{stamp},{int(now % 1 * 1000):03d} {level[0]} [{os.getpid()}] outhaul - {text}\n"
    stream = sys.__stderr__
    if stream is not None:
        stream.write(line)
        stream.flush()
