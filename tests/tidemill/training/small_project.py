"""A project small enough to train in seconds: synthetic rows whose labels really depend on the features."""

import textwrap
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import yaml

from tidemill.project import Project, load_project
from tidemill.settings import Settings

START = datetime(2013, 1, 1, tzinfo=UTC)
FEATURES = ("wind", "delay", "hour")
DAYS, PER_DAY = 150, 30

MODEL = textwrap.dedent(
    """
    import os
    import pickle
    import signal
    from functools import partial

    from ray import tune
    from sklearn.dummy import DummyClassifier
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.impute import SimpleImputer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    from tidemill.training.model_spec import Family, TrainingSpec


    def line_steps(params, features, labels, saved):
        for step in range(1 + (saved.rounds if saved else 0), 4):
            model = make_pipeline(SimpleImputer(), StandardScaler(), LogisticRegression(C=params["c"] * step))
            yield model.fit(features, labels), lambda: b"each round begins anew"


    def fit_line(params, features, labels):
        for model, _ in line_steps(params, features, labels, None):
            yield model


    def fit_trees(params, features, labels):
        model = HistGradientBoostingClassifier(
            warm_start=True, early_stopping=False, random_state=0, max_leaf_nodes=params["leaves"]
        )
        for step in range(1, 4):
            yield model.set_params(max_iter=5 * step).fit(features, labels)


    def grown_steps(params, features, labels, saved):
        model = HistGradientBoostingClassifier(warm_start=True, early_stopping=False, random_state=0)
        model = pickle.loads(saved.state) if saved else model.set_params(max_leaf_nodes=4)
        for step in range(1 + (saved.rounds if saved else 0), 5):
            model.set_params(learning_rate=params["rate"], max_iter=3 * step)
            yield model.fit(features, labels), partial(pickle.dumps, model)


    def fit_grown(params, features, labels):
        for model, _ in grown_steps(params, features, labels, None):
            yield model


    def fit_constant(params, features, labels):
        yield DummyClassifier().fit(features, labels)


    def fit_broken(params, features, labels):
        raise ValueError("the moon is in the wrong house")
        yield


    def fit_dying(params, features, labels):
        os.kill(os.getpid(), signal.SIGKILL)
        yield


    line = Family("line", {"c": tune.loguniform(0.01, 10.0)}, fit_line, rounds=3, steps=line_steps)
    trees = Family("trees", {"leaves": tune.randint(4, 16), "depth": 3}, fit_trees, rounds=3)
    grown = Family("grown", {"rate": tune.loguniform(0.001, 0.3)}, fit_grown, rounds=4, steps=grown_steps)
    constant = Family("constant", {}, fit_constant, rounds=1)
    broken = Family("broken", {}, fit_broken, rounds=2)
    dying = Family("dying", {}, fit_dying, rounds=2)

    spec = TrainingSpec((line, trees, constant))
    rough = TrainingSpec((line, trees, broken, dying))
    population = TrainingSpec((grown,))
    hopeless = TrainingSpec((broken,))
    not_a_spec = 3
    """
)


def rows(days: int = DAYS, per_day: int = PER_DAY, seed: int = 7) -> pl.DataFrame:
    """A training set: ``late`` depends on wind and delay; some winds are unknown."""
    draw = np.random.default_rng(seed)
    count = days * per_day
    at = [START + timedelta(days=n // per_day, minutes=30 * (n % per_day)) for n in range(count)]
    wind, delay, hour = draw.normal(size=count), draw.normal(size=count), draw.integers(0, 24, count)
    late = draw.random(count) < 1 / (1 + np.exp(1.0 - 1.5 * wind - 1.0 * delay))
    return pl.DataFrame(
        {
            "carrier": ["UA"] * count,
            "event_timestamp": at,
            "wind": np.where(draw.random(count) < 0.05, np.nan, wind),
            "delay": delay,
            "hour": hour.astype(np.int64),
            "late": late.astype(np.int64),
            "label_known_at": [moment + timedelta(days=2) for moment in at],
        },
        schema_overrides={
            "event_timestamp": pl.Datetime("us", "UTC"),
            "label_known_at": pl.Datetime("us", "UTC"),
        },
    )


def make_project(root: Path, spec: str = "spec", **train: Any) -> Project:
    """Write the project's files and load it."""
    (root / "small_model.py").write_text(MODEL)
    params = {
        "project": {
            "name": "small",
            "model": "small-model",
            "training": f"small_model:{spec}",
            "application": "none:none",
        },
        "dataset": {"path": "data/training_set.parquet", "label": "late"},
        "features": {"service": "small_service"},
        "split": {"validation_days": 14, "holdout_days": 14},
        "train": {"trials": 6, **train},
        "gate": {"min_rows": 100},
    }
    (root / "params.yaml").write_text(yaml.safe_dump(params))
    (root / "data").mkdir()
    rows().write_parquet(root / "data" / "training_set.parquet")
    return load_project(root, Settings())


@dataclass(frozen=True)
class Data:
    """Stands for a `tidemill.data.versioning.data_versions.DataVersion`, without DVC."""

    revision: str = "4f1d" * 10
    outputs: dict[str, str] = field(default_factory=lambda: {"data/training_set.parquet": "9a0e" * 8})


def day(number: int) -> datetime:
    """Noon of the given day of the synthetic history."""
    return START + timedelta(days=number, hours=12)
