"""Train a classifier on scikit-learn's handwritten digits, and write it with its metrics to ./outputs."""

import argparse
import json
from pathlib import Path

import joblib
import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import ConfusionMatrixDisplay, accuracy_score
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--regularization", type=float, default=0.1)
    arguments = parser.parse_args()

    images, labels = load_digits(return_X_y=True)
    train_x, test_x, train_y, test_y = train_test_split(images, labels, test_size=0.25, random_state=7)
    print(f"training on {len(train_x)} images, testing on {len(test_x)}")
    model = make_pipeline(StandardScaler(), LogisticRegression(C=arguments.regularization, max_iter=500))
    model.fit(train_x, train_y)
    predicted = model.predict(test_x)
    accuracy = accuracy_score(test_y, predicted)
    print(f"accuracy {accuracy:.4f}")

    outputs = Path("outputs")
    outputs.mkdir(exist_ok=True)
    joblib.dump(model, outputs / "model.joblib")
    (outputs / "metrics.json").write_text(json.dumps({"accuracy": round(accuracy, 4), "images": len(test_y)}))
    ConfusionMatrixDisplay.from_predictions(test_y, predicted)
    pyplot.savefig(outputs / "confusion_matrix.png", dpi=100)


if __name__ == "__main__":
    main()
