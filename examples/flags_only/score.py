"""Answer whether each measurement is usual: {"data": [20.5, 40]} → {"usual": [true, false]}."""

import json
import os
from pathlib import Path

import numpy

learned: dict = {}


def init() -> None:
    path = next(Path(os.environ["AZUREML_MODEL_DIR"]).rglob("learned.json"))
    learned.update(json.loads(path.read_text()))


def run(data: str) -> dict[str, list[bool]]:
    distance = numpy.abs(numpy.array(json.loads(data)["data"]) - learned["mean"])
    return {"usual": (distance < 3 * learned["spread"]).tolist()}
