"""Finds planted shifts, and counts false alarms, with monitors as ``tidemill init`` declares them.

Beside them on the same windows: Evidently's ``DataDriftPreset`` as it comes (drift of the data set, and of
any column), and with ``--nannyml`` NannyML's defaults in an environment of its own (drift of any column,
and an alarm of the performance, estimated or known).

    python -m benchmarks.detection [--quick] [--flights FOLDER] [--nannyml FOLDER]

Tables: the flights of 2013 with the monitors of their project, and with those that init measures; visits to
doctors (regression, 20,190 rows) and the happiness of marriages (five classes, 6,366 rows), which come with
statsmodels; and made-up rows with far tails, gaps and many categories. Of each, rows are shuffled: models
are fitted on a part, judged on another, and windows are drawn from the rest, which are stationary
therefore; then shifts are planted (see `benchmarks.detection_worlds`). Models, rows and shifts are the same
for all detectors.

Beside them, where labels change and where nothing does, detectors of a model's errors: `concept_drift` as it
comes, the sum of errors that it begins with, and ``PageHinkley`` and ``DDM`` of river as they come, on losses
or mistakes, and after the whole hold-out or as many of its rows as the window has.

Features that a monitor excludes are not broken: it does not look at them. "The feature" in the table means
that the broken one is named as a fault of the data, which holds turns.

Prints the share of the stationary windows that alarm, and for each shift in how many of the series it is
found in the first window, and within two; all with 95 % intervals (Clopper and Pearson).
"""

import argparse
import json
import math
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import polars as pl
from scipy.stats import beta

from benchmarks.children import clean_up_after
from benchmarks.detection_worlds import TABLES, Champion, Table, Window, fit, planted, table_of
from benchmarks.detectors import (
    ERROR_DETECTORS,
    Seconds,
    by_errors,
    by_evidently,
    by_nannyml,
    by_us,
    nannyml_python,
)

DETECTORS = (
    "Tidemill",
    "Tidemill, the feature",
    "Evidently",
    "Evidently, a column",
    "NannyML, a column",
    "NannyML, performance",
)
_FEATURES = ("null", "constant", "x 1000", "x 2.54", "degrees")
"""Shifts that are faults of a feature."""
_LABELS = ("stationary", "concept", "mild concept")
"""What detectors of errors are asked about."""
Found = list[dict[str, bool]]
"""What each window of a series came to, by detector."""


@dataclass(frozen=True)
class Effort:
    """How much is done."""

    shuffles: int
    stationary: int
    """Windows a shuffle."""
    features: int
    """Features that are broken one after the other, a shuffle and kind."""
    others: int
    """Series of each shift that Evidently sees, and so many times `_STATIONARY` stationary windows; it takes
    seconds a window."""


FEWEST = 40
"""Stationary windows of a table."""
_STATIONARY = 5
QUICK, FULL = Effort(5, 8, 2, 2), Effort(20, 8, 100, 1_000_000)


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--quick",
        action="store_true",
        help="fewer shuffles, features, and windows for Evidently: under ten minutes",
    )
    parser.add_argument("--flights", type=Path, help="a project of flights with the year's training set")
    parser.add_argument("--nannyml", type=Path, help="folder of an environment with NannyML, made if need be")
    parser.add_argument("--tables", nargs="*", choices=TABLES, help="only these")
    parser.add_argument("--no-evidently", action="store_true", help="it takes most of the time")
    parser.add_argument("--json", type=Path, help="write every window here, too")
    given = parser.parse_args()
    python = nannyml_python(given.nannyml.absolute()) if given.nannyml else None
    effort = QUICK if given.quick else FULL
    if given.no_evidently:
        effort = replace(effort, others=0)
    found, spent = defaultdict[tuple[str, str, str], list[Found]](list), Seconds(list)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        for name in given.tables or TABLES:
            table, began = table_of(name, folder, given.flights), time.perf_counter()
            seen = Counter[str]()
            for shuffle in range(max(effort.shuffles, math.ceil(FEWEST / most_windows(table, effort)))):
                for plant, feature, series in play(table, shuffle, effort, python, folder, spent, seen):
                    found[table.name, plant, feature].append(series)
            show(table, found)
            print(f"{table.name}: {time.perf_counter() - began:.0f} s", flush=True)
    show_sum(found, effort)
    print(
        "\nseconds a window (median): "
        + ", ".join(f"{name} {np.median(each):.2f}" for name, each in spent.items())
    )
    if given.json:
        rows = [{"series": list(key), "found": series} for key, series in found.items()]
        given.json.write_text(json.dumps(rows))


def play(
    table: Table,
    shuffle: int,
    effort: Effort,
    python: Path | None,
    folder: Path,
    spent: Seconds,
    seen: Counter[str],
) -> Iterator[tuple[str, str, Found]]:
    """Yield the name of each shift, its feature, and what its windows came to.

    ``seen`` counts for each shift how many series Evidently has seen.
    """
    random = np.random.default_rng(shuffle)
    rows = table.rows[random.permutation(table.rows.height)]
    fitted, holdout, pool = (rows[int(a * rows.height) : int(b * rows.height)] for a, b in SHARES)
    champion = fit(table, fitted, holdout)
    size, series = table.window, list[tuple[str, str, list[Window]]]()
    for number in range(most_windows(table, effort)):
        series.append(("stationary", "", [champion.window(pool[number * size : (number + 1) * size])]))
    if shuffle < effort.shuffles:
        series += _chosen(table, champion, pool, effort, random)
    reference = champion.window(holdout.head(10_000))
    results: list[Found] = []
    for plant, feature, windows in series:
        judged = [_by_tidemill(champion, table, window, plant, feature, spent) for window in windows]
        most = effort.others * (_STATIONARY if plant == "stationary" else 1)
        if seen[plant] < most:
            seen[plant] += 1
            judged = [
                one | by_evidently(champion, reference, window, spent)
                for one, window in zip(judged, windows, strict=True)
            ]
        results.append(judged)
    if python is not None:
        _add_nannyml(python, table, champion, holdout, series, results, folder, spent)
    for (plant, feature, _), judged in zip(series, results, strict=True):
        yield plant, feature, judged


def _by_tidemill(
    champion: Champion, table: Table, window: Window, plant: str, feature: str, spent: Seconds
) -> dict[str, bool]:
    found = by_us(champion, table, window, spent)
    if plant in _FEATURES:
        found["Tidemill, the feature"] = found.get(f"fault {feature}", False)
    return found | by_errors(champion, table, window, spent) if plant in _LABELS else found


def most_windows(table: Table, effort: Effort) -> int:
    """Return how many stationary windows a shuffle has."""
    return min(effort.stationary, int((SHARES[-1][1] - SHARES[-1][0]) * table.rows.height) // table.window)


SHARES = ((0.0, 0.45), (0.45, 0.7), (0.7, 1.0))


def _chosen(
    table: Table, champion: Champion, pool: pl.DataFrame, effort: Effort, random: np.random.Generator
) -> list[tuple[str, str, list[Window]]]:
    excluded = table.monitor.data_drift.exclude if table.monitor.data_drift else ()
    every = [one for one in planted(champion, pool, table.window, random) if one[1] not in excluded]
    kinds: dict[str, list[tuple[str, str, list[pl.DataFrame]]]] = defaultdict(list)
    for one in every:
        kinds[one[0]].append(one)
    chosen = []
    for each in kinds.values():
        places = random.permutation(len(each))[: effort.features]
        chosen += [each[place] for place in sorted(places)]
    return [
        (plant, feature, [champion.window(rows) for rows in windows]) for plant, feature, windows in chosen
    ]


def _add_nannyml(
    python: Path,
    table: Table,
    champion: Champion,
    holdout: pl.DataFrame,
    series: Sequence[tuple[str, str, list[Window]]],
    results: Sequence[Found],
    folder: Path,
    spent: Seconds,
) -> None:
    windows = [window for _, _, each in series for window in each]
    began = time.perf_counter()
    classes = list(getattr(table.project.task, "classes", ()))
    found = iter(by_nannyml(python, champion, champion.window(holdout), windows, folder, classes))
    spent["NannyML"] += [(time.perf_counter() - began) / len(windows)]
    for judged in results:
        for one in judged:
            told = next(found)
            one["NannyML, a column"] = told["drift"]
            one["NannyML, performance"] = told["estimated"] or told["known"]


def interval(hits: int, of: int) -> str:
    """Return a share and its 95 % interval by Clopper and Pearson.

    >>> interval(0, 40), interval(38, 40)
    ('0/40 (0-9 %)', '38/40 (83-99 %)')
    """
    if not of:
        return "-"
    low = beta.ppf(0.025, hits, of - hits + 1) if hits else 0.0
    high = beta.ppf(0.975, hits + 1, of - hits) if hits < of else 1.0
    return f"{hits}/{of} ({100 * low:.0f}-{100 * high:.0f} %)"


def show(table: Table, found: dict[tuple[str, str, str], list[Found]]) -> None:
    """Print a line for each shift of a table."""
    print(
        f"\n{table.name}: {table.project.task.kind}, {len(table.features)} features, "
        f"windows of {table.window} rows"
    )
    _show({key: series for key, series in found.items() if key[0] == table.name})
    missed = defaultdict[str, list[str]](list)
    for (name, plant, feature), series in found.items():
        late = sum(not any(one["Tidemill"] for one in each) for each in series)
        if name == table.name and plant != "stationary" and late:
            missed[plant].append(f"{feature} {late}/{len(series)}")
    for plant, features in missed.items():
        print(f"  not found by Tidemill within two windows: {plant}: {', '.join(features)}")


def show_sum(found: dict[tuple[str, str, str], list[Found]], effort: Effort) -> None:
    """Print a line for each shift over all tables, and how much was done."""
    print("\nall tables")
    _show(found)
    if effort.shuffles < FULL.shuffles:
        print(
            f"few repetitions: {effort.shuffles} shuffles of a table ({FULL.shuffles} without --quick), "
            f"{effort.features} features a kind of shift (all), {effort.others} series of each shift by "
            "Evidently (all)"
        )


def _show(found: dict[tuple[str, str, str], list[Found]]) -> None:
    by_plant = defaultdict[str, list[Found]](list)
    for (_, plant, _), series in found.items():
        by_plant[plant] += series
    for detectors, plants in ((DETECTORS, tuple(by_plant)), (ERROR_DETECTORS, _LABELS)):
        print(f"{'':>12}  " + "  ".join(f"{name:>38}" for name in detectors))
        for plant in plants:
            cells = [_cell(plant, by_plant[plant], name) for name in detectors]
            print(f"{plant:>12}  " + "  ".join(f"{cell:>38}" for cell in cells))


def _cell(plant: str, series: list[Found], name: str) -> str:
    known = [each for each in series if name in each[0]]
    first = sum(each[0][name] for each in known)
    cell = interval(first, len(known))
    if plant == "stationary" or not known:
        return cell
    return f"{cell}, {interval(sum(any(one[name] for one in each) for each in known), len(known))}"


if __name__ == "__main__":
    clean_up_after(main)
