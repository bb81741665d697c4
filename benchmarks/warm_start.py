"""Whether a model fitted on from the one before it is as good as one made anew: flights by the month.

    OMP_NUM_THREADS=1 python -m benchmarks.warm_start --project FOLDER

FOLDER has the training set of the whole year (`benchmarks.decisions`). Prints for each month from April to
December the AUC of XGBoost's models: of the first one, of one made anew on all rows known as the month began,
and of the first one fitted on with the rows that became known since, for 20, 50 or 100 rounds more a month.
"""

import argparse
from collections.abc import Mapping
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path

import numpy as np
import polars as pl
import xgboost
from sklearn.metrics import roc_auc_score

from tidemill.features.project_features import feature_names
from tidemill.project import load_project
from tidemill.retraining.backtest.fitted_models import known_by
from tidemill.training.feature_table import as_features
from tidemill.training.training_rows import read_labelled

MONTHS = [datetime(2013 + month // 13, (month - 1) % 12 + 1, 1, tzinfo=UTC) for month in range(4, 14)]
ROUNDS, MORE = 200, (20, 50, 100)
PARAMS = {
    "objective": "binary:logistic", "max_depth": 6, "eta": 0.08, "min_child_weight": 50, "subsample": 0.8,
    "colsample_bytree": 0.5, "tree_method": "hist", "nthread": 1, "seed": 0,
}  # fmt: skip


def main() -> None:
    """Print each month's AUC by how the model was made, and the means."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--project", type=Path, required=True)
    project = load_project(parser.parse_args().project)
    names, dataset = tuple(feature_names(project)), project.config.dataset
    rows = read_labelled(project, names, datetime.max.replace(tzinfo=UTC)).rows

    def given(some: pl.DataFrame) -> xgboost.DMatrix:
        features = as_features(some, names).select_dtypes("number")
        return xgboost.DMatrix(features, label=some[dataset.label].to_numpy())

    first, warm, before = None, dict.fromkeys(MORE), 0
    found: dict[str, list[float]] = {}
    for begin, end in pairwise(MONTHS):
        known = known_by(project, rows, begin)
        anew = xgboost.train(PARAMS, given(known), ROUNDS)
        if first is None:
            first, warm = anew, dict.fromkeys(MORE, anew)
        else:
            news = given(known.tail(known.height - before))
            warm = {more: xgboost.train(PARAMS, news, more, xgb_model=old) for more, old in warm.items()}
        before = known.height
        month = rows.filter(pl.col(dataset.time_column).is_between(begin, end, closed="left"))
        fitted_on = {f"{more} rounds more": model for more, model in warm.items()}
        show(f"{begin:%Y-%m}", found, {"never": first, "anew": anew, **fitted_on}, given(month))
    print("mean     " + "  ".join(f"{name} {np.mean(each):.4f}" for name, each in found.items()))


def show(
    month: str,
    found: dict[str, list[float]],
    models: Mapping[str, xgboost.Booster],
    rows: xgboost.DMatrix,
) -> None:
    """Print and keep the AUC of each model on some rows."""
    for name, model in models.items():
        found.setdefault(name, []).append(float(roc_auc_score(rows.get_label(), model.predict(rows))))
    print(f"{month}  " + "  ".join(f"{name} {found[name][-1]:.4f}" for name in models), flush=True)


if __name__ == "__main__":
    main()
