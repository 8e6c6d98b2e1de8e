"""Learn the mean and the spread of some measurements."""

import json
from pathlib import Path

import numpy

measurements = numpy.random.default_rng(7).normal(20.0, 2.0, size=1000)
learned = {"mean": float(measurements.mean()), "spread": float(measurements.std())}
print(f"learned {learned}")
Path("outputs").mkdir(exist_ok=True)
Path("outputs/learned.json").write_text(json.dumps(learned))
