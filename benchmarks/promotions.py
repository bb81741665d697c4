"""Counts wrong promotions: how often the gate lets a candidate pass that is truly worse afterwards.

    python -m benchmarks.promotions [--repetitions 100]
    OMP_NUM_THREADS=1 python -m benchmarks.promotions --flights FOLDER [--models 19]

Without ``--flights`` with frozen scores: champion and candidate are noisy readings of the same chance, so
that the true difference of their AUC is known, and so is that days differ. For each true gain and size of the
hold-out the share of candidates that pass is printed, with ``gate.by: gain`` and with ``interval``.

With ``--flights``, a project with the training set of the whole year: models are fitted at the beginning of
each fortnight, each is a candidate against each earlier one on the fortnight before it, and the truth is how
the two do over the next 30 days. That is uncertain itself: a promotion is surely wrong where the whole 90 %
interval of what came of it (a paired bootstrap over days) lies below zero. Both counts are printed, beside
those of all candidates, and of a coin that promotes each second one. Models learn from samples of 20,000
rows. With ``train.refit`` in params.yaml twins are judged, and what serves is fitted on the hold-out, too.
"""

import argparse
import sys
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from itertools import combinations
from pathlib import Path
from typing import NamedTuple

import numpy as np

from benchmarks.detection import interval
from tidemill.features.project_features import feature_names
from tidemill.project import load_project
from tidemill.project.project_config import GateConfig
from tidemill.registry.gates.gate_rules import Evaluation, decide
from tidemill.retraining.backtest.backtest import FAST_ROWS
from tidemill.retraining.backtest.fitted_models import Fitted, FittedModels, Recipe
from tidemill.retraining.backtest.played_past import Past
from tidemill.tasks.binary import Binary
from tidemill.tasks.paired_bootstrap import gain_interval
from tidemill.tasks.task import Answers, Task
from tidemill.training.families.ready_families import ready_spec
from tidemill.training.training_rows import read_labelled

DAYS, LATER = 14, timedelta(days=30)
FIRST = datetime(2013, 3, 16, tzinfo=UTC)
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


def on_flights(folder: Path, count: int) -> None:
    """Print how many promotions of one real model for another turned out wrong."""
    project = load_project(folder)
    features = tuple(feature_names(project))
    rows = read_labelled(project, features, datetime.max.replace(tzinfo=UTC)).rows
    family = ready_spec(("hist_gradient_boosting",), project.task.kind).families[0]
    params = {"learning_rate": 0.08, "max_leaf_nodes": 31, "min_samples_leaf": 100, "max_features": 0.5}
    models = FittedModels(
        project, rows, features, Recipe(family, params, family.rounds), FAST_ROWS, 100, lambda *_: None
    )
    past = Past(project, rows, features, models, FIRST, datetime.max.replace(tzinfo=UTC))
    fitted = []
    for number in range(count):
        fitted.append((at := FIRST + timedelta(days=DAYS * number), model := models.at(at)))
        past.answers(model)  # to all rows, once: each pair asks for some of them
        print(f"model {number + 1} of {count}: {at:%Y-%m-%d}", file=sys.stderr, flush=True)
    pairs = []
    for (_, old), (at, new) in combinations(fitted, 2):
        pairs.append(compared(past, old, new, at))
        if len(pairs) % 10 == 0:
            print(f"pair {len(pairs)} of {count * (count - 1) // 2}", file=sys.stderr, flush=True)
    print_pairs(pairs)


class Pair(NamedTuple):
    """A candidate against an earlier model."""

    gain: float
    """Over the 30 days that followed."""
    surely_worse: bool
    passed: dict[str, bool]
    """By each rule."""


def compared(past: Past, old: Fitted, new: Fitted, at: datetime) -> Pair:
    """Compare a candidate with an earlier model: by the gate, and over the 30 days that followed."""
    project, later = past.project, past.places(at, at + LATER)
    held, time = new.holdout, project.config.dataset.time_column
    truth = project.task.truth(held, project.config.dataset.label)
    days = held[time].dt.date().to_numpy()
    return Pair(
        past.metric([(new, later)]) - past.metric([(old, later)]),
        past.surely_worse(new, old, later),
        passes(project.task, truth, new.judged(held), old.judged(held), days),
    )


def print_pairs(pairs: Sequence[Pair]) -> None:
    """Print what promoting all candidates, those that a rule lets pass, or half by lot would come to."""
    gains = [pair.gain for pair in pairs]
    print(f"\nflights: {len(pairs)} pairs, mean gain over the next 30 days {np.mean(gains):+.4f}")
    print(f"{'':>16}  {'promoted':>8}  {'worse':>24}  {'surely worse':>24}  mean gain")
    for name in ("all of them", *RULES):
        some = [pair for pair in pairs if pair.passed.get(name, True)]
        wrong, surely = sum(pair.gain < 0 for pair in some), sum(pair.surely_worse for pair in some)
        gain = np.mean([pair.gain for pair in some]) if some else float("nan")
        cells = f"{interval(wrong, len(some)):>24}  {interval(surely, len(some)):>24}"
        print(f"{name:>16}  {len(some):>8}  {cells}  {gain:+.4f}")
    print(
        f"{'a coin':>16}  {len(pairs) / 2:>8.0f}  {sum(gain < 0 for gain in gains) / 2:>24.1f}  "
        f"{sum(pair.surely_worse for pair in pairs) / 2:>24.1f}  {np.mean(gains):+.4f}"
    )


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repetitions", type=int, default=100)
    parser.add_argument("--flights", type=Path)
    parser.add_argument("--models", type=int, default=19, help="with --flights (default: 19, for 171 pairs)")
    given = parser.parse_args()
    if given.flights:
        on_flights(given.flights, given.models)
    else:
        with_frozen_scores(given.repetitions)


if __name__ == "__main__":
    main()
