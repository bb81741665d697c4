"""Measures the cost of privacy: redaction in each prediction, removing erased subjects, blanking a log.

Run with ``.venv/bin/python -m benchmarks.privacy``.
"""

import argparse
import resource
import tempfile
import time
import timeit
from datetime import UTC, datetime
from pathlib import Path

import polars as pl

from benchmarks.children import clean_up_after
from tidemill.data.personal.pseudonyms import Pseudonymiser
from tidemill.data.personal.tombstones import Tombstone, add_tombstone, without_erased
from tidemill.prediction_log.prediction_log import LabelRecord, PredictionLog, PredictionRecord
from tidemill.prediction_log.writing.redaction import NO_REDACTION, Redaction
from tidemill.privacy.stores.log_subjects import blank_log, find_in_log
from tidemill.privacy.subject import Subject
from tidemill.project import load_project
from tidemill.settings import Settings

NOON = datetime(2013, 4, 1, 12, tzinfo=UTC)
KEY = "a key of at least 16 bytes"
PSEUDONYMS = Pseudonymiser(KEY.encode())
PARAMS = """\
project: {name: small, model: small, training: "a:b", application: "a:c"}
dataset: {path: data/set.parquet, label: late}
features: {service: small}
"""
FLIGHT = {"carrier": "UA", "origin": "EWR", "dest": "IAH", "tailnum": "N14228", "scheduled_departure": NOON}
FEATURES = {f"feature_{number}": 1.0 for number in range(27)}


def main() -> None:
    """Measure all of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--predictions", type=int, default=1_000_000)
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--subjects", type=int, default=100_000)
    asked = parser.parse_args()
    print(f"redaction in a prediction   {redaction(Redaction(frozenset({'tailnum'}), PSEUDONYMS)):8.2f} µs")
    print(f"  with nothing personal  {redaction(NO_REDACTION):8.2f} µs")
    tombstones(asked.rows, asked.subjects)
    log(asked.predictions, asked.subjects)
    print(f"peak memory              {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:8.2f} GB")


def redaction(rule: Redaction) -> float:
    """Microseconds a prediction: what `Predictor` does for it (request, keys, decision, features)."""

    def once() -> None:
        for values in (FLIGHT, FLIGHT, {"risk": "low", "advice": "none needed"}):
            rule.values(values)
        rule.features(FEATURES)

    return min(timeit.repeat(once, number=20_000, repeat=5)) / 20_000 * 1e6


def tombstones(rows: int, subjects: int) -> None:
    """Seconds to leave out one erased subject's rows."""
    frame = pl.select(tailnum=pl.concat_str(pl.lit("N"), pl.int_range(rows) % subjects))
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "params.yaml").write_text(PARAMS)
        project = load_project(Path(folder), Settings(privacy_key=KEY))
        add_tombstone(project, Tombstone(("tailnum",), (PSEUDONYMS.hide("N17"),), NOON, "asked for it"))
        started = time.perf_counter()
        found = rows - without_erased(frame, project).height
        seconds = time.perf_counter() - started
    print(f"tombstone over {rows:,} rows, {subjects:,} subjects: {seconds:.2f} s ({found} rows)")


def log(predictions: int, subjects: int) -> None:
    """Seconds to find and to blank one subject's predictions and labels."""
    subject = Subject({"tailnum": "N17"}, {"tailnum": PSEUDONYMS.hide("N17")}, {"tailnum": ("tailnum",)}, {})
    hidden = [{**FLIGHT, "tailnum": PSEUDONYMS.hide(f"N{number}")} for number in range(subjects)]
    with tempfile.TemporaryDirectory() as folder:
        writer = PredictionLog(Path(folder), "m")
        for start in range(0, predictions, 1000):
            numbers = range(start, min(start + 1000, predictions))
            writer.append(
                [
                    PredictionRecord(
                        f"pred_{n}", "m", "1", NOON, NOON, "r", keys, FEATURES, 0.5, {}, keys=keys
                    )
                    for n in numbers
                    if (keys := hidden[n % subjects])
                ]
            )
            writer.append_labels([LabelRecord(f"pred_{n}", 0, NOON, NOON) for n in numbers])
        writer.close()
        size = sum(path.stat().st_size for path in Path(folder).rglob("*.ndjson")) / 2**20
        started = time.perf_counter()
        found = find_in_log(Path(folder), subject)
        middle = time.perf_counter()
        blanked = blank_log(Path(folder), subject)
        ended = time.perf_counter()
    assert found == blanked
    print(
        f"log of {predictions:,} predictions and labels, {size:,.0f} MB: found {found.predictions} in "
        f"{middle - started:.2f} s, blanked in {ended - middle:.2f} s"
    )


if __name__ == "__main__":
    clean_up_after(main)
