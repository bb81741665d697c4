"""The tables, models, windows and planted shifts of `benchmarks.detection`."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl

from tidemill.features.project_features import feature_names
from tidemill.monitoring.drift.column_pair import FEW
from tidemill.monitoring.monitor_config import Monitor, load_monitors
from tidemill.project import Project, load_project
from tidemill.quickstart.init_options import InitOptions
from tidemill.quickstart.new_project import draft_project, write_draft
from tidemill.tasks.task import Answers, Task
from tidemill.training.families.ready_families import ready_spec
from tidemill.training.feature_table import as_features
from tidemill.training.tracking.reference_rows import ReferenceRows

__all__ = [
    "AT",
    "PLANTS",
    "VERSION",
    "Champion",
    "Table",
    "Window",
    "fit",
    "flights_project",
    "planted",
    "table_of",
]

ROOT = Path(__file__).parents[1]
_REFERENCE = 10_000
_FITTED = 10_000
_PARAMS = {"learning_rate": 0.08, "max_leaf_nodes": 15, "min_samples_leaf": 50, "l2_regularization": 1.0}
AT = datetime(2013, 4, 1, tzinfo=UTC)
VERSION = "1"


@dataclass(frozen=True)
class Table:
    """Rows with a target, and the project whose monitor watches a model of them."""

    name: str
    rows: pl.DataFrame
    features: tuple[str, ...]
    project: Project
    monitor: Monitor
    window: int
    """Rows of a window."""

    @property
    def target(self) -> str:
        """The column that is predicted."""
        return self.project.config.dataset.label


TABLES = ("health", "marriages", "made up", "flights, init", "flights")
"""The names of the tables. Health and marriages come with statsmodels."""


def table_of(name: str, folder: Path, flights: Path | None) -> Table:
    """Return a table with its project.

    Args:
        name: one of `TABLES`.
        folder: where projects are made.
        flights: a project of flights with a training set of the whole year; None: it is made.
    """
    if name == "health":
        return _by_init(name, _dataset("randhie"), folder, InitOptions("mdvis", task="regression"))
    if name == "marriages":
        codes = ("occupation", "occupation_husb", "rate_marriage")
        rows = _dataset("fair").with_columns(pl.col(codes).cast(pl.Int64).cast(pl.String))
        return _by_init(name, rows, folder, InitOptions("rate_marriage", task="multiclass"))
    if name == "made up":
        return _by_init(name, _made_up(40_000), folder, InitOptions("bought", task="binary"))
    if flights is None:
        made = folder / "flights-year"
        flights = made if made.exists() else flights_project(folder)
    project = load_project(flights)
    features, about = tuple(feature_names(project)), project.config.dataset
    numbers = [pl.col(name).cast(pl.Float64) for name in features]
    rows = pl.read_parquet(project.dataset_path).select(about.time_column, about.label, *numbers)
    rows = rows.drop_nulls(about.label)
    if name == "flights":
        return Table(name, rows, features, project, load_monitors(project)[0], 1120)
    return _by_init(name, rows, folder, InitOptions(about.label, time=about.time))


def flights_project(folder: Path) -> Path:
    """Make a project of flights with the training set of the whole year."""
    from tidemill.data.versioning.params_file import set_values

    project = folder / "flights-year"
    _run(folder, "tidemill.cli.main", "init", str(project), "--example", "flights")
    path = project / "params.yaml"
    path.write_text(set_values(path.read_text(), {"data.last_month": "2013-12"}))
    for stage in ("ingest", "validate", "features", "training_set"):
        _run(project, f"pipelines.{stage}")
    return project


def _run(folder: Path, module: str, *arguments: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", module, *arguments], cwd=folder, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise SystemExit(f"{module} {' '.join(arguments)} failed:\n{done.stdout}{done.stderr[-3000:]}")


def _dataset(name: str) -> pl.DataFrame:
    """Return a data set that comes with statsmodels."""
    import statsmodels.datasets as datasets

    return pl.from_pandas(getattr(datasets, name).load_pandas().data)


def _made_up(rows: int) -> pl.DataFrame:
    """Return rows with what real columns have: far tails, gaps, zeros, and text with many categories."""
    random = np.random.default_rng(5)
    x, z = random.normal(size=(2, rows))
    few, many = random.integers(0, 5, rows), np.minimum(random.zipf(1.4, rows), 4000)
    odds = 1.2 * x + 0.6 * z + np.sin(few * 1.7) + 0.4 * (many > 8) - 0.5
    table = pl.DataFrame(
        {
            "x": x,
            "size": np.exp(1.8 * random.normal(size=rows) + 0.5 * z),
            "wealth": random.pareto(1.5, rows) * 100,
            "visits": random.poisson(1.3, rows),
            "paid": np.where(random.random(rows) < 0.9, 0.0, random.gamma(2, 20, rows)),
            "rarely": np.where(random.random(rows) < 0.97, np.nan, random.normal(50, 5, rows)),
            "often": np.where(random.random(rows) < 0.2, np.nan, z),
            "kind": [f"kind {one}" for one in few],
            "shop": [f"shop {one}" for one in many],
            "flag": random.random(rows) < 0.02,
            "bought": (odds + random.logistic(size=rows) > 0).astype(np.int64),
        }
    )
    return table.with_columns(pl.col("rarely", "often").fill_nan(None))


def _by_init(name: str, rows: pl.DataFrame, folder: Path, options: InitOptions) -> Table:
    """Return a table with what ``tidemill init`` makes of it."""
    path = folder / f"{name.replace(', ', '-').replace(' ', '-')}.parquet"
    rows.write_parquet(path)
    draft = draft_project(path.stem, str(path), folder, options)
    write_draft(draft, path.with_suffix(""))
    project = load_project(path.with_suffix(""))
    kinds = {feature.name: feature.type for feature in draft.choices.features.chosen}
    typed = [
        pl.col(feature).cast(pl.String if kind == "text" else pl.Float64) for feature, kind in kinds.items()
    ]
    monitor = load_monitors(project)[0]
    window = max(monitor.min_rows, 500)
    rows = rows.select(pl.col(options.target), *typed).drop_nulls(options.target)
    return Table(name, rows, tuple(kinds), project, monitor, window)


@dataclass(frozen=True)
class Window:
    """Rows as they were served, and the prediction log of them."""

    features: pl.DataFrame
    logged: pl.DataFrame


@dataclass(frozen=True)
class Champion:
    """A model, and what a version of it would have on record."""

    task: Task
    features: tuple[str, ...]
    target: str
    estimator: Any
    reference: ReferenceRows
    holdout: pl.DataFrame
    metrics: dict[str, float]

    def answers(self, rows: pl.DataFrame) -> Answers:
        """Return the model's answers."""
        return self.task.answers(self.estimator, as_features(rows, self.features))

    def window(self, rows: pl.DataFrame) -> Window:
        """Return rows as they are logged once their labels are known."""
        answers, task = self.answers(rows), self.task
        given = [task.label_given(value) for value in rows[self.target].to_list()]
        logged = pl.DataFrame(
            {
                "prediction_id": pl.int_range(rows.height, eager=True).cast(pl.String),
                "version": [VERSION] * rows.height,
                "at": [AT] * rows.height,
                "score": pl.Series(task.scores(answers), dtype=pl.Float64),
                "answer": pl.Series([task.logged(answer) for answer in answers], dtype=pl.String),
                "label": pl.Series([label for label, _ in given], dtype=pl.Int64),
                "target": pl.Series([target for _, target in given], dtype=pl.String),
            }
        )
        return Window(rows.select(self.features), logged)


def fit(table: Table, fitted: pl.DataFrame, holdout: pl.DataFrame) -> Champion:
    """Fit boosted trees, and keep as a reference what training keeps."""
    task, target = table.project.task, table.target
    sample = fitted.head(_FITTED)
    family = ready_spec(("hist_gradient_boosting",), task.kind).families[0]
    truth = pd.Series(task.truth(sample, target))
    *_, estimator = family.fit(_PARAMS, as_features(sample, table.features), truth)
    answers = task.answers(estimator, as_features(holdout, table.features))
    metrics = {
        name: float(value) for name, value in task.evaluate(task.truth(holdout, target), answers).items()
    }
    kept = min(holdout.height, _REFERENCE)
    logged = pl.Series([task.logged(answer) for answer in answers[:kept]], dtype=pl.String)
    reference = ReferenceRows(
        fitted.head(_REFERENCE).select(table.features),
        fitted.head(_REFERENCE)[target],
        pl.Series(task.scores(answers[:kept])),
        logged if logged.null_count() < kept else None,
        holdout.head(kept).select(table.features),
        holdout.head(kept)[target],
    )
    return Champion(task, table.features, target, estimator, reference, holdout, metrics)


Plant = Callable[[pl.DataFrame, str], pl.DataFrame]
"""Takes rows and a feature; returns the rows as they would be after the shift."""


def _column(change: Callable[[pl.Series], Any]) -> Plant:
    def plant(rows: pl.DataFrame, feature: str) -> pl.DataFrame:
        return rows.with_columns(pl.Series(feature, change(rows[feature]), rows.schema[feature]))

    return plant


def _concept(rows: pl.DataFrame, feature: str, champion: "Champion", part: float = 0.5) -> pl.DataFrame:
    """Change labels above the feature's median: a part to another class, or all by `2 * part` deviations."""
    ranks = rows[feature].rank("random", seed=1).fill_null(0).to_numpy()
    above = ranks > np.median(ranks)
    target, kind = champion.target, rows.schema[champion.target]
    if champion.task.kind == "regression":
        moved = rows[target].cast(pl.Float64) + above * 2 * part * champion.holdout[target].std()
        return rows.with_columns(moved.alias(target))
    classes = champion.holdout[target].drop_nulls().unique().sort().to_list()
    chosen = above & (np.random.default_rng(2).random(rows.height) < part)
    labels = [
        classes[(classes.index(label) + 1) % len(classes)] if other else label
        for label, other in zip(rows[target].to_list(), chosen, strict=True)
    ]
    return rows.with_columns(pl.Series(target, labels, kind))


PLANTS: dict[str, Plant] = {
    "null": _column(lambda column: [None] * len(column)),
    "constant": _column(lambda column: [column.drop_nulls().mode().sort()[0]] * len(column)),
    "+3 sd": _column(lambda column: column + 3 * (column.std() or 0.0)),
    "x 1000": _column(lambda column: column * 1000),
    "x 2.54": _column(lambda column: column * 2.54),
    "degrees": _column(lambda column: (column - 32) / 1.8),
}
"""What breaks one feature. The standard deviation is that of the rows; the tables have °F."""


def planted(
    champion: Champion, pool: pl.DataFrame, size: int, random: np.random.Generator
) -> Iterator[tuple[str, str, list[pl.DataFrame]]]:
    """Yield the name of a shift, its feature, and two windows in a row that have it.

    Covariate: rows are drawn with a weight of e to the power of the feature's standard score, times that of
    another one. The labels stay those of the rows. Concept: features stay, a quarter of the labels is that of
    another class, or half of the numbers is larger by a standard deviation; mild: a tenth of the labels, or
    by four tenths. Units and three deviations: of numbers with more than 20 values; degrees: of temperatures;
    a constant: where the most frequent value has less than four fifths.
    """
    top = _weighty(champion)
    scores = sum(_standard(pool[name]) for name in top[:2])
    weights = np.exp(scores)
    for start in range(2):
        moved = [pool[random.choice(pool.height, size, False, weights / weights.sum())] for _ in range(2)]
        yield "covariate", " and ".join(top[:2]), moved
        drawn = [_drawn(pool, size, random) for _ in range(2)]
        yield "concept", top[start], [_concept(rows, top[start], champion) for rows in drawn]
    for name, plant in PLANTS.items():
        for feature in champion.features:
            if not _fits(name, pool[feature]) or (name == "degrees" and feature != "temperature"):
                continue
            drawn = [_drawn(pool, size, random) for _ in range(2)]
            yield name, feature, [plant(rows, feature) for rows in drawn]
    for feature in top[:2]:
        drawn = [_drawn(pool, size, random) for _ in range(2)]
        yield "mild concept", feature, [_concept(rows, feature, champion, 0.2) for rows in drawn]


def _fits(plant: str, column: pl.Series) -> bool:
    """Return whether a shift changes a column for good: flags have no unit, and rare values may be absent."""
    known = column.drop_nulls()
    if len(known) < 0.5 * len(column) or known.n_unique() < 2:
        return False
    if plant == "constant":
        return known.value_counts(sort=True, name="rows")["rows"][0] < 0.8 * len(known)
    return plant == "null" or (column.dtype == pl.Float64 and known.n_unique() > FEW)


def _drawn(pool: pl.DataFrame, size: int, random: np.random.Generator) -> pl.DataFrame:
    return pool[random.choice(pool.height, size, replace=False)]


def _standard(column: pl.Series) -> np.ndarray[Any, np.dtype[np.float64]]:
    values = column.fill_null(strategy="mean").to_numpy()
    return np.clip((values - values.mean()) / (values.std() or 1.0), -3, 3)


def _weighty(champion: Champion) -> list[str]:
    """Return numbers by how much the answers go with them, the most first."""
    rows = champion.holdout.head(5_000)
    scores = champion.task.scores(champion.answers(rows))
    found = {
        name: abs(float(np.corrcoef(_standard(rows[name]), scores)[0, 1]))
        for name in champion.features
        if rows[name].dtype == pl.Float64 and rows[name].n_unique() > 2
    }
    return sorted(found, key=lambda name: -np.nan_to_num(found[name]))
