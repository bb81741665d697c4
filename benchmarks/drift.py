"""Measures a drift verdict on all rows: time, peak memory, and that both grow with the rows and no faster.

Beside it, in turn and each in a process of its own: one histogram a column in numpy, between the deciles of
the reference, and Evidently's ``DataDriftPreset``, whose verdict comes with its report.

    python -m benchmarks.drift [--times 3] [--no-evidently]

The window has 300,000 rows of 50 numbers (a quarter of them with far tails, a quarter whole numbers), then
75,000, 150,000 and 300,000, and 1,120 × 29, which is a fortnight of the flights' demo. The reference has
10,000 rows, as versions have. ``10 as text`` has a fifth of the columns as text with 5 to 5,000 categories.
Times are of the verdict alone, from frames in memory; memory is above that of the imports and the frames.
``log, sketches`` and ``log, rows`` read the window from the prediction log first, where it is 14 parts of a
date each: the sketches of the parts and the rows of the columns that these do not clear, or all rows.
"""

import argparse
import statistics
import tempfile
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TypeVar

import numpy as np
import polars as pl
import psutil

from benchmarks.children import Outcome, clean_up_after, report, run

REFERENCE = 10_000
START = datetime(2026, 3, 1, tzinfo=UTC)
DAYS = 14
Of = TypeVar("Of", pl.DataFrame, Path)


def frame(rows: int, columns: int, texts: int, seed: int, moved: float = 0.0) -> pl.DataFrame:
    """Return made-up rows."""
    random = np.random.default_rng(seed)
    made: dict[str, object] = {}
    for number in range(columns):
        values = random.normal(moved, 1, rows)
        if number < texts:
            many = (5, 20, 300, 5000)[number % 4]
            made[f"c{number}"] = pl.Series(np.minimum(random.zipf(1.3, rows), many)).cast(pl.String)
        else:
            made[f"c{number}"] = (values, np.exp(2 * values), values, np.round(4 * values))[number % 4]
    return pl.DataFrame(made)


def by_us(before: pl.DataFrame, now: pl.DataFrame) -> None:
    """Judge the window with the defaults of a monitor."""
    from tidemill.monitoring.drift.drift_columns import Comparison, compare
    from tidemill.monitoring.kind_sections import DataDriftConfig
    from tidemill.monitoring.kinds.data_drift import findings_of

    config, served_by = DataDriftConfig(), pl.Series(["1"]).new_from_index(0, now.height)
    columns = compare(before, now, config, served_by, "1")
    findings_of(Comparison(columns, None, before.height, now.height), config)


def log_of(now: pl.DataFrame, root: Path, sketched: int) -> None:
    """Write the rows as a compacted log of 14 days, with sketches of parts of so many rows."""
    from tidemill.prediction_log.storage.log_parts import Sizes, write_part
    from tidemill.prediction_log.storage.log_places import Folder, owner_of
    from tidemill.prediction_log.storage.log_schema import TYPED, stacked
    from tidemill.prediction_log.storage.manifests import Manifest, manifest_name

    rows = now.rename(lambda name: f"feature.{name}").with_columns(
        prediction_id=pl.int_range(now.height).cast(pl.String),
        version=pl.lit("1"),
        at=START + timedelta(days=DAYS) / now.height * pl.int_range(now.height),
        instance=pl.lit("{}"),
        test=False,
        role=pl.lit("champion"),
    )
    rows = stacked([pl.DataFrame(schema=TYPED["predictions"]), rows])
    for (day,), part in rows.group_by(pl.col("at").dt.date()):
        name = manifest_name("m", "predictions", day, owner_of(root))
        made = write_part(
            part,
            "predictions",
            Folder(root),
            name.rpartition("/")[0],
            root,
            owner_of(root),
            Sizes(sketched=sketched),
        )
        Folder(root).write(name, Manifest((made,)).encoded())


def by_log_rows(before: pl.DataFrame, root: Path) -> None:
    """Read all rows of the log and judge them."""
    from tidemill.prediction_log.prediction_log import features_of, read_predictions

    rows = read_predictions(root, "m", START, START + timedelta(days=DAYS))
    by_us(before, features_of(rows))


def by_log_sketches(before: pl.DataFrame, root: Path) -> None:
    """Read the sketches of the log, and the rows of columns that these do not clear."""
    from tidemill.monitoring.drift.drift_columns import Comparison, compare
    from tidemill.monitoring.drift.quiet_columns import quiet_columns
    from tidemill.monitoring.kind_sections import DataDriftConfig
    from tidemill.monitoring.kinds.data_drift import findings_of
    from tidemill.prediction_log.prediction_log import features_of, read_predictions
    from tidemill.prediction_log.reading.window_sketch import read_window_sketch

    config, log = DataDriftConfig(), (root, "m", START, START + timedelta(days=DAYS))
    sketch = read_window_sketch(*log)
    if sketch is None:  # parts of few rows have none
        by_log_rows(before, root)
        return
    quiet = quiet_columns(before, sketch, "1", config)
    loud = [f"feature.{name}" for name in before.columns if name not in quiet]
    rows = read_predictions(*log, columns=["version", *loud]) if loud else pl.DataFrame({"version": ["1"]})
    columns = compare(before, features_of(rows), config, rows["version"], "1", quiet=quiet)
    findings_of(Comparison(columns, None, before.height, sketch.rows), config)


def by_numpy(before: pl.DataFrame, now: pl.DataFrame) -> None:
    """Make one histogram a column, between the deciles of the reference."""
    for name in now.columns:
        edges = np.unique(np.quantile(before[name].to_numpy(), np.linspace(0, 1, 11)))
        np.histogram(now[name].to_numpy(), bins=[-np.inf, *edges, np.inf])


def by_evidently(before: pl.DataFrame, now: pl.DataFrame) -> None:
    """Run the preset, from data frames of pandas that are there already."""
    from evidently import Report
    from evidently.presets import DataDriftPreset

    Report([DataDriftPreset()]).run(now.to_pandas(), before.to_pandas())


CONTENDERS: dict[str, Callable[[pl.DataFrame, pl.DataFrame], None]] = {
    "Tidemill": by_us,
    "numpy": by_numpy,
    "Evidently": by_evidently,
}
OF_LOG: dict[str, Callable[[pl.DataFrame, Path], None]] = {
    "log, sketches": by_log_sketches,
    "log, rows": by_log_rows,
}


def work(name: str, rows: int, columns: int, texts: int, seed: int) -> None:
    """Time one contender in this process, after a first call on few rows has done the imports."""
    before, now = frame(REFERENCE, columns, texts, seed), frame(rows, columns, texts, seed + 1)
    with tempfile.TemporaryDirectory() as folder:
        if name not in OF_LOG:
            measure(CONTENDERS[name], (before.head(500), now.head(500)), (before, now))
            return
        log_of(now.head(500), Path(folder) / "few", sketched=1)
        log_of(now, Path(folder) / "all", sketched=5_000)
        measure(OF_LOG[name], (before.head(500), Path(folder) / "few"), (before, Path(folder) / "all"))


def measure(
    call: Callable[[pl.DataFrame, Of], None], few: tuple[pl.DataFrame, Of], all_: tuple[pl.DataFrame, Of]
) -> None:
    """Time a call, after one on few rows."""
    call(*few)
    base, peak, done = psutil.Process().memory_info().rss, [0], threading.Event()

    def watch() -> None:
        while not done.wait(0.01):
            peak[0] = max(peak[0], psutil.Process().memory_info().rss)

    watcher = threading.Thread(target=watch)
    watcher.start()
    began, cpu = time.perf_counter(), time.process_time()
    call(*all_)
    spent, cpu = time.perf_counter() - began, time.process_time() - cpu
    done.set()
    watcher.join()
    report(seconds=spent, cpu=cpu, more=max(0, peak[0] - base) / 1e9)


def main() -> None:
    """Print the table; with arguments of a child, be one."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--times", type=int, default=3)
    parser.add_argument("--no-evidently", action="store_true")
    parser.add_argument("--child", nargs=5, metavar=("NAME", "ROWS", "COLUMNS", "TEXTS", "SEED"))
    given = parser.parse_args()
    if given.child:
        name, *numbers = given.child
        work(name, *map(int, numbers))
        return
    print(
        f"{'rows':>8} {'columns':>18} {'':>14} {'seconds':>9} {'CPU':>9} {'GB':>6}  of numpy's seconds, CPU"
    )
    plan = [(300_000, 50, 0), (1_120, 29, 0), (75_000, 50, 0), (150_000, 50, 0), (300_000, 50, 10)]
    for rows, columns, texts in plan:
        names = [name for name in [*CONTENDERS, *OF_LOG] if not (texts and name == "numpy")]
        if given.no_evidently or rows not in (300_000, 1_120) or texts:
            names.remove("Evidently")
        found: dict[str, list[Outcome]] = {name: [] for name in names}
        for time_ in range(given.times):
            for name in names:
                if name == "Evidently" and time_ and rows == 300_000:
                    continue  # a minute each
                sizes = [str(one) for one in (rows, columns, texts, time_)]
                found[name].append(run("benchmarks.drift", ["--child", name, *sizes]))
        for name, outcomes in found.items():
            show(
                rows,
                f"{columns}, {texts} as text" if texts else str(columns),
                name,
                outcomes,
                found.get("numpy"),
            )


def show(rows: int, columns: str, name: str, outcomes: list[Outcome], floor: list[Outcome] | None) -> None:
    """Print one line: medians, and the median of the ratios within a round."""
    told = [one.report for one in outcomes if one.report]
    if not told:
        print(f"{rows:>8,} {columns:>18} {name:>14} {outcomes[0].cut}")
        return
    middle = {key: statistics.median(one[key] for one in told) for key in ("seconds", "cpu", "more")}
    ratios = ""
    if floor and name != "numpy":
        pairs = [(mine, base.report) for mine, base in zip(told, floor, strict=False) if base.report]
        each = {key: [mine[key] / base[key] for mine, base in pairs] for key in ("seconds", "cpu")}
        ratios = ", ".join(
            f"{statistics.median(some):.1f} ({min(some):.1f} to {max(some):.1f})" for some in each.values()
        )
    print(
        f"{rows:>8,} {columns:>18} {name:>14} {middle['seconds']:9.2f} {middle['cpu']:9.2f} "
        f"{middle['more']:6.2f}  {ratios}",
        flush=True,
    )


if __name__ == "__main__":
    clean_up_after(main)
