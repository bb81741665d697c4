"""Compaction: the log reads the same before, after, and at any moment in between."""

import os
import random
import signal
import subprocess
import sys
import threading
import time
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import boto3
import fsspec
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from tests.tidemill.prediction_log.log_records import ALWAYS, NOON, label, record
from tidemill.errors import ConfigError, ServingError
from tidemill.files.atomic import replace_file
from tidemill.prediction_log.prediction_log import (
    PredictionLog,
    count_log,
    logged_days,
    read_labelled,
    read_predictions,
)
from tidemill.prediction_log.reading.window_sketch import read_window_sketch
from tidemill.prediction_log.storage import manifests
from tidemill.prediction_log.storage.log_parts import Sizes
from tidemill.prediction_log.storage.log_places import Folder, current_place, owner_of
from tidemill.prediction_log.storage.manifests import Manifest, manifest_name, partitions, read_manifest
from tidemill.prediction_log.storage.part_sketches import sketch_name
from tidemill.prediction_log.storage.segments import SegmentLimits
from tidemill.prediction_log.upkeep.compaction import _Date, compact
from tidemill.prediction_log.upkeep.maintenance_lock import LogInUse, hold_maintenance_lock
from tidemill.prediction_log.upkeep.retention import kept_from, prune

pytestmark = pytest.mark.slow

SMALL = Sizes(rows=500, row_group=100, piece=4096, group=100_000, sketched=1).all_of_it()
DAY = date(2013, 4, 1)


def fill(root: Path, count: int = 600, days: int = 2) -> PredictionLog:
    """Write predictions of some days, every third labelled, in several segments."""
    log = PredictionLog(root, "m", rolling=SegmentLimits(bytes=20_000))
    for number in range(count):
        at = NOON + timedelta(days=number % days, seconds=number)
        features = {"wind": float(number), "rain": None} if number % 2 else {"wind": None, "sun": 1.5}
        log.append([record(f"{number:06}", at, features=features, flags=("x",) * (number % 2))])
        if number % 3 == 0:
            log.append_labels([label(f"{number:06}", number % 2, at)])
    log.close()
    return log


def everything(root: Path) -> tuple[pl.DataFrame, pl.DataFrame]:
    predictions = read_predictions(root, "m", *ALWAYS)
    labelled = read_labelled(root, "m", *ALWAYS, known_by=ALWAYS[1])
    names = sorted(predictions.columns)
    return predictions.select(names), labelled.select([*names, "label", "label_at"])


def assert_same(root: Path, before: tuple[pl.DataFrame, pl.DataFrame]) -> None:
    for old, new in zip(before, everything(root), strict=True):
        assert_frame_equal(old, new)


def test_a_compacted_log_reads_as_before_and_takes_less(tmp_path):
    fill(tmp_path)
    before, counts = everything(tmp_path), count_log(tmp_path, "m")
    done = compact(tmp_path, "m", Folder(tmp_path), SMALL)
    assert (done.rows, done.finished) == (800, True)
    assert done.bytes_after < done.bytes_before / 4
    assert not list(tmp_path.rglob("*.ndjson"))
    assert_same(tmp_path, before)
    assert count_log(tmp_path, "m") == counts
    assert logged_days(tmp_path, "m") == [DAY, DAY + timedelta(days=1)]
    assert compact(tmp_path, "m", Folder(tmp_path), SMALL).rows == 0


def test_the_path_of_a_log_is_no_pattern(tmp_path):
    root = tmp_path / "pro[j]ect*"
    fill(root)
    compact(root, "m", Folder(root), SMALL)
    assert read_predictions(root, "m", *ALWAYS).height == 600


def test_old_records_and_new_parts_are_read_together(tmp_path):
    PredictionLog(tmp_path, "m").append([record("old")])
    [segment] = tmp_path.rglob("*.ndjson")
    line = segment.read_bytes()
    for name in (b"keys", b"role", b"shadow_of", b"caller", b"request_id"):  # as of before there were any
        start = line.index(b',"' + name)
        stop = min(place for place in (line.find(b',"', start + 1), line.find(b"}\n", start)) if place > 0)
        line = line[:start] + line[stop:]
    segment.with_name("old.ndjson").write_bytes(line)
    segment.unlink()
    compact(tmp_path, "m", Folder(tmp_path), SMALL)
    PredictionLog(tmp_path, "m").append([record("new", keys={"a": 1}, role="canary")])
    rows = {row["prediction_id"]: row for row in read_predictions(tmp_path, "m", *ALWAYS).to_dicts()}
    assert (rows["old"]["keys"], rows["old"]["role"]) == (None, None)
    assert (rows["new"]["keys"], rows["new"]["role"]) == ('{"a": 1}', "canary")


def test_torn_lines_stay_counted(tmp_path):
    fill(tmp_path, 120, 1)
    segments = sorted((tmp_path / "m/predictions").rglob("*.ndjson"))
    os.truncate(segments[0], segments[0].stat().st_size - 10)
    segments[-1].write_bytes(segments[-1].read_bytes() + b"\0" * 50 + b"\n")
    before, counts = everything(tmp_path), count_log(tmp_path, "m")
    assert counts.torn == 2
    assert compact(tmp_path, "m", Folder(tmp_path), SMALL).torn == 2
    assert_same(tmp_path, before)
    assert count_log(tmp_path, "m") == counts


def test_a_living_writer_is_left_alone(tmp_path):
    log = PredictionLog(tmp_path, "m")
    log.append([record("a")])
    assert compact(tmp_path, "m", Folder(tmp_path), SMALL).rows == 0
    log.append([record("b")])
    log.close()
    log.append([record("c")])
    assert compact(tmp_path, "m", Folder(tmp_path), SMALL).rows == 2
    log.append([record("d")])
    assert read_predictions(tmp_path, "m", *ALWAYS)["prediction_id"].to_list() == ["a", "b", "c", "d"]


def test_only_what_is_worth_it_is_compacted_and_time_is_kept(tmp_path):
    fill(tmp_path, 90, 2)
    assert compact(tmp_path, "m", Folder(tmp_path)).segments == 0
    for path in tmp_path.rglob("date=2013-04-02/*.ndjson"):
        os.utime(path, (time.time() - 7200,) * 2)
    first = compact(tmp_path, "m", Folder(tmp_path), seconds=0)
    rest = compact(tmp_path, "m", Folder(tmp_path))
    assert (first.finished, rest.finished) == (False, True)
    assert {first.rows, rest.rows} == {45, 15}  # predictions and labels
    left = {path.parent.name for path in tmp_path.rglob("*.ndjson")}
    assert left == {"date=2013-04-01"}


def test_small_parts_are_merged(tmp_path):
    for number in range(9):
        log = PredictionLog(tmp_path, "m")
        log.append([record(f"{number}{each}", NOON + timedelta(seconds=9 - number)) for each in "ab"])
        log.close()
        compact(tmp_path, "m", Folder(tmp_path), Sizes(rows=500, settled_bytes=1))
    [partition] = partitions(tmp_path, "m", "predictions", DAY, DAY)
    assert [located.part.rows for located in partition.parts] == [16, 2]
    assert len(list(tmp_path.rglob("*.parquet"))) == 2
    found = read_predictions(tmp_path, "m", *ALWAYS)
    assert (found.height, found["at"].is_sorted()) == (18, True)


def test_segments_that_a_forked_child_inherited_are_compacted(tmp_path):
    log = PredictionLog(tmp_path, "m")
    log.append([record("a")])
    ends = os.pipe()
    child = os.fork()
    if child == 0:
        os.read(ends[0], 1)
        os._exit(0)
    try:
        log.close()
        assert compact(tmp_path, "m", Folder(tmp_path), SMALL).rows == 1
    finally:
        os.write(ends[1], b"x")
        os.waitpid(child, 0)


COMPACTOR = """
import sys
from pathlib import Path
from tidemill.prediction_log.reading.window_sketch import read_window_sketch
from tidemill.prediction_log.storage import manifests
from tidemill.prediction_log.upkeep.compaction import _Date, compact
from tidemill.prediction_log.storage.log_parts import Sizes
from tidemill.prediction_log.storage.log_places import Folder
small = Sizes(rows=500, row_group=100, piece=4096, group=100_000).all_of_it()
root = Path(sys.argv[1])
print("ready", flush=True)
while True:
    compact(root, "m", Folder(root), small)
"""


@pytest.mark.slow
def test_no_row_is_ever_seen_twice_or_missed_whenever_a_compaction_is_killed(tmp_path):
    stop, written, wrong = threading.Event(), [0], list[str]()

    def write() -> None:
        log = PredictionLog(tmp_path, "m", rolling=SegmentLimits(bytes=6000))
        while not stop.is_set():
            number = written[0]
            log.append([record(f"{number:06}", NOON + timedelta(seconds=number))])
            log.append_labels([label(f"{number:06}", 1)])
            written[0] += 1
            time.sleep(0.002)
        log.close()

    def read() -> None:
        while not stop.is_set():
            least = written[0]
            found = read_labelled(tmp_path, "m", *ALWAYS, known_by=NOON)["prediction_id"].to_list()
            if found != [f"{number:06}" for number in range(len(found))] or len(found) < least:
                wrong.append(f"{len(found)} rows, {least} were written")

    threads = [threading.Thread(target=work) for work in (write, read)]
    for thread in threads:
        thread.start()
    chance = random.Random(7)
    for kills in range(40):
        if kills >= 5 and any(tmp_path.rglob("*.parquet")):
            break
        process = subprocess.Popen(
            [sys.executable, "-c", COMPACTOR, str(tmp_path)], cwd=Path.cwd(), stdout=subprocess.PIPE
        )
        process.stdout.readline()
        time.sleep(chance.uniform(0.01, 0.3) * (1 + kills // 5))
        process.send_signal(signal.SIGKILL)
        process.communicate()
    stop.set()
    for thread in threads:
        thread.join()
    assert not wrong
    assert list(tmp_path.rglob("*.parquet"))
    compact(tmp_path, "m", Folder(tmp_path), SMALL)
    counts = count_log(tmp_path, "m")
    assert (counts.predictions, counts.labels, counts.torn) == (written[0], written[0], 0)
    named = {
        located.part.name
        for each in partitions(tmp_path, "m", "predictions", DAY, DAY)
        for located in each.parts
    }
    there = {path.name for path in (tmp_path / "m/predictions/date=2013-04-01").iterdir()}
    assert there == named | {*map(sketch_name, named), f"manifest-{owner_of(tmp_path)}.json"}


class _Cut(Exception):
    pass


@pytest.mark.parametrize("at", range(1, 13))
def test_a_compaction_cut_short_at_any_step_reads_the_same(tmp_path, monkeypatch, at):
    fill(tmp_path, 60, 1)
    before = everything(tmp_path)
    steps = [0]

    def cut(step):
        def may_cut(*arguments, **more):
            steps[0] += 1
            if steps[0] == at:
                raise _Cut
            return step(*arguments, **more)

        return may_cut

    with monkeypatch.context() as patch:
        for name in ("put", "write", "delete"):
            patch.setattr(Folder, name, cut(getattr(Folder, name)))
        patch.setattr(Path, "unlink", cut(Path.unlink))
        with pytest.raises(_Cut):
            compact(tmp_path, "m", Folder(tmp_path), SMALL)
    assert_same(tmp_path, before)
    compact(tmp_path, "m", Folder(tmp_path), SMALL)
    assert_same(tmp_path, before)
    assert not list(tmp_path.rglob("*.ndjson"))
    assert not list(tmp_path.rglob(".part-*"))


def test_a_compaction_that_goes_through_many_dates_keeps_no_reader_out(tmp_path, monkeypatch):
    fill(tmp_path, 600, days=40)
    listed = manifests._segments
    steps = iter(range(40))

    def list_while_another_date_is_compacted(root, *about):
        if (step := next(steps, None)) is not None:
            day = _Date(root, "m", "predictions", DAY + timedelta(days=step), Folder(root), SMALL)
            assert list(day.steps())
        return listed(root, *about)

    monkeypatch.setattr(manifests, "_segments", list_while_another_date_is_compacted)
    found = read_predictions(tmp_path, "m", *ALWAYS)["prediction_id"]
    assert sorted(found) == [f"{number:06}" for number in range(600)]


def test_one_at_a_time(tmp_path):
    fill(tmp_path, 3)
    with hold_maintenance_lock(tmp_path, "m"), pytest.raises(LogInUse):
        compact(tmp_path, "m", Folder(tmp_path), SMALL)


def test_a_broken_manifest_is_named(tmp_path):
    fill(tmp_path, 3, 1)
    name = manifest_name("m", "predictions", DAY, owner_of(tmp_path))
    replace_file(tmp_path / name, b'{"parts": 3}')
    with pytest.raises(ServingError, match=r"manifest-log_.* is not a manifest"):
        read_predictions(tmp_path, "m", *ALWAYS)


@pytest.fixture
def bucket(s3_endpoint, monkeypatch):
    for name, value in (
        ("ACCESS_KEY_ID", "test"),
        ("SECRET_ACCESS_KEY", "test"),
        ("DEFAULT_REGION", "us-east-1"),
    ):
        monkeypatch.setenv(f"AWS_{name}", value)
    boto3.client("s3", endpoint_url=s3_endpoint).create_bucket(Bucket="log")
    fsspec.filesystem("s3", endpoint_url=s3_endpoint, use_listings_cache=False).invalidate_cache()
    return "s3://log/team/a"


@pytest.mark.engine
def test_parts_go_to_an_object_store_and_come_back(tmp_path, bucket, s3_endpoint):
    fill(tmp_path, 60, 2)
    before, counts = everything(tmp_path), count_log(tmp_path, "m")
    compact(tmp_path, "m", Folder(tmp_path), SMALL)  # some were compacted before there was a store
    fill(tmp_path / "more", 60, 2)
    for path in sorted((tmp_path / "more/m").rglob("*.ndjson")):
        path.rename(tmp_path / path.relative_to(tmp_path / "more"))
    place = current_place(tmp_path, bucket, s3_endpoint)
    done = compact(tmp_path, "m", place, SMALL)
    assert done.rows == 80
    assert not list((tmp_path / "m").rglob("*.ndjson"))
    assert count_log(tmp_path, "m").predictions == 2 * counts.predictions
    both = everything(tmp_path)
    assert_frame_equal(both[0].unique(maintain_order=True), before[0])
    wanted = read_predictions(tmp_path, "m", NOON, NOON + timedelta(seconds=10), columns=["feature.wind"])
    assert wanted.height == 10
    name = manifest_name("m", "predictions", DAY, owner_of(tmp_path))
    assert read_manifest(place, name).parts
    pruned = prune(tmp_path, "m", date(2013, 4, 3))
    assert (pruned.predictions, read_predictions(tmp_path, "m", *ALWAYS).height) == (120, 0)
    assert place.names("m/*/date=*/*") == []


@pytest.mark.engine
def test_two_machines_share_a_store(tmp_path, bucket, s3_endpoint):
    for machine in "ab":
        log = PredictionLog(tmp_path / machine, "m")
        log.append([record(machine)])
        log.close()
        place = current_place(tmp_path / machine, bucket, s3_endpoint)
        compact(tmp_path / machine, "m", place, SMALL)
    for machine in "ab":
        assert read_predictions(tmp_path / machine, "m", *ALWAYS)["prediction_id"].to_list() == ["a", "b"]
        sketch = read_window_sketch(tmp_path / machine, "m", *ALWAYS)
        assert sketch is not None
        assert sketch.rows == 2


@pytest.mark.engine
def test_a_store_that_is_away_loses_nothing(tmp_path):
    fill(tmp_path, 6, 1)
    with pytest.raises(ConfigError, match="password"):
        current_place(tmp_path, "s3://key:secret@log/a")
    with pytest.raises(ConfigError, match="nosuch"):
        current_place(tmp_path, "nosuch://log/a")
    assert read_predictions(tmp_path, "m", *ALWAYS).height == 6
    place = current_place(tmp_path, "memory://log")
    (tmp_path / "stores.json").unlink()
    assert place.read(["none"]) == [None]
    assert read_predictions(tmp_path, "m", *ALWAYS).height == 6


def test_pruning_says_what_goes_and_then_it_is_gone(tmp_path):
    log = fill(tmp_path, 60, 3)
    for path in tmp_path.rglob("date=2013-04-01/*.ndjson"):
        os.utime(path, (0, 0))
    compact(tmp_path, "m", Folder(tmp_path))
    log.append([record("open", NOON)])
    before = everything(tmp_path)
    kept = kept_from(datetime(2013, 4, 5, 3, tzinfo=UTC), 2)
    assert kept == date(2013, 4, 3)
    planned = prune(tmp_path, "m", kept, dry_run=True)
    assert_same(tmp_path, before)
    assert (planned.predictions, planned.labels) == (41, 20)
    assert planned.dates == (date(2013, 4, 1), date(2013, 4, 2))
    done = prune(tmp_path, "m", kept)
    assert (done.predictions, done.bytes, done.in_use) == (planned.predictions, planned.bytes, 1)
    left = read_predictions(tmp_path, "m", *ALWAYS)
    assert left["prediction_id"].to_list() == ["open", *(f"{number:06}" for number in range(2, 60, 3))]
    log.close()
    assert prune(tmp_path, "m", kept).predictions == 1
    assert logged_days(tmp_path, "m") == [date(2013, 4, 3)]
    assert not (tmp_path / "m/predictions/date=2013-04-01").exists()
    log.append([record("again", NOON)])
    assert read_predictions(tmp_path, "m", *ALWAYS).height == 21
    assert read_manifest(Folder(tmp_path), "none") == Manifest()
