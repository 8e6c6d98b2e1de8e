"""Answer with y for each x, and with the versions that this replica sees: {"x": [1, 2]} → {"y": […], "versions": …}."""

import os
from pathlib import Path

import numpy
import pydantic


class Points(pydantic.BaseModel):
    x: list[float]

    @pydantic.validator("x")  # pydantic 1's way; pydantic 2 would complain
    def few(cls, x: list[float]) -> list[float]:
        assert len(x) <= 1000, "at most 1000 points"
        return x


line = None


def init() -> None:
    global line
    line = numpy.load(next(Path(os.environ["AZUREML_MODEL_DIR"]).rglob("line.npy")))


def run(data: str) -> dict[str, object]:
    points = Points.parse_raw(data)
    y = line[0] * numpy.array(points.x) + line[1]
    versions = {"numpy": numpy.__version__, "pydantic": pydantic.VERSION}
    return {"y": numpy.round_(y, 6).tolist(), "versions": versions}
