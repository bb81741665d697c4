"""A project of a table alone: scikit-learn's wines as CSV, without time, entity and feature store."""

import textwrap
from pathlib import Path

import pandas as pd
import yaml
from sklearn.datasets import load_wine

from tidemill.data.repository.repository_setup import init_workspace
from tidemill.project import Project, load_project
from tidemill.settings import Settings

DVC = """\
stages:
  training_set:
    cmd: python training_set.py
    deps: [training_set.py, wine.csv]
    outs: [data/training_set.parquet]
"""

TRAINING_SET = """
import polars as pl
pl.read_csv("wine.csv").write_parquet("data/training_set.parquet")
"""

MODEL = """
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from tidemill import Family, TrainingSpec


def fit(params, features, labels):
    line = make_pipeline(SimpleImputer(), StandardScaler(), LogisticRegression())
    yield line.fit(features, labels)


spec = TrainingSpec((Family("line", {}, fit, rounds=1),))
"""

MONITORS = """
monitors:
  - name: arrivals
    window: 1d
    every: 1d
    min_rows: 20
    min_labelled: 20
    data_drift: {share: 0.5, numerical: 1.0}
    quality: {metric: roc_auc, max_drop: 0.3}
    feature_skew: {}
"""


def wines() -> pd.DataFrame:
    """Return the table: is a wine the first grower's?"""
    wine = load_wine(as_frame=True)
    names = {"od280/od315_of_diluted_wines": "od280/od315 of diluted wines"}
    return wine.data.rename(columns=names).assign(first_grower=(wine.target == 0).astype(int))


def write_table_project(root: Path, **sections: dict) -> Project:
    """Write the project, in a workspace of git and DVC."""
    table = wines()
    params = {
        "project": {"name": "wine", "model": "wine", "training": "wine_model:spec"},
        "dataset": {
            "path": "data/training_set.parquet",
            "label": "first_grower",
            "time": None,
            "label_known": None,
        },
        "features": {"from": "request"},
        "train": {"trials": 1},
        "gate": {"min_rows": 20, "min_gain": -1.0},
        "serve": {"poll_seconds": 0.1},
    }
    for name, section in sections.items():
        params[name] = {**params.get(name, {}), **section}
    columns = [
        {"name": name, "type": "number", "required": name != "ash", "example": float(table[name][0])}
        for name in table.columns.drop("first_grower")
    ]
    files = {
        "params.yaml": yaml.safe_dump(params),
        "features.yaml": yaml.safe_dump({"columns": columns}, sort_keys=False),
        "dvc.yaml": DVC,
        ".gitignore": ".tidemill/\n__pycache__/\n/data/*.parquet\n",
        "training_set.py": TRAINING_SET,
        "wine_model.py": MODEL,
        "monitoring/monitors.yaml": MONITORS,
        "wine.csv": table.to_csv(index=False),
    }
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(textwrap.dedent(content))
    (root / "data").mkdir(exist_ok=True)
    init_workspace(root, root.parent / "remote")
    return load_project(root, Settings(num_cpus=1))
