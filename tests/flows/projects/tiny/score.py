import os
from pathlib import Path

model = ""


def init():
    global model
    model = next(Path(os.environ["AZUREML_MODEL_DIR"]).rglob("model.txt")).read_text()


def run(data):
    return {"model": model}
