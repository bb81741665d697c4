"""Counts wrong promotions: how often a candidate is promoted that is truly worse afterwards.

    python -m benchmarks.promotions [--repetitions 100]
    OMP_NUM_THREADS=1 python -m benchmarks.promotions --world weather [--world "the plane that turns"]
    OMP_NUM_THREADS=1 python -m benchmarks.promotions --flights FOLDER [--days 14]

Without a world with frozen scores: champion and candidate are noisy readings of the same chance, so
that the true difference of their AUC is known, and so is that days differ. For each true gain and size of the
hold-out the share of candidates that pass is printed, with ``gate.by: gain`` and with ``interval``.

In a world models are fitted at the beginning of each fortnight, each is a candidate against each earlier one,
on the newest days before it, and then, as `serve.rollout.proof` asks for, on the rows of some days after it.
The truth is how the two do over the 30 days that follow the promotion. That is uncertain itself: a promotion
is surely wrong where the whole 90 % interval of its gain (a paired bootstrap over days) lies below zero.
Printed for each rule of the gate, length of the proof and its rule: candidates, those that the gate let pass,
promotions, how many of these were worse, and surely worse, and how many of the candidates that were better
were not promoted. All lines are of the same candidates. Models learn from samples of 20,000 rows, twins are
judged, and what serves is fitted on the hold-out, too. FOLDER is a project with the training set of the year
(`benchmarks.decisions`). With ``--days`` only this length of a proof is played, on the same candidates.
"""

import argparse
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import combinations
from pathlib import Path

import numpy as np

from benchmarks.detection import interval
from benchmarks.promotion_worlds import EVERY, WORLDS, past_of, world
from tidemill.clock import utc
from tidemill.project import load_project
from tidemill.project.project_config import GateConfig
from tidemill.registry.gates.gate_rules import Evaluation, decide
from tidemill.retraining.backtest.fitted_models import Fitted
from tidemill.retraining.backtest.played_past import Past
from tidemill.tasks.binary import Binary
from tidemill.tasks.paired_bootstrap import gain_interval, lasting_gain
from tidemill.tasks.task import Answers, Task

DAYS, LATER = 14, timedelta(days=30)
FIRST = datetime(2013, 3, 16, tzinfo=UTC)
"""When the first model of flights is made."""
LEARNT = timedelta(days=150)
"""What the first model of another world knows."""
PROOFS = (0, 7, 14, 21, 30)
"""Days of proof; 0: none."""
SHORTEST = timedelta(days=14)
"""Candidates are left out whose truth is known for less, after the longest proof."""
RULES = {name: GateConfig(by=name, min_rows=1) for name in ("gain", "interval")}
LASTING = "lasting"
"""A rule of the proof alone."""


def passes(
    task: Task, truth: np.ndarray, mine: Answers, theirs: Answers, days: np.ndarray
) -> dict[str, bool]:
    """Return whether a candidate passes, by each rule of the gate and of the proof."""
    sides = [
        Evaluation(name, task.evaluate(truth, answers), len(truth))
        for name, answers in (("candidate", mine), ("champion", theirs))
    ]
    between = gain_interval(task, truth, mine, theirs, days)
    rules = {name: config.model_copy(update={"metric": task.metric}) for name, config in RULES.items()}
    passed = {name: decide(config, *sides, interval=between).passed for name, config in rules.items()}
    bound = lasting_gain(task, truth, mine, theirs, days) if passed["gain"] else None
    return passed | {LASTING: bound is not None and bound > 0}


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
    print(f"{'true gain':>10} {'rows':>6}  " + "  ".join(f"{name:>24}" for name in (*RULES, LASTING)))
    for wide in (1.5, 1.2, 1.1, 1.05, 1.0, 0.95, 0.9, 0.8, 0.5):
        big = frozen(random, 400_000, (1.0, wide))
        gain = task.evaluate(big[0], big[2])["roc_auc"] - task.evaluate(big[0], big[1])["roc_auc"]
        for rows in (1000, 4000):
            hits = dict.fromkeys((*RULES, LASTING), 0)
            for _ in range(repetitions):
                truth, theirs, mine, days = frozen(random, rows, (1.0, wide))
                for name, passed in passes(task, truth, mine, theirs, days).items():
                    hits[name] += passed
            cells = "  ".join(f"{interval(each, repetitions):>24}" for each in hits.values())
            print(f"{gain if wide != 1 else 0:+10.4f} {rows:>6,}  {cells}", flush=True)


@dataclass(frozen=True)
class Pair:
    """A candidate against an earlier model."""

    at: datetime
    gate: Mapping[str, bool]
    """Whether it passes, by rule."""
    proofs: Mapping[int, Mapping[str, bool]]
    """Whether it passes on the days after, by their number and rule."""
    gains: Mapping[int, float]
    """Over the 30 days that follow so many days."""
    surely_worse: Mapping[int, bool]


def in_a_world(name: str, past: Past, first: datetime, proofs: Sequence[int]) -> None:
    """Print how many promotions of one real model for another turned out wrong."""
    end = utc(past.rows[past.project.config.dataset.time_column][-1])
    longest = timedelta(days=max(PROOFS)) + SHORTEST
    fitted, at = list[tuple[datetime, Fitted]](), first
    while at + longest <= end:
        fitted.append((at, model := past.models.at(at)))
        past.answers(model)  # to all rows, once: each pair asks for some of them
        print(f"{name}: model of {at:%Y-%m-%d}", file=sys.stderr, flush=True)
        at += EVERY
    pairs = [compared(past, old, new, at, proofs) for (_, old), (at, new) in combinations(fitted, 2)]
    print_pairs(name, pairs, proofs)


def compared(past: Past, old: Fitted, new: Fitted, at: datetime, lengths: Sequence[int]) -> Pair:
    """Compare a candidate with an earlier model: by the gate, on the days after, and over what followed."""
    task, dataset = past.project.task, past.project.config.dataset
    held = new.holdout
    by_gate = passes(
        task,
        task.truth(held, dataset.label),
        new.judged(held),
        old.judged(held),
        held[dataset.time_column].dt.date().to_numpy(),
    )
    proofs, gains, surely = {}, {}, {}
    for days in lengths:
        decided = at + timedelta(days=days)
        places = past.places(at, decided)
        if dataset.label_known is not None:
            places = places[(past.rows[places][dataset.label_known] <= decided).to_numpy()]
        rows = past.rows[places]
        proofs[days] = (
            passes(
                task,
                task.truth(rows, dataset.label),
                past.answers(new)[places],
                past.answers(old)[places],
                rows[dataset.time_column].dt.date().to_numpy(),
            )
            if days
            else dict.fromkeys((*RULES, LASTING), True)
        )
        later = past.places(decided, decided + LATER)
        gains[days] = past.metric([(new, later)]) - past.metric([(old, later)])
        between = past.gained(new, old, later)
        surely[days] = bool(gains[days] < 0) and between is not None and between.high < 0
    return Pair(at, by_gate, proofs, gains, surely)


def print_pairs(name: str, pairs: Sequence[Pair], proofs: Sequence[int]) -> None:
    """Print what each rule would come to; all candidates and a coin that promotes each second one first."""
    gains = np.array([pair.gains[0] for pair in pairs])
    worse, surely = int((gains < 0).sum()), sum(pair.surely_worse[0] for pair in pairs)
    told = f"{worse} of them worse, {surely} surely; mean gain {gains.mean():+.4f}"
    print(f"\n{name}: {len(pairs)} candidates, {told}")
    print(f"a coin promotes {len(pairs) / 2:.0f}, {worse / 2:.1f} of them worse, {surely / 2:.1f} surely")
    print(f"{'gate by':>9} {'proof':>15} {'passed'} {'worse':>22} {'surely':>22} good ones lost  gain")
    for gate in RULES:
        passed = [pair for pair in pairs if pair.gate[gate]]
        for days, rule in _rules(proofs):
            some = [pair for pair in passed if pair.proofs[days][rule]]
            wrong, sure = sum(p.gains[days] < 0 for p in some), sum(p.surely_worse[days] for p in some)
            good = sum(p.gains[days] > 0 for p in pairs)
            lost = good - sum(p.gains[days] > 0 for p in some)
            said = f"{days} d by {rule}" if days else "none"
            gain = np.mean([p.gains[days] for p in some]) if some else np.nan
            print(
                f"{gate:>9} {said:>15} {len(passed):>6} {interval(wrong, len(some)):>22} "
                f"{interval(sure, len(some)):>22} {f'{lost} of {good}':>14}  {gain:+.4f}",
                flush=True,
            )


def _rules(proofs: Sequence[int]) -> Iterator[tuple[int, str]]:
    yield 0, "gain"
    for days in proofs[1:]:
        for rule in (*RULES, LASTING):
            yield days, rule


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repetitions", type=int, default=100)
    parser.add_argument("--world", action="append", choices=list(WORLDS), default=[])
    parser.add_argument("--flights", type=Path)
    parser.add_argument("--days", type=int, choices=PROOFS[1:])
    given = parser.parse_args()
    proofs = (0, given.days) if given.days else PROOFS
    if given.flights:
        in_a_world("flights", past_of(load_project(given.flights), FIRST), FIRST, proofs)
    with tempfile.TemporaryDirectory() as scratch:
        for name in given.world:
            project = world(name, Path(scratch))
            past = past_of(project, FIRST)
            first = utc(past.rows[project.config.dataset.time_column][0]) + LEARNT
            in_a_world(name, past, first, proofs)
    if not given.flights and not given.world:
        with_frozen_scores(given.repetitions)


if __name__ == "__main__":
    main()
