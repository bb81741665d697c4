import contextlib
import threading
from datetime import UTC, date, datetime, timedelta

import polars as pl
import pytest

from tidemill.prediction_log.prediction_log import (
    LabelRecord,
    PredictionLog,
    PredictionRecord,
    count_log,
    read_labelled,
)
from tidemill.prediction_log.search.blanking import blank_records, find_records
from tidemill.prediction_log.search.record_filter import RecordFilter
from tidemill.prediction_log.storage.log_parts import Sizes
from tidemill.prediction_log.storage.log_places import Folder
from tidemill.prediction_log.storage.segments import SegmentLimits
from tidemill.prediction_log.upkeep.compaction import compact
from tidemill.prediction_log.upkeep.maintenance_lock import LogInUse

NOON = datetime(2013, 4, 1, 12, tzinfo=UTC)
ADA = RecordFilter(
    lambda record: record.get("instance", {}).get("rider") == "ada-lovelace",
    frozenset({"rider"}),
    ("ada-lovelace",),
    literal=True,
)


def record(name, instance, keys=None, served_at=NOON):
    return PredictionRecord(
        name, "m", "1", NOON, served_at, "r", instance, {"wind": 1.0}, 0.5, {}, keys=keys or {}
    )


def test_a_log_is_blanked_while_it_is_written_to(tmp_path):
    log = PredictionLog(tmp_path, "m")
    stop, written = threading.Event(), [0]

    def write() -> None:
        while not stop.is_set():
            number = written[0]
            rider = "ada-lovelace" if number % 3 == 0 else f"rider-{number}"
            log.append([record(f"pred_{number:06}", {"rider": rider})])
            log.append_labels([LabelRecord(f"pred_{number:06}", 1, NOON, NOON)])
            written[0] += 1

    writer = threading.Thread(target=write)
    writer.start()
    erased = 0
    while erased < 600:
        erased += blank_records(tmp_path, ADA).predictions
    stop.set()
    writer.join()
    blank_records(tmp_path, ADA)
    log.close()
    kept = [number for number in range(written[0]) if number % 3]
    frame = read_labelled(tmp_path, "m", NOON, NOON + timedelta(days=1), NOON)
    assert frame["prediction_id"].to_list() == [f"pred_{number:06}" for number in kept]
    counts = count_log(tmp_path, "m")
    assert (counts.predictions, counts.torn) == (
        len(kept),
        0,
    )  # some labels came when the prediction was gone
    for path in tmp_path.rglob("*.ndjson"):
        assert b"ada-lovelace" not in path.read_bytes()


def compacted(root):
    compact(root, "m", Folder(root), Sizes(rows=3, row_group=2, merge=10**9).all_of_it())


@pytest.mark.slow
def test_an_erasure_and_a_compaction_at_once_leave_nothing_of_the_subject(tmp_path):
    log = PredictionLog(tmp_path, "m", rolling=SegmentLimits(bytes=12_000))
    stop = threading.Event()

    def compact_on() -> None:
        while not stop.is_set():
            with contextlib.suppress(LogInUse):
                compact(tmp_path, "m", Folder(tmp_path), Sizes(rows=100).all_of_it())

    thread = threading.Thread(target=compact_on)
    thread.start()
    for number in range(90):
        rider = "ada-lovelace" if number % 3 == 0 else f"rider-{number}"
        log.append([record(f"pred_{number:06}", {"rider": rider})])
        if number % 40 == 30:
            blank_records(tmp_path, ADA)
    log.close()
    blank_records(tmp_path, ADA)
    stop.set()
    thread.join()
    assert find_records(tmp_path, ADA).predictions == 0
    assert count_log(tmp_path, "m").predictions == 60
    for path in tmp_path.rglob("*.ndjson"):
        assert b"ada-lovelace" not in path.read_bytes()


def test_what_a_killed_compaction_left_over_is_erased_too(tmp_path, monkeypatch):
    log = PredictionLog(tmp_path, "m")
    log.append([record("pred_0", {"rider": "ada-lovelace"}), record("pred_1", {"rider": "x"})])
    log.close()
    monkeypatch.setattr(Folder, "write", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        compacted(tmp_path)  # the part is there, and no manifest names it
    monkeypatch.undo()
    assert list(tmp_path.rglob("part-*.parquet"))
    assert blank_records(tmp_path, ADA).predictions == 1
    assert not list(tmp_path.rglob("part-*"))


@pytest.mark.slow
def test_a_torn_line_that_names_the_subject_is_blanked_and_another_is_not(tmp_path):
    folder = tmp_path / "m" / "predictions" / f"date={date(2013, 4, 1)}"
    folder.mkdir(parents=True)
    (folder / "a.ndjson").write_bytes(b'{"prediction_id":"pred_9","instance":{"rider":"ada-lovelace"')
    (folder / "b.ndjson").write_bytes(b'{"prediction_id":"pred_8","instance":{"rider":"grace')
    assert blank_records(tmp_path, ADA).predictions == 1
    assert not (folder / "a.ndjson").read_bytes().strip()
    assert count_log(tmp_path, "m").torn == 1


def test_blank_lines_cost_a_reader_nothing_but_a_look(tmp_path):
    log = PredictionLog(tmp_path, "m")
    log.append([record(f"pred_{number}", {"rider": "ada-lovelace"}) for number in range(3)])
    log.close()
    blank_records(tmp_path, ADA)
    assert read_labelled(tmp_path, "m", NOON, NOON + timedelta(days=1), NOON).height == 0
    assert isinstance(read_labelled(tmp_path, "m", NOON, NOON, NOON), pl.DataFrame)
