"""The sketches beside parts: they say what the rows do, and they go with them."""

from datetime import timedelta
from pathlib import Path

import polars as pl
import pytest

from tests.tidemill.prediction_log.log_records import NOON, record
from tidemill.prediction_log.prediction_log import PredictionLog, read_predictions
from tidemill.prediction_log.reading.window_sketch import WindowSketch, read_window_sketch
from tidemill.prediction_log.search.blanking import blank_records
from tidemill.prediction_log.search.record_filter import RecordFilter
from tidemill.prediction_log.storage.log_parts import Sizes
from tidemill.prediction_log.storage.log_places import Folder
from tidemill.prediction_log.storage.part_sketches import sketch_of
from tidemill.prediction_log.upkeep.compaction import compact
from tidemill.prediction_log.upkeep.retention import prune

DAY = timedelta(days=1)
SPANS = {"whole": (NOON - DAY, NOON + 3 * DAY), "cut": (NOON - DAY, NOON + 2 * DAY + timedelta(seconds=5))}

FIRST = RecordFilter(
    lambda record: record.get("instance", {}).get("rider") == "old0",
    frozenset({"rider"}),
    ("old0",),
    literal=True,
)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Three dates of which parts were made, and some lines since."""
    write(tmp_path, 60, "old")
    compacted(tmp_path)
    write(tmp_path, 6, "new")
    return tmp_path


def write(root: Path, count: int, name: str) -> None:
    log = PredictionLog(root, "m")
    for number in range(count):
        features = {"wind": float(number), "city": f"c{number % 3}", "gust": None, "e": [1.0, float(number)]}
        log.append(
            [
                record(
                    f"{name}{number:03}",
                    NOON + (number % 3) * DAY + timedelta(seconds=number),
                    version=str(1 + number % 2),
                    features=features,
                    instance={"rider": f"{name}{number}"},
                    test=number % 10 == 9,
                    role="shadow" if number % 10 == 8 else "champion",
                )
            ]
        )
    log.close()


def compacted(root: Path) -> None:
    compact(root, "m", Folder(root), Sizes(sketched=1).all_of_it())


def files(root: Path, suffix: str) -> set[str]:
    return {path.stem for path in root.rglob(f"part-*.{suffix}")}


def values(sketch: WindowSketch | None, name: str, of: str) -> dict[object, int]:
    assert sketch is not None
    found = sketch.column(name, "1", others=False)
    assert found is not None
    return dict(found.values.group_by(of).agg(pl.col("count").sum()).iter_rows())


def counted(rows: pl.DataFrame, name: str) -> dict[object, int]:
    own = rows.filter(pl.col("version") == "1")[name].drop_nulls()
    return dict(own.alias("value").value_counts(name="count").iter_rows())


@pytest.mark.parametrize("span", SPANS)
def test_a_window_of_parts_edges_and_lines_has_the_counts_of_its_rows(root: Path, span: str):
    where = root, "m", *SPANS[span]
    rows, sketch = read_predictions(*where), read_window_sketch(*where)
    assert sketch is not None
    assert sketch.rows_by_version == dict(rows.group_by("version").len().iter_rows())
    assert sketch.rows == rows.height > 30
    for name, of in (("feature.wind", "mean"), ("feature.city", "text"), ("score", "low")):
        assert values(sketch, name, of) == counted(rows, name)
    assert values(sketch, "feature.gust", "mean") == {}
    assert set(values(sketch, "feature.e", "mean")) == {None}, "lists are counted, and no more"
    assert sketch.column("feature.none", "1") is None


def test_many_numbers_are_blocks_in_order():
    numbers = [float(number) for number in range(-5000, 5000)] + [0.0] * 100
    rows = pl.DataFrame({"version": "1", "test": False, "feature.a": numbers})
    found = sketch_of(rows.sample(fraction=1, shuffle=True, seed=1)).filter(pl.col("low").is_not_null())
    assert found.height <= 259
    assert found["count"].sum() == len(numbers)
    assert found.filter(pl.col("low") == 0).select("low", "high", "mean", "count").rows()[0][1] >= 0
    assert found.filter((pl.col("low") < 0) & (pl.col("high") >= 0)).is_empty()
    assert (found["high"][:-1] <= found["low"][1:]).all()
    assert found["low"][0] == -5000.0
    assert found["high"][-1] == 4999.0
    assert found["count"][0] < 10 < found["count"].max()


def test_a_log_that_is_mostly_lines_has_no_sketch(tmp_path: Path):
    write(tmp_path, 20, "new")
    assert read_window_sketch(tmp_path, "m", *SPANS["whole"]) is None


def test_a_broken_sketch_is_passed_over_and_a_missing_one_made_anew(root: Path):
    where = root, "m", *SPANS["whole"]
    whole = read_window_sketch(*where)
    [first, second, _] = sorted(root.rglob("*.sketch1"))
    first.unlink()
    second.write_bytes(second.read_bytes()[:50])
    second.with_suffix(".sketch0").touch()
    again = read_window_sketch(*where)
    assert again is None, "most rows would be read"
    second.unlink()
    compacted(root)
    assert files(root, "sketch1") == files(root, "parquet")
    assert not files(root, "sketch0")
    assert values(read_window_sketch(*where), "feature.wind", "mean") == values(whole, "feature.wind", "mean")


def test_sketches_go_with_their_rows(root: Path):
    compacted(root)
    assert files(root, "sketch1") == files(root, "parquet") != set()
    before = read_window_sketch(root, "m", *SPANS["whole"])
    blank_records(root, FIRST)
    after = read_window_sketch(root, "m", *SPANS["whole"])
    gone = values(before, "feature.wind", "mean").items() - values(after, "feature.wind", "mean").items()
    assert gone == {(0.0, 2)}
    assert len(files(root, "parquet") - files(root, "sketch1")) == 1, "it was written again, with few rows"
    assert files(root, "sketch1") < files(root, "parquet")
    prune(root, "m", (NOON + 2 * DAY).date())
    assert files(root, "sketch1") == files(root, "parquet")
    assert len(files(root, "parquet")) == 1
