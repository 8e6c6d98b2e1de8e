import os
from pathlib import Path

model = ""


def init():
    global model
    model = next(Path(os.environ["AZUREML_MODEL_DIR"]).rglob("model.txt")).read_text()
    if model == "init-fails":
        raise ValueError("the model was told to fail")
    if model == "init-dies":
        print("the model was told to die", flush=True)
        os._exit(7)


def run(data):
    return {"model": model}
