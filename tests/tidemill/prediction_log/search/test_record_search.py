"""Finding single records in a log, however it came about."""

import os
import random
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import orjson
import pytest

from tidemill.ids import new_id
from tidemill.prediction_log.prediction_log import LabelRecord, PredictionLog, PredictionRecord, count_log
from tidemill.prediction_log.search import record_search
from tidemill.prediction_log.search.record_search import find_labels, find_prediction, latest, made_at
from tidemill.prediction_log.search.version_totals import count_by_version
from tidemill.prediction_log.storage.log_parts import Sizes
from tidemill.prediction_log.storage.log_places import Folder
from tidemill.prediction_log.upkeep.compaction import compact

NOON = datetime(2013, 4, 1, 12, tzinfo=UTC)


def record(identifier, version="1", at=NOON, test=False, replica="r1"):
    return PredictionRecord(
        identifier,
        "m",
        version,
        at,
        datetime.now(UTC),
        replica,
        {"depot": "north"},
        {"wind": 1.0},
        0.25,
        {},
        test=test,
    )


@pytest.fixture
def filled(tmp_path):
    """Three days, two replicas, 600 predictions of two versions; the ids, in order."""
    logs = [PredictionLog(tmp_path, "m") for _ in range(2)]
    ids = [new_id("pred") for _ in range(600)]
    for number, identifier in enumerate(ids):
        at = NOON + timedelta(days=number // 200, seconds=number)
        logs[number % 2].append(
            [record(identifier, str(1 + number // 300), at, test=number % 100 == 0, replica=f"r{number % 2}")]
        )
    for one in logs:
        one.close()
    return tmp_path, ids


@pytest.fixture(params=["lines", "parts", "both"])
def stored(filled, request):
    """The same, as lines, compacted into parts, and partly so."""
    root, ids = filled
    if request.param != "lines":
        apart = list(root.rglob("date=2013-04-03/*.ndjson")) if request.param == "both" else []
        for path in apart:
            path.rename(root / path.name)
        compact(root, "m", Folder(root), Sizes(rows=150, piece=4096).all_of_it())
        for path in apart:
            (root / path.name).rename(path)
        assert len(list(root.rglob("*.parquet"))) > 2
    return root, ids


def test_every_prediction_is_found_and_no_other(stored):
    root, ids = stored
    for identifier in random.Random(0).sample(ids, 20):
        found = find_prediction(root, "m", identifier)
        assert found is not None
        assert found["prediction_id"] == identifier
        assert found["features"] == {"wind": 1.0}
    assert find_prediction(root, "m", new_id("pred")) is None
    assert find_prediction(root, "m", ids[0][:-1]) is None
    assert find_prediction(root, "other", ids[0]) is None


def test_of_a_large_segment_only_a_window_is_read(tmp_path, monkeypatch):
    """Ids a second apart, lines in order: the bisection ends near the line, wherever it is."""
    monkeypatch.setattr(record_search, "_WINDOW", 1 << 12)
    monkeypatch.setattr(record_search, "_CHUNK", 1 << 12)
    folder = tmp_path / "m" / "predictions" / "date=2013-04-01"
    folder.mkdir(parents=True)
    start = made_at(new_id("pred")) - 5_000_000
    path = folder / f"{ulid('w', start)}.ndjson"
    ids = [ulid("pred", start + 1000 * n) for n in range(5000)]
    path.write_bytes(
        b"".join(orjson.dumps({"prediction_id": each, "pad": "x" * 200}) + b"\n" for each in ids)
    )
    read = []
    search = record_search._matching
    monkeypatch.setattr(
        record_search,
        "_matching",
        lambda lines, needle: read.append(len(lines)) or search(lines, needle),
    )
    for each in (ids[0], ids[2500], ids[-1]):
        read.clear()
        assert find_prediction(tmp_path, "m", each) is not None
        assert sum(read) < 100_000 < path.stat().st_size


def test_what_breaks_the_rules_of_time_is_found_too(filled):
    root, ids = filled
    for path in root.rglob("*.ndjson"):  # a restored copy, its lines in another order, from a machine of 1990
        lines = path.read_bytes().splitlines(keepends=True)
        random.Random(1).shuffle(lines)
        path.write_bytes(b"".join(lines))
        os.utime(path, (0, 0))
    for identifier in ids[::100]:
        assert find_prediction(root, "m", identifier)["prediction_id"] == identifier


def test_torn_lines_hide_nothing_else(filled):
    root, ids = filled
    path = next(root.rglob("*.ndjson"))
    whole = path.read_bytes()
    first = orjson.loads(whole.splitlines()[0])["prediction_id"]
    path.write_bytes(
        whole[:100] + b"\n" + whole[whole.index(b"\n") + 1 :] + b'{"prediction_id":"pred_torn","ver'
    )
    assert find_prediction(root, "m", first) is None
    assert find_prediction(root, "m", "pred_torn") is None
    assert sum(find_prediction(root, "m", each) is not None for each in ids[:4]) == 3
    assert (
        sum(counted.predictions for counted in count_by_version(root, "m").values())
        == count_log(root, "m").predictions
    )


def test_an_id_that_holds_no_time_is_found(tmp_path):
    writer = PredictionLog(tmp_path, "m")
    writer.append([record("pred_1"), record("pred_10")])
    assert find_prediction(tmp_path, "m", "pred_1")["prediction_id"] == "pred_1"
    writer.close()


def test_versions_are_counted(stored):
    root, ids = stored
    writer = PredictionLog(root, "m")
    writer.append_labels([LabelRecord(each, 1, NOON, NOON) for each in (*ids[:10], *ids[:5], "pred_unknown")])
    writer.close()
    found = count_by_version(root, "m")
    assert {version: (t.predictions, t.test, t.labelled, t.replicas) for version, t in found.items()} == {
        "1": (300, 3, 10, ("r0", "r1")),
        "2": (300, 3, 0, ("r0", "r1")),
    }
    assert (found["1"].first_at, found["2"].last_at) == (NOON, NOON + timedelta(days=2, seconds=599))
    assert count_by_version(root, "other") == {}


def test_the_latest_are_those_of_the_latest_event_time(stored):
    root, ids = stored
    assert [each["prediction_id"] for each in latest(root, "m", "1", 3)] == ids[299:296:-1]
    assert [each["prediction_id"] for each in latest(root, "m", "1", 150)] == ids[299:149:-1]


def test_the_label_that_counts_comes_last(tmp_path):
    writer, one = PredictionLog(tmp_path, "m"), new_id("pred")
    for value, days in ((1, 3), (0, 1)):
        writer.append_labels([LabelRecord(one, value, NOON + timedelta(days=days), NOON)])
    assert [each["label"] for each in find_labels(tmp_path, "m", one)] == [0, 1]
    writer.close()


def test_labels_by_keys_are_found_and_what_was_compacted_is_as_it_was_written(tmp_path):
    writer, one = PredictionLog(tmp_path, "m"), new_id("pred")
    writer.append([replace(record(one), keys={"depot": "north", "day": NOON})])
    by = {"keys": {"depot": "north"}, "predicted_at": NOON}
    writer.append_labels([LabelRecord(None, 1, NOON, NOON, **by), LabelRecord(one, 0, NOON, NOON)])
    writer.append_labels([LabelRecord(None, 1, NOON, NOON, keys={"depot": "east"}, predicted_at=NOON)])
    writer.close()
    before = find_prediction(tmp_path, "m", one), find_labels(tmp_path, "m", one)
    compact(tmp_path, "m", Folder(tmp_path), Sizes().all_of_it())
    after = find_prediction(tmp_path, "m", one), find_labels(tmp_path, "m", one)
    assert [each["label"] for each in before[1]] == [each["label"] for each in after[1]] == [0, 1]
    for name in ("at", "served_at"):
        assert datetime.fromisoformat(before[0].pop(name)) == datetime.fromisoformat(after[0].pop(name))
    assert before[0] == after[0]


def ulid(prefix: str, milliseconds: int) -> str:
    value = milliseconds << 80 | random.Random(milliseconds).getrandbits(80)
    return f"{prefix}_" + "".join(
        record_search._ALPHABET[value >> shift & 31] for shift in range(125, -1, -5)
    )


@pytest.mark.parametrize("compacted", [False, True])
def test_fields_of_a_request_may_be_called_like_ours(tmp_path, compacted):
    log = PredictionLog(tmp_path, "m")
    ids = [new_id("pred") for _ in range(2)]
    names = {"prediction_id": ids[1], "version": "2", "at": "then", "label": 3, "predicted_at": None}
    log.append([replace(record(ids[0]), instance=names, keys=names), record(ids[1], version="2")])
    log.append_labels(
        [
            LabelRecord(None, 1, NOON, NOON, keys={"prediction_id": ids[1]}, predicted_at=NOON),
            LabelRecord(None, 0, NOON, NOON, keys={"prediction_id": None}, predicted_at=NOON),
            LabelRecord(ids[1], 0, NOON, NOON),
        ]
    )
    log.close()
    if compacted:
        compact(tmp_path, "m", Folder(tmp_path), Sizes().all_of_it())
    assert find_prediction(tmp_path, "m", ids[1])["instance"] == {"depot": "north"}
    assert [each["label"] for each in find_labels(tmp_path, "m", ids[1])] == [0]
    assert [each["label"] for each in find_labels(tmp_path, "m", ids[0])] == [1]
    assert [each["prediction_id"] for each in latest(tmp_path, "m", "2", 5)] == [ids[1]]
