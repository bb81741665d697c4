"""Runs the model in this folder: needs nothing but Python, onnxruntime and numpy.

python predict.py                        the rows of model.json with known answers: are they the same here?
python predict.py wind=3.2 origin=JFK    one row; a feature that is not named is not known
"""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

FOLDER = Path(__file__).parent


def predict(session: Any, model: dict[str, Any], rows: list[dict[str, Any]]) -> Any:
    """Return the output for each row, shape (rows, columns); a value that is missing or None is not known."""
    numbers = [one["name"] for one in model["features"] if one["kind"] == "number"]
    words = [one["name"] for one in model["features"] if one["kind"] == "word"]
    feeds = {}
    if numbers:  # None becomes NaN
        feeds["features"] = np.array([[row.get(name) for name in numbers] for row in rows], dtype=np.float64)
    if words:
        texts = [[str(row.get(name) or "") for name in words] for row in rows]
        feeds["words"] = np.array(texts, dtype=object)
    return session.run([model["output"]["name"]], feeds)[0]


def shown(model: dict[str, Any], answer: Any) -> dict[str, Any]:
    """Return the output for one row by name: of the output, or of each class."""
    name, classes = model["output"]["name"], model["output"]["classes"]
    if not classes:
        return {name: float(answer[0])}
    return {"class": classes[int(answer.argmax())], name: dict(zip(classes, answer.tolist(), strict=True))}


def main() -> int:
    """Print a prediction, or compare all known answers."""
    model = json.loads((FOLDER / "model.json").read_text())
    session = onnxruntime.InferenceSession(str(FOLDER / "model.onnx"), providers=["CPUExecutionProvider"])
    if len(sys.argv) == 1:
        checks = model["checks"]
        if not checks:
            print("no known answers to compare: the model takes none of the rows that were made up")  # noqa: T201
            return 0
        found = predict(session, model, [check["row"] for check in checks])
        known = np.array([check[model["output"]["name"]] for check in checks], dtype=np.float64)
        worst = np.abs(found - known.reshape(found.shape)).max()
        print(f"{len(found)} known answers, largest difference {worst:.2g}")  # noqa: T201
        return int(not worst <= model["parity"]["threshold"])  # NaN is a difference, too
    kinds = {one["name"]: one["kind"] for one in model["features"]}
    row: dict[str, Any] = {}
    for argument in sys.argv[1:]:
        name, _, value = argument.partition("=")
        if name not in kinds:
            print(f"no such feature: {name}; there are {', '.join(kinds)}", file=sys.stderr)  # noqa: T201
            return 2
        row[name] = float(value) if kinds[name] == "number" else value
    print(json.dumps(shown(model, predict(session, model, [row])[0])))  # noqa: T201
    return 0


if __name__ == "__main__":
    sys.exit(main())
