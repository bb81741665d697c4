"""Judges windows with NannyML; runs in an environment of its own, which has no Tidemill.

    PYTHON benchmarks/nannyml_windows.py FOLDER [FOLDER …]

Each folder has ``reference.parquet``, ``windows.parquet`` (windows of ``size`` rows one after the other) and
``asked.json``; ``found.json`` is written beside them, one object a window.
"""

import json
import os
import sys
import warnings
from pathlib import Path
from typing import Any

warnings.filterwarnings("ignore")
os.environ["NML_DISABLE_USAGE_LOGGING"] = "1"

SCORE, GIVEN, TRUTH = "__score", "__given", "__truth"
METRICS = {"binary": ["roc_auc", "f1"], "multiclass": ["roc_auc", "f1"], "regression": ["mae", "rmse"]}


def judge(folder: Path) -> None:
    """Write what the windows of one folder come to."""
    import nannyml as nml
    import pandas as pd

    asked = json.loads((folder / "asked.json").read_text())
    reference, windows = (pd.read_parquet(folder / f"{name}.parquet") for name in ("reference", "windows"))
    task, size, classes = asked["task"], asked["size"], asked["classes"]
    found: list[dict[str, Any]] = [{} for _ in range(len(windows) // size)]
    if asked.get("drift", True):
        columns = [*asked["features"], SCORE if task == "regression" else GIVEN]
        drift = nml.UnivariateDriftCalculator(column_names=columns, chunk_size=size).fit(reference)
        _note(found, "drift", drift.calculate(windows))
    kind = task if task == "regression" else f"classification_{task}"
    known = nml.PerformanceCalculator(
        problem_type=kind, metrics=METRICS[task], chunk_size=size, **_columns(task, classes)
    )
    if task == "regression":
        estimator = nml.DLE(
            feature_column_names=asked["features"],
            metrics=METRICS[task],
            chunk_size=size,
            **_columns(task, classes),
        )
    else:
        estimator = nml.CBPE(
            problem_type=kind, metrics=METRICS[task], chunk_size=size, **_columns(task, classes)
        )
    _note(found, "estimated", estimator.fit(reference).estimate(windows.drop(columns=TRUTH)))
    _note(found, "known", known.fit(reference).calculate(windows))
    (folder / "found.json").write_text(json.dumps(found))


def _columns(task: str, classes: list[str]) -> dict[str, Any]:
    if task == "regression":
        return {"y_pred": SCORE, "y_true": TRUTH}
    chances = {name: f"__chance_{place}" for place, name in enumerate(classes)}
    return {
        "y_pred_proba": chances if task == "multiclass" else "__chance_0",
        "y_pred": GIVEN,
        "y_true": TRUTH,
    }


def _note(found: list[dict[str, Any]], name: str, result: Any) -> None:
    """Add whether any column or metric alarms in each window, and the metrics' values."""
    frame = result.filter(period="analysis").to_df()
    alerts = [column for column in frame.columns if column[-1] == "alert"]
    for place, one in enumerate(found):
        row = frame.iloc[place]
        one[name] = bool(any(bool(row[column]) for column in alerts))
        if name != "drift":
            values = [column for column in frame.columns if column[-1] == "value"]
            one[f"{name} values"] = {str(column[0]): float(row[column]) for column in values}
            for end in ("lower_confidence_boundary", "upper_confidence_boundary"):
                ends = [column for column in frame.columns if column[-1] == end]
                one[f"{name} {end.partition('_')[0]}"] = {
                    str(column[0]): float(row[column]) for column in ends
                }


if __name__ == "__main__":
    for argument in sys.argv[1:]:
        judge(Path(argument))
