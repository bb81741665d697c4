"""Projects of a table alone: wines and irises as CSV, without time, entity and feature store."""

import textwrap
from pathlib import Path

import pandas as pd
import yaml
from sklearn.datasets import load_iris, load_wine

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
        "training_set.py": TRAINING_SET,
        "wine_model.py": MODEL,
        "monitoring/monitors.yaml": MONITORS,
        "wine.csv": table.to_csv(index=False),
    }
    return _write(root, files)


def irises() -> pd.DataFrame:
    """Return a table of three classes, with text that has gaps: the first rows have none at all."""
    iris = load_iris(as_frame=True)
    soil = pd.Series(["clay", "sand", "loam"])[iris.target.where(iris.data.index % 7 != 0, 0)]
    soil = soil.reset_index(drop=True).where((iris.data.index % 11 != 0) & (iris.data.index > 9))
    return iris.data.assign(soil=soil, kind=pd.Series(iris.target_names)[iris.target].to_numpy())


def write_iris_project(root: Path) -> Project:
    """Write a project without any code of its own but the stage that writes the training set."""
    table = irises()
    params = {
        "project": {"name": "iris", "model": "iris", "task": "multiclass"},
        "dataset": {
            "path": "data/training_set.parquet",
            "label": "kind",
            "classes": ["setosa", "versicolor", "virginica"],
            "time": None,
            "label_known": None,
        },
        "data": {"source": "iris.csv"},
        "features": {"from": "request"},
        "train": {"trials": 1, "families": ["linear"]},
        "gate": {"min_rows": 20},
        "serve": {"poll_seconds": 0.1},
    }
    columns = [
        {"name": name, "type": "number", "example": float(table[name][0])}
        for name in table.columns.drop(["soil", "kind"])
    ]
    soil = {
        "name": "soil",
        "type": "text",
        "required": False,
        "categories": ["clay", "loam", "sand"],
        "unseen": "flag",
        "personal": True,
    }
    return _write(
        root,
        {
            "params.yaml": yaml.safe_dump(params),
            "features.yaml": yaml.safe_dump({"columns": [*columns, soil]}, sort_keys=False),
            "dvc.yaml": DVC.replace("wine.csv", "iris.csv"),
            "training_set.py": TRAINING_SET.replace("wine.csv", "iris.csv"),
            "iris.csv": table.to_csv(index=False),
        },
    )


def _write(root: Path, files: dict[str, str]) -> Project:
    for name, content in {**files, ".gitignore": ".tidemill/\n__pycache__/\n/data/*.parquet\n"}.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(textwrap.dedent(content))
    (root / "data").mkdir(exist_ok=True)
    init_workspace(root, root.parent / "remote")
    return load_project(root, Settings(num_cpus=1))
