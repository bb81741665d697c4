"""Measures the prediction log: appending, compacting, and reading a window of one day.

``python -m benchmarks.prediction_log`` writes 10 million predictions of 30 features over 10 days (17 GB)
below a temporary folder, compacts them, reads one day, and takes all of it away again; ``--predictions``
for fewer. A third of the features are measurements with many digits, the rest have few distinct values,
as real ones do. Memory is that of a process which does nothing else, its imports included. Compaction is
done for a tenth of the predictions, too: its memory must not grow.
"""

import argparse
import random
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import orjson

from benchmarks import children
from tidemill.ids import new_id
from tidemill.prediction_log.prediction_log import (
    LabelRecord,
    PredictionLog,
    PredictionRecord,
    read_labelled,
    read_predictions,
)
from tidemill.prediction_log.storage.log_parts import Sizes
from tidemill.prediction_log.storage.log_places import Folder
from tidemill.prediction_log.upkeep.compaction import compact

MODEL, DAYS, FEATURES, BATCH = "m", 10, 30, 32
START = datetime(2013, 1, 1, tzinfo=UTC)
RATE = 3000
"""Requests a second at the mark."""


def record(chance: random.Random, at: datetime) -> PredictionRecord:
    """Return a prediction as the flights project logs them."""
    features = {
        f"view__feature_number_{n}": chance.gauss(10, 5) if n % 3 == 0 else round(chance.uniform(0, 50), 1)
        for n in range(FEATURES)
    }
    flight = {
        "carrier": chance.choice(("UA", "AA", "DL", "B6")),
        "origin": chance.choice(("EWR", "JFK", "LGA")),
        "dest": chance.choice(("IAH", "MIA", "ATL", "ORD", "LAX")),
        "tailnum": f"N{chance.randrange(3000)}",
        "scheduled_departure": at,
    }
    decision = {"risk": "low", "advice": "none needed"}
    return PredictionRecord(
        new_id("pred"), MODEL, "3", at, at, "replica_1", flight, features, chance.random(), decision,
        (), False, 1.25, flight, "champion", None, "key_1", None,
    )  # fmt: skip


def batches(count: int) -> Iterator[list[PredictionRecord]]:
    """Give predictions in the order of their moments; what varies in them is drawn from some thousand."""
    chance = random.Random(7)
    some = [record(chance, START) for _ in range(4096)]
    step = timedelta(days=DAYS) / count
    for begin in range(0, count, BATCH):
        at = START + step * begin
        yield [
            replace(chance.choice(some), prediction_id=new_id("pred"), at=at, served_at=at)
            for _ in range(min(BATCH, count - begin))
        ]


def append(root: str, seconds: int) -> None:
    """Time `PredictionLog.append` at 3,000 records a second, for batches of several sizes."""
    chance = random.Random(7)
    records = [record(chance, START) for _ in range(4096)]
    told: dict[str, float] = {}
    for size in (1, 8, 32):
        log, spent, due = PredictionLog(Path(root) / str(size), MODEL), list[float](), time.perf_counter()
        for number in range(seconds * RATE // size):
            batch = records[number * size % 4096 :][:size]
            while time.perf_counter() < due:
                time.sleep(max(0.0, due - time.perf_counter()))
            due += size / RATE
            began = time.perf_counter()
            log.append(batch)
            spent.append(time.perf_counter() - began)
        log.close()
        spent.sort()
        told[f"mean_{size}"] = statistics.fmean(spent) / size * 1e6
        told[f"p99_{size}"] = spent[len(spent) * 99 // 100] * 1e6
    began = time.perf_counter()
    for each in records:
        orjson.dumps(each)
    told["dumps"] = (time.perf_counter() - began) / len(records) * 1e6
    children.report(**told)


def write(root: str, count: int) -> None:
    """Write predictions, 32 at a time, and a label for each tenth."""
    log, spent, began = PredictionLog(Path(root), MODEL), 0.0, time.perf_counter()
    for batch in batches(count):
        started = time.perf_counter()
        log.append(batch)
        spent += time.perf_counter() - started
        log.append_labels([LabelRecord(each.prediction_id, 1, each.at, each.at) for each in batch[:3]])
    log.close()
    size = sum(path.stat().st_size for path in Path(root).rglob("predictions/*/*.ndjson"))
    children.report(seconds=time.perf_counter() - began, appending=spent, bytes=size)


def compaction(root: str, _count: int) -> None:
    """Compact everything."""
    base, began, worked = children.resident(), time.perf_counter(), time.process_time()
    done = compact(Path(root), MODEL, Folder(Path(root)), Sizes().all_of_it())
    children.report(
        seconds=time.perf_counter() - began,
        cpu=time.process_time() - worked,
        before=done.bytes_before,
        after=done.bytes_after,
        base=base,
    )


def window(root: str, columns: int) -> None:
    """Read one day: all columns, or one feature and the score."""
    began, end = time.perf_counter(), START + timedelta(days=6)
    some = None if columns else ["score", "feature.view__feature_number_3"]
    rows = read_predictions(Path(root), MODEL, START + timedelta(days=5), end, columns=some)
    children.report(seconds=time.perf_counter() - began, rows=rows.height, columns=rows.width)


def hour(root: str, _count: int) -> None:
    """Read one hour of it, all columns."""
    began, start = time.perf_counter(), START + timedelta(days=5, hours=7)
    rows = read_predictions(Path(root), MODEL, start, start + timedelta(hours=1))
    children.report(seconds=time.perf_counter() - began, rows=rows.height)


def labelled(root: str, _count: int) -> None:
    """Join one day with its labels: the features and scores that a monitor looks at."""
    began, end = time.perf_counter(), START + timedelta(days=6)
    wanted = ["score", "version", *(f"feature.view__feature_number_{n}" for n in range(FEATURES))]
    rows = read_labelled(Path(root), MODEL, START + timedelta(days=5), end, known_by=end, columns=wanted)
    children.report(seconds=time.perf_counter() - began, rows=rows.height)


STEPS = {each.__name__: each for each in (append, write, compaction, window, hour, labelled)}


def child(step: str, root: Path, number: int = 0) -> dict[str, float]:
    """Run a step in a process of its own."""
    outcome = children.run("benchmarks.prediction_log", [step, str(root), str(number)])
    if outcome.report is None:
        sys.exit(f"{step} {outcome.cut}")
    return outcome.report | {"peak": outcome.peak}


def show(what: str, report: dict[str, float], more: str = "") -> None:
    """Print one line of the table."""
    print(f"{what:<44}{report['seconds']:>9.2f} s{report['peak']:>8.2f} GB  {more}", flush=True)


def through(root: Path, count: int, window_too: bool) -> None:
    """Write, compact and read a log."""
    print(f"{count:,} predictions × {FEATURES} features, {DAYS} days")
    wrote = child("write", root, count)
    speed = f"{count / wrote['appending']:,.0f}/s, {wrote['bytes'] / wrote['appending'] / 1e6:,.0f} MB/s"
    show("append, 32 at a time, no pause", wrote | {"seconds": wrote["appending"]}, speed)
    if window_too:
        show(
            "one day, all columns, before compaction",
            read := child("window", root, 1),
            f"{read['rows']:,} rows",
        )
    done = child("compaction", root)
    size = f"{done['before'] / 1e9:.2f} → {done['after'] / 1e9:.2f} GB, {count / done['seconds']:,.0f}/s"
    show("compaction", done, f"{size}, {done['cpu']:.0f} s of CPU; {done['base']:.2f} GB is imports")
    if window_too:
        show("one day, all columns", read := child("window", root, 1), f"{read['rows']:,} rows")
        show("one day, score and one feature", read := child("window", root, 0), f"{read['rows']:,} rows")
        show("one day with its labels, 32 columns", read := child("labelled", root), f"{read['rows']:,} rows")
        show("one hour, all columns", read := child("hour", root), f"{read['rows']:,} rows")


def main() -> None:
    """Run all steps and print them."""
    if len(sys.argv) == 4 and sys.argv[1] in STEPS:
        STEPS[sys.argv[1]](sys.argv[2], int(sys.argv[3]))
        return
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--predictions", type=int, default=10_000_000)
    parser.add_argument("--folder", type=Path, help="where to write (default: the temporary folder)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        told = child("append", Path(folder) / "append", 5)
        shutil.rmtree(Path(folder) / "append")
        print(f"at {RATE:,} records a second; orjson alone takes {told['dumps']:.1f} µs a record")
        for size in (1, 8, 32):
            mean, p99 = told[f"mean_{size}"], told[f"p99_{size}"]
            share = f"{mean * RATE / 1e6:.1%} of a core"
            print(
                f"  append, {size:>2} at a time: {mean:.1f} µs a record, {share}; p99 of a call {p99:.0f} µs"
            )
        through(Path(folder) / "tenth", options.predictions // 10, window_too=False)
        shutil.rmtree(Path(folder) / "tenth")
        through(Path(folder) / "whole", options.predictions, window_too=True)


if __name__ == "__main__":
    children.clean_up_after(main)
