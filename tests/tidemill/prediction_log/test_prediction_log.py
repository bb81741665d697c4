"""The prediction log: what is appended is read back, whatever happened to the writer."""

import os
from datetime import timedelta

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.tidemill.prediction_log.log_records import ALWAYS, NOON, label, record
from tidemill.prediction_log.prediction_log import (
    PredictionLog,
    count_log,
    read_labelled,
    read_labels,
    read_latest,
    read_predictions,
)
from tidemill.prediction_log.storage.log_parts import Sizes
from tidemill.prediction_log.storage.log_places import Folder
from tidemill.prediction_log.upkeep.compaction import compact

moments = st.integers(0, 400 * 86400 * 10**6).map(lambda us: NOON + timedelta(microseconds=us))
records = st.builds(
    record,
    name=st.uuids().map(str),
    at=moments,
    score=st.floats(0, 1),
    features=st.fixed_dictionaries({"wind": st.none() | st.floats(allow_infinity=False, allow_nan=False)}),
    instance=st.dictionaries(st.text(), st.none() | st.text() | st.integers(-(2**53), 2**53), max_size=3),
    flags=st.lists(st.text(), max_size=3).map(tuple),
    test=st.booleans(),
)


@pytest.mark.slow
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(batches=st.lists(st.lists(records, max_size=5), max_size=5))
def test_whatever_is_appended_is_read_back(batches, tmp_path_factory):
    root = tmp_path_factory.mktemp("log")
    log = PredictionLog(root, "m")
    for batch in batches:
        log.append(batch)
    log.close()
    wanted = {item.prediction_id: item for batch in batches for item in batch}

    frame = read_predictions(root, "m", *ALWAYS, include_test=True)

    assert frame.height == len(wanted)
    assert frame["at"].is_sorted()
    for row in frame.iter_rows(named=True):
        item = wanted[row["prediction_id"]]
        assert (row["at"], row["score"], row["test"]) == (item.at, item.score, item.test)
        assert row["flags"] == list(item.flags)
        assert row["feature.wind"] == item.features["wind"]
    untested = read_predictions(root, "m", *ALWAYS)
    assert untested.height == sum(not item.test for item in wanted.values())


def test_an_empty_log_has_the_columns(tmp_path):
    frame = read_labelled(tmp_path, "m", *ALWAYS, known_by=NOON)
    assert frame.height == 0
    assert {"prediction_id", "at", "score", "label", "label_at", "test"} <= set(frame.columns)


def test_the_window_has_its_start_and_not_its_end(tmp_path):
    log = PredictionLog(tmp_path, "m")
    log.append(
        [
            record("before", NOON - timedelta(microseconds=1)),
            record("first"),
            record("end", NOON + timedelta(days=1)),
        ]
    )
    assert read_predictions(tmp_path, "m", NOON, NOON + timedelta(days=1))["prediction_id"].to_list() == [
        "first"
    ]


@pytest.mark.parametrize("cut", [1, 20, 150])
def test_a_torn_last_line_is_skipped_counted_and_hurts_no_other(tmp_path, cut, caplog):
    PredictionLog(tmp_path, "m").append([record("a"), record("b")])
    (segment,) = tmp_path.rglob("*.ndjson")
    os.truncate(segment, segment.stat().st_size - cut)

    PredictionLog(tmp_path, "m").append([record("c")])

    assert read_predictions(tmp_path, "m", *ALWAYS)["prediction_id"].to_list() == ["a", "c"]
    assert "incomplete" in caplog.text
    assert count_log(tmp_path, "m").torn == 1


def test_holes_after_a_power_failure_are_skipped_and_counted(tmp_path):
    log = PredictionLog(tmp_path, "m")
    log.append([record("a")])
    (segment,) = tmp_path.rglob("*.ndjson")
    with segment.open("ab") as file:
        file.write(b"\0" * 64 + b"\n" + b'{"prediction_id": "x\n')
    log.append([record("b")])
    assert read_predictions(tmp_path, "m", *ALWAYS)["prediction_id"].to_list() == ["a", "b"]
    assert count_log(tmp_path, "m").torn == 2


def test_two_writers_of_one_day_have_a_segment_each(tmp_path):
    for name in "ab":
        PredictionLog(tmp_path, "m").append([record(name)])
    assert len(list((tmp_path / "m/predictions/date=2013-04-01").glob("*.ndjson"))) == 2
    assert read_predictions(tmp_path, "m", *ALWAYS).height == 2


def test_keys_are_kept_as_json_and_null_where_a_log_is_older_than_they_are(tmp_path):
    keys = {"carrier": "UA", "tailnum": None, "departure": NOON}
    PredictionLog(tmp_path, "m").append([record("new", keys=keys)])
    (segment,) = tmp_path.rglob("*.ndjson")
    old = orjson.loads(segment.read_bytes()) | {"prediction_id": "old"}
    del old["keys"]
    segment.with_name("old.ndjson").write_bytes(b"\0\n" + orjson.dumps(old) + b"\n")
    frame = read_predictions(tmp_path, "m", *ALWAYS)
    read = dict(frame.select("prediction_id", "keys").iter_rows())
    assert orjson.loads(read["new"]) == {**keys, "departure": NOON.isoformat()}
    assert read["old"] is None
    assert frame.filter(prediction_id="old")["feature.wind"].to_list() == [8.0]


@pytest.mark.parametrize("compacted", [False, True])
def test_characters_that_json_escapes_stay_json_and_hide_no_label(tmp_path, compacted):
    values = [f"a{character}b" for character in '\t\x00\x1f\r\n"\\/\x7f\u2028']
    log = PredictionLog(tmp_path, "m")
    for value in values:
        nested = {value: [value, {"in": value}]}
        log.append([record(value, keys={"depot": value}, instance=nested, decision=nested)])
        log.append_labels([label(None, 1, keys={"depot": value}, predicted_at=NOON)])
    log.append([record("plain", keys={"depot": "plain"}, request_id='{"a": "\t"}')])
    log.close()
    if compacted:
        compact(tmp_path, "m", Folder(tmp_path), Sizes().all_of_it())
    found = read_predictions(tmp_path, "m", *ALWAYS).rows_by_key("prediction_id", named=True, unique=True)
    for value in values:
        assert orjson.loads(found[value]["keys"]) == {"depot": value}
        assert orjson.loads(found[value]["instance"]) == {value: [value, {"in": value}]}
        assert orjson.loads(found[value]["decision"]) == {value: [value, {"in": value}]}
    assert found["plain"]["request_id"] == '{"a": "\t"}'
    assert set(read_labelled(tmp_path, "m", *ALWAYS, ALWAYS[1])["prediction_id"]) == set(values)


def test_models_with_different_features_are_read_together(tmp_path):
    log = PredictionLog(tmp_path, "m")
    log.append([record("a", features={"wind": 1.0}), record("b", features={"rain": 2.0, "carrier": "UA"})])
    PredictionLog(tmp_path, "m").append([record("c", features={"wind": None, "snow": 3.0})])
    frame = read_predictions(tmp_path, "m", *ALWAYS)
    assert frame["feature.wind"].to_list() == [1.0, None, None]
    assert frame["feature.snow"].to_list() == [None, None, 3.0]


def test_the_latest_label_counts_and_none_from_the_future(tmp_path):
    log = PredictionLog(tmp_path, "m")
    log.append([record("twice"), record("changed"), record("late"), record("same moment")])
    day = timedelta(days=1)
    log.append_labels([
        label("twice", 1, NOON + day), label("twice", 1, NOON + day),
        label("changed", 1, NOON + 2 * day), label("changed", 0, NOON + day),
        label("late", 1, NOON + 5 * day),
        label("same moment", 0, NOON, received_at=NOON + day), label("same moment", 1, NOON),
        label("stranger", 1, NOON),
    ])  # fmt: skip
    known = read_labelled(tmp_path, "m", *ALWAYS, known_by=NOON + 2 * day)
    assert dict(known.select("prediction_id", "label").rows()) == {"twice": 1, "changed": 1, "same moment": 0}
    assert read_labels(tmp_path, "m", NOON + day).filter(prediction_id="changed")["label"].item() == 0
    counts = count_log(tmp_path, "m")
    assert (counts.predictions, counts.labels, counts.unmatched, counts.contradicted) == (4, 7, 1, 2)


def test_shadows_and_test_traffic_are_given_to_who_asks(tmp_path):
    log = PredictionLog(tmp_path, "m")
    log.append(
        [
            record("live", role="canary", caller="key_1", request_id="a7"),
            record("shadow", role="shadow", shadow_of="live"),
            record("test", test=True),
        ]
    )
    [live] = read_predictions(tmp_path, "m", *ALWAYS).to_dicts()
    assert (live["role"], live["caller"], live["request_id"]) == ("canary", "key_1", "a7")
    both = read_predictions(tmp_path, "m", *ALWAYS, include_shadows=True)
    assert dict(both.select("prediction_id", "shadow_of").iter_rows()) == {"live": None, "shadow": "live"}
    assert read_predictions(tmp_path, "m", *ALWAYS, True, True).height == 3
    counts = count_log(tmp_path, "m")
    assert (counts.predictions, counts.test, counts.shadows) == (3, 1, 1)


@pytest.mark.parametrize("compacted", [False, True])
def test_only_the_columns_asked_for_are_read(tmp_path, compacted):
    log = PredictionLog(tmp_path, "m")
    log.append([record("b", NOON + timedelta(hours=1), score=0.5), record("a")])
    log.append_labels([label("a", 1)])
    log.close()
    if compacted:
        compact(tmp_path, "m", Folder(tmp_path), Sizes().all_of_it())
    wanted = ["score", "feature.wind", "feature.unheard_of"]
    frame = read_predictions(tmp_path, "m", *ALWAYS, columns=wanted)
    assert frame.columns == wanted
    assert frame.rows() == [(0.25, 8.0, None), (0.5, 8.0, None)]
    labelled = read_labelled(tmp_path, "m", *ALWAYS, known_by=NOON, columns=["score"])
    assert labelled.rows(named=True) == [{"score": 0.25, "label": 1, "target": None, "label_at": NOON}]
    assert read_latest(tmp_path, "m", 1, ["prediction_id"]).rows() == [("b",)]
