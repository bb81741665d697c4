"""Counts wrong promotions: how often the gate lets a candidate pass that is truly worse afterwards.

    python -m benchmarks.promotions [--repetitions 100] [--flights FOLDER]

First with frozen scores: champion and candidate are noisy readings of the same chance, so that the true
difference of their AUC is known, and so is that days differ. For each true gain and size of the hold-out the
share of candidates that pass is printed, with ``gate.by: gain`` and with ``interval``.

With ``--flights``, a project with the training set of the whole year: models are fitted at the beginning of
each fortnight, each is a candidate against each earlier one on the fortnight before it, and the truth is how
the two do over the next 30 days. That is uncertain itself: a promotion is surely wrong where the whole 90 %
interval of what came of it (a paired bootstrap over days) lies below zero. Both counts are printed, and so is
how many would be surely wrong if candidates were drawn by lot.
"""

import argparse
from datetime import UTC, datetime, timedelta
from itertools import combinations
from pathlib import Path

import numpy as np
import polars as pl

from benchmarks.detection import interval
from tidemill.features.project_features import feature_names
from tidemill.project import load_project
from tidemill.project.project_config import GateConfig
from tidemill.registry.gates.gate_rules import Evaluation, decide
from tidemill.retraining.backtest.backtest import FAST_ROWS
from tidemill.retraining.backtest.fitted_models import Fitted, FittedModels, Recipe
from tidemill.tasks.binary import Binary
from tidemill.tasks.paired_bootstrap import gain_interval
from tidemill.tasks.task import Answers, Task
from tidemill.training.families.ready_families import ready_spec
from tidemill.training.training_rows import read_labelled

DAYS, LATER = 14, timedelta(days=30)
RULES = {name: GateConfig(by=name, min_rows=1) for name in ("gain", "interval")}


def passes(
    task: Task, truth: np.ndarray, mine: Answers, theirs: Answers, days: np.ndarray
) -> dict[str, bool]:
    """Return whether a candidate passes, by each rule."""
    sides = [
        Evaluation(name, task.evaluate(truth, answers), len(truth))
        for name, answers in (("candidate", mine), ("champion", theirs))
    ]
    between = gain_interval(task, truth, mine, theirs, days)
    rules = {name: config.model_copy(update={"metric": task.metric}) for name, config in RULES.items()}
    return {name: decide(config, *sides, interval=between).passed for name, config in rules.items()}


def frozen(random: np.random.Generator, rows: int, spread: tuple[float, float]) -> tuple[np.ndarray, ...]:
    """Return labels, scores of champion and candidate, and days."""
    days = np.sort(random.integers(0, DAYS, rows))
    weather = random.normal(0, 0.5, DAYS)[days]
    signal, common = random.normal(size=rows), random.normal(size=rows)
    truth = (signal + weather - 1.3 + random.logistic(size=rows) > 0).astype(np.int64)
    read = [signal + weather + 0.8 * common + wide * random.normal(size=rows) for wide in spread]
    return truth, *(1 / (1 + np.exp(-each)) for each in read), days


def with_frozen_scores(repetitions: int) -> None:
    """Print the share of candidates that pass by their true gain."""
    task, random = Binary("roc_auc"), np.random.default_rng(3)
    print(f"{'true gain':>10} {'rows':>6}  " + "  ".join(f"{name:>24}" for name in RULES))
    for wide in (1.5, 1.2, 1.1, 1.05, 1.0, 0.95, 0.9, 0.8, 0.5):
        big = frozen(random, 400_000, (1.0, wide))
        gain = task.evaluate(big[0], big[2])["roc_auc"] - task.evaluate(big[0], big[1])["roc_auc"]
        for rows in (1000, 4000):
            hits = dict.fromkeys(RULES, 0)
            for _ in range(repetitions):
                truth, theirs, mine, days = frozen(random, rows, (1.0, wide))
                for name, passed in passes(task, truth, mine, theirs, days).items():
                    hits[name] += passed
            cells = "  ".join(f"{interval(each, repetitions):>24}" for each in hits.values())
            print(f"{gain if wide != 1 else 0:+10.4f} {rows:>6,}  {cells}", flush=True)


def on_flights(folder: Path) -> None:
    """Print how many promotions of one real model for another turned out wrong."""
    project = load_project(folder)
    features = tuple(feature_names(project))
    rows = read_labelled(project, features, datetime.max.replace(tzinfo=UTC)).rows
    family = ready_spec(("hist_gradient_boosting",), project.task.kind).families[0]
    params = {"learning_rate": 0.08, "max_leaf_nodes": 31, "min_samples_leaf": 100, "max_features": 0.5}
    models = FittedModels(
        project, rows, features, Recipe(family, params, family.rounds), FAST_ROWS, 100, lambda *_: None
    )
    time, label = project.config.dataset.time_column, project.config.dataset.label
    moments = [datetime(2013, 3, 16, tzinfo=UTC) + timedelta(days=14 * number) for number in range(19)]
    fitted = [(at, models.at(at)) for at in moments]
    tally = {name: [0, 0, 0, 0.0] for name in RULES}
    gains, sure = [], 0
    for (_, old), (at, new) in combinations(fitted, 2):
        later = rows.filter((pl.col(time) >= at) & (pl.col(time) < at + LATER))
        gain = _auc(project.task, later, label, new) - _auc(project.task, later, label, old)
        truth = project.task.truth(new.holdout, label)
        days = new.holdout[time].dt.date().to_numpy()
        passed = passes(project.task, truth, new.judged(new.holdout), old.judged(new.holdout), days)
        known, after = project.task.truth(later, label), later[time].dt.date().to_numpy()
        between = gain_interval(project.task, known, new.answer(later), old.answer(later), after)
        surely = between is not None and between.high < 0
        gains.append(gain)
        sure += surely
        for name, each in passed.items():
            tally[name][0] += each
            tally[name][1] += each and gain < 0
            tally[name][2] += each and surely
            tally[name][3] += gain if each else 0.0
    worse = sum(gain < 0 for gain in gains)
    print(
        f"\nflights: {len(gains)} pairs, {worse} candidates worse over the next 30 days, "
        f"{sure} surely; mean gain {np.mean(gains):+.4f}"
    )
    for name, (promoted, wrong, much, sum_) in tally.items():
        print(
            f"{name:>16}: {promoted} promoted, wrong {interval(wrong, promoted)}, surely "
            f"{interval(much, promoted)}; of the worse {interval(wrong, worse)} passed; "
            f"mean gain of the promoted {sum_ / max(promoted, 1):+.4f}"
        )


def _auc(task: Task, rows: pl.DataFrame, label: str, model: Fitted) -> float:
    return task.evaluate(task.truth(rows, label), model.answer(rows))[task.metric]


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repetitions", type=int, default=100)
    parser.add_argument("--flights", type=Path)
    given = parser.parse_args()
    if given.repetitions:
        with_frozen_scores(given.repetitions)
    if given.flights:
        on_flights(given.flights)


if __name__ == "__main__":
    main()
