"""Fit a line to a few points with an old numpy."""

from pathlib import Path

import numpy

x = numpy.arange(20.0)
slope, offset = numpy.polyfit(x, 3 * x + 1, 1)
print(f"numpy {numpy.__version__}: slope {slope:.3f}, offset {offset:.3f}")
Path("outputs").mkdir(exist_ok=True)
numpy.save("outputs/line.npy", numpy.array([slope, offset]))
