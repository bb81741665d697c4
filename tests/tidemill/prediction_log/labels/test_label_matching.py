"""The rules by which labels meet predictions."""

from datetime import timedelta

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.tidemill.prediction_log.log_records import ALWAYS, NOON, label, record
from tidemill.errors import DataError
from tidemill.prediction_log.prediction_log import PredictionLog, count_log, read_labelled, read_labels
from tidemill.prediction_log.search.version_totals import count_by_version
from tidemill.prediction_log.storage.log_parts import Sizes
from tidemill.prediction_log.storage.log_places import Folder
from tidemill.prediction_log.upkeep.compaction import compact

HOUR = timedelta(hours=1)
LATER = NOON + timedelta(days=9)


def labels_of(root, **more) -> dict[str, int]:
    found = read_labelled(root, "m", *ALWAYS, **({"known_by": LATER} | more))
    return dict(found.select("prediction_id", "label").iter_rows())


def test_a_label_by_keys_is_of_every_prediction_with_them_at_that_moment(tmp_path):
    log = PredictionLog(tmp_path, "m")
    keys = {"carrier": "UA", "flight": 7, "left": NOON, "tail": None}
    by = {"keys": {"flight": "7", "left": "2013-04-01T08:00:00-04:00"}, "predicted_at": NOON}
    log.append_labels([label(None, 1, NOON + HOUR, **by)])  # before there is any prediction
    log.append(
        [
            record("one", keys=keys),
            record("two", keys=keys | {"carrier": "AA"}),
            record("later", NOON + HOUR, keys=keys),
            record("other", keys=keys | {"flight": 8}),
            record("without", keys={"carrier": "UA"}),
            record("given", keys=None),
        ]
    )
    log.append_labels(
        [
            label(None, 0, NOON + 2 * HOUR, keys={"carrier": "AA", "tail": None}, predicted_at=NOON),
            label(None, 0, NOON, keys={"carrier": "DL"}, predicted_at=NOON),
            label(None, 0, NOON, keys={}, predicted_at=NOON),
        ]
    )
    assert labels_of(tmp_path) == {"one": 1, "two": 0}
    assert labels_of(tmp_path, known_by=NOON + HOUR) == {"one": 1, "two": 1}
    counts = count_log(tmp_path, "m")
    assert (counts.labels, counts.unmatched, counts.contradicted) == (4, 2, 1)
    log.close()
    compact(tmp_path, "m", Folder(tmp_path), Sizes().all_of_it())
    assert labels_of(tmp_path) == {"one": 1, "two": 0}
    assert count_log(tmp_path, "m") == counts


def test_a_label_of_an_answer_is_that_of_its_shadows(tmp_path):
    log = PredictionLog(tmp_path, "m")
    log.append(
        [record("live", keys={"a": 1}), record("shadow", role="shadow", shadow_of="live", keys={"a": 1})]
    )
    log.append_labels([label("live", 1, NOON)])
    assert labels_of(tmp_path, include_shadows=True) == {"live": 1, "shadow": 1}
    log.append_labels([label(None, 0, NOON + HOUR, keys={"a": 1}, predicted_at=NOON)])
    assert labels_of(tmp_path, include_shadows=True) == {"live": 0, "shadow": 0}


def test_what_was_known_on_an_earlier_date_is_no_outcome(tmp_path):
    log = PredictionLog(tmp_path, "m")
    log.append([record("a"), record("b")])
    log.append_labels([label("a", 1, NOON - 13 * HOUR), label("b", 1, NOON - 11 * HOUR)])
    assert labels_of(tmp_path) == {"b": 1}


events = st.one_of(
    st.builds(
        lambda name, value, at, received: label(name, value, NOON + at * HOUR, NOON + received * HOUR),
        st.sampled_from("abcx"), st.integers(0, 1), st.integers(0, 3), st.integers(0, 3),
    ),
    st.builds(
        lambda keys, value, at, moment: label(
            None, value, NOON + at * HOUR, NOON, keys=keys, predicted_at=NOON + moment * HOUR
        ),
        st.sampled_from([{"k": 1}, {"k": 2}, {"j": "x", "k": 1}, {"j": "x"}]),
        st.integers(0, 1), st.integers(0, 3), st.integers(0, 1),
    ),
)  # fmt: skip
PREDICTIONS = [
    record("a", keys={"j": "x", "k": 1}),
    record("b", keys={"k": 2, "j": "y"}),
    record("c", NOON + HOUR, keys={"k": 1, "j": "x"}),
    record("shadow", role="shadow", shadow_of="a", keys={"k": 1, "j": "x"}),
]


@pytest.mark.slow
@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), given_labels=st.lists(events, max_size=8))
def test_in_which_order_records_arrive_never_matters(data, given_labels, tmp_path_factory):
    outcomes = []
    for shuffled in (False, True):
        root = tmp_path_factory.mktemp("log")
        arriving = [*PREDICTIONS, *given_labels]
        if shuffled:
            arriving = data.draw(st.permutations(arriving))
            arriving += given_labels[:2]  # and some twice
        cut = data.draw(st.integers(0, len(arriving))) if shuffled else 0
        for part in (arriving[:cut], arriving[cut:]):
            log = PredictionLog(root, "m")
            for each in part:
                (log.append if hasattr(each, "score") else log.append_labels)([each])
            log.close()
            if shuffled and part:
                compact(root, "m", Folder(root), Sizes().all_of_it())
        counts = count_log(root, "m")
        found = read_labelled(root, "m", *ALWAYS, known_by=LATER, include_shadows=True)
        rows = sorted(found.select("prediction_id", "label", "label_at").iter_rows())
        outcomes.append((rows, counts.unmatched, counts.contradicted))
    assert outcomes[0] == outcomes[1]


@pytest.mark.parametrize("other", ["2", "-1", "0.5", "null", '"yes"', '"1e400"'])
@pytest.mark.parametrize("compacted", [False, True])
def test_labels_other_than_0_and_1_count_for_nothing_and_are_counted(tmp_path, other, compacted):
    log = PredictionLog(tmp_path, "m")
    log.append([record(f"p{number}") for number in range(3)])
    log.append_labels([label(f"p{number}", number % 2) for number in range(2)])
    log.close()
    [segment] = (tmp_path / "m" / "labels").rglob("*.ndjson")
    written = segment.read_text()
    more = "".join(
        line.replace('"label":0', f'"label":{other}').replace("p0", name)
        for line in written.splitlines(keepends=True)[:1]
        for name in ("p0", "p2")
    )
    segment.write_text(written + more)
    if compacted:
        compact(tmp_path, "m", Folder(tmp_path), Sizes().all_of_it())
    found = read_labelled(tmp_path, "m", *ALWAYS, NOON + timedelta(days=9))
    assert dict(found.select("prediction_id", "label").iter_rows()) == {"p0": 0, "p1": 1}
    counts = count_log(tmp_path, "m")
    assert (counts.labels, counts.invalid) == (4, 2)
    assert (counts.contradicted, counts.unmatched, counts.torn) == (0, 0, 0)
    assert count_by_version(tmp_path, "m")["3"].labelled == 2


@pytest.mark.parametrize("compacted", [False, True])
def test_a_label_that_is_sent_again_is_counted_once(tmp_path, compacted):
    log = PredictionLog(tmp_path, "m")
    log.append([record(f"p{number}") for number in range(3)])
    for _ in range(2):
        log.append_labels([label("p0", 0), label("p1", 1)])
    log.append_labels([label("p1", 0)])
    log.close()
    if compacted:
        compact(tmp_path, "m", Folder(tmp_path), Sizes().all_of_it())
    counts = count_log(tmp_path, "m")
    assert (counts.labels, counts.contradicted) == (3, 1)


@pytest.mark.parametrize("other", [2, 0.5, None, "yes", float("nan")])
def test_no_other_label_is_written(tmp_path, other):
    log = PredictionLog(tmp_path, "m")
    with pytest.raises(DataError, match="a label is"):
        log.append_labels([label("p0", 1), label("p1", other)])
    log.append_labels([label("p0", True), label("p1", np.int64(1)), label("p2", 1.0)])
    log.close()
    assert count_log(tmp_path, "m").labels == 3
    assert read_labels(tmp_path, "m", NOON + timedelta(days=9))["label"].to_list() == [1, 1, 1]
