"""Answer with the digit in each image: {"data": [[64 numbers from 0 to 16], …]} → {"digits": […]}."""

import json
import os
from pathlib import Path

import joblib

model = None


def init() -> None:
    global model
    model = joblib.load(Path(os.environ["AZUREML_MODEL_DIR"]) / "model.joblib")


def run(data: str) -> dict[str, list[int]]:
    images = json.loads(data)["data"]
    return {"digits": model.predict(images).tolist()}
