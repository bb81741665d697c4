"""Measures original and compiled models on one row and 1,000 rows, by family, and their parity.

The original is called as a replica would call it: a frame with the names of the features. Both run on one
thread, in turn, and the best of several runs counts. The last table is the price of an explanation.
"""

import statistics
import time
import warnings
from collections.abc import Callable
from typing import Any

import lightgbm
import numpy as np
import pandas as pd
import polars as pl
import xgboost
from rich.console import Console
from rich.table import Table
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import (
    GradientBoostingClassifier,
    HistGradientBoostingClassifier,
    RandomForestClassifier,
)
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from threadpoolctl import threadpool_limits

from benchmarks.children import clean_up_after
from tidemill.features.request_features import FeatureRow
from tidemill.registry.versions.loaded_model import Scorer
from tidemill.serving.inference.explaining import Explainer
from tidemill.training.compiling.compiler import CompiledModel, compile_model
from tidemill.training.compiling.onnx_session import open_session
from tidemill.training.compiling.parity import compare_answers

ROWS, COLUMNS, RUNS = 20_000, 20, 7


def rows() -> pd.DataFrame:
    """Eighteen numbers, some unknown, and two codes."""
    draw = np.random.default_rng(0)
    found = pd.DataFrame(draw.normal(size=(ROWS, COLUMNS)), columns=[f"f{n:02d}" for n in range(COLUMNS)])
    found = found.mask(draw.random(found.shape) < 0.03)
    found["f18"], found["f19"] = draw.integers(0, 12, ROWS) * 1.0, draw.integers(0, 5, ROWS) * 1.0
    return found


def families() -> dict[str, Any]:
    """Models of usual sizes."""
    numbers, codes = [f"f{n:02d}" for n in range(18)], ["f18", "f19"]
    mixed = ColumnTransformer(
        [
            ("numbers", make_pipeline(SimpleImputer(), StandardScaler()), numbers),
            ("codes", OneHotEncoder(handle_unknown="ignore"), codes),
        ]
    )
    filled = make_pipeline(SimpleImputer(), StandardScaler())
    return {
        "logistic regression": make_pipeline(SimpleImputer(), LogisticRegression()),
        "pipeline: impute, scale, one-hot, logistic": make_pipeline(mixed, LogisticRegression(max_iter=1000)),
        "random forest, 100 trees": RandomForestClassifier(100, max_depth=10, random_state=0),
        "gradient boosting, 100 trees": make_pipeline(filled, GradientBoostingClassifier(random_state=0)),
        "histogram boosting, 100 trees": HistGradientBoostingClassifier(max_iter=100, random_state=0),
        "histogram boosting, categories": HistGradientBoostingClassifier(
            max_iter=100, categorical_features=codes, random_state=0
        ),
        "XGBoost, 100 trees": xgboost.XGBClassifier(n_estimators=100, n_jobs=1),
        "LightGBM, 100 trees": lightgbm.LGBMClassifier(n_estimators=100, n_jobs=1, verbose=-1),
    }


def microseconds(work: Callable[[], object], least: float = 0.03) -> float:
    """Return the best time of a call."""
    work()
    began = time.perf_counter()
    work()
    calls = max(1, int(least / max(time.perf_counter() - began, 1e-7)))
    best = float("inf")
    for _ in range(RUNS):
        began = time.perf_counter()
        for _ in range(calls):
            work()
        best = min(best, (time.perf_counter() - began) / calls)
    return best * 1e6


def explained(model: Any, frame: pd.DataFrame) -> tuple[float, float, float]:
    """Return the seconds until the first explanation, and the milliseconds of one and of 100 more."""
    features = tuple(frame.columns)
    explainer = Explainer(
        lambda version: Scorer(version, features, lambda _: _, "skops", None, model),
        lambda version: pl.from_pandas(frame),
    )
    served = [
        FeatureRow(dict(zip(features, row, strict=True)), ()) for row in frame[:100].to_numpy().tolist()
    ]
    began = time.perf_counter()
    explainer.explain("1", served[:1])
    first = time.perf_counter() - began
    return first, *(
        statistics.median(_timed(lambda n=n: explainer.explain("1", served[:n])) for _ in range(5)) * 1e3
        for n in (1, 100)
    )


def _timed(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def main() -> None:
    """Print both tables."""
    warnings.simplefilter("ignore")
    frame = rows()
    late = (
        frame["f00"].fillna(0) + (frame["f18"] == 3) + np.random.default_rng(1).normal(size=ROWS) > 0.7
    ) * 1
    speed = Table("model", "rows", "original µs", "compiled µs", "×", "largest difference", "compiled in")
    price = Table("explained", "first, with loading SHAP", "1 row", "100 rows")
    one, many = frame[:1], frame[:1000]
    for name, model in families().items():
        model.fit(frame, late)
        made = compile_model(model, frame)
        assert isinstance(made, CompiledModel), made
        session = open_session(made.content, made.features)
        parity = compare_answers(lambda part, m=model: m.predict_proba(part)[:, 1], session.predict, frame)
        for part in (one, many):
            matrix, names = np.ascontiguousarray(part.to_numpy(np.float64)), list(part.columns)
            theirs = microseconds(
                lambda m=model, x=matrix, c=names: m.predict_proba(pd.DataFrame(x, columns=c))
            )
            ours = microseconds(lambda s=session, x=matrix: s.score(x))
            speed.add_row(
                name,
                f"{len(part):,}",
                f"{theirs:,.0f}",
                f"{ours:,.1f}",
                f"{theirs / ours:,.0f}",
                f"{parity.max_difference:.1g}",
                f"{made.seconds:.2f} s",
            )
        if name.startswith(("random", "XGB", "LightGBM")) or name == "histogram boosting, 100 trees":
            first, single, hundred = explained(model, frame)
            price.add_row(name, f"{first:.1f} s", f"{single:.1f} ms", f"{hundred:.1f} ms")
    Console().print(speed, price)


if __name__ == "__main__":
    with threadpool_limits(1):  # as in a replica
        clean_up_after(main)
