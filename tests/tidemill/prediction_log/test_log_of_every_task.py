"""Answers and labels of every task are read back as they were logged; old logs stay readable."""

import json
import shutil
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest

from tests.tidemill.prediction_log.log_records import ALWAYS, NOON, label, record
from tidemill.errors import DataError
from tidemill.prediction_log.prediction_log import (
    PredictionLog,
    count_log,
    read_labelled,
    read_labels,
    read_latest,
    read_predictions,
)
from tidemill.prediction_log.search.record_search import find_labels, find_prediction
from tidemill.prediction_log.search.version_totals import count_by_version
from tidemill.prediction_log.storage.log_parts import Sizes
from tidemill.prediction_log.storage.log_places import Folder
from tidemill.prediction_log.upkeep.compaction import compact
from tidemill.tasks.binary import Binary
from tidemill.tasks.custom import Custom
from tidemill.tasks.multiclass import Multiclass
from tidemill.tasks.regression import Regression

OLD = Path(__file__).parent / "log_without_answers"

RANKED = np.empty(4, dtype=object)
RANKED[:] = [["b", 'a "quoted"\t'], {"top": ["a"]}, "a", 2.5]
TASKS = {
    "binary": (
        Binary("roc_auc", classes=("no", "yes")),
        np.array([0.1, 0.9, 1e-9]),
        ["no", "yes", "no"],
        [0, 1, 0],
    ),
    "multiclass": (
        Multiclass("accuracy", classes=("a", "é", '"b"')),
        np.array([[0.1, 0.2, 0.7], [1 / 3, 1 / 3, 1 / 3], [1e-12, 1 - 1e-12, 0.0]]),
        ["é", '"b"', "a"],
        [1, 2, 0],
    ),
    "regression": (
        Regression("neg_mae"),
        np.array([-1.5, 0.1 + 0.2, 1e300]),
        [12, "0.30000000000000004", -3.25],
        [12, 0.1 + 0.2, -3.25],
    ),
    "custom": (Custom("m:f"), RANKED, ["a", {"b": [1]}, None, 3], ["a", {"b": [1]}, None, 3]),
}


def stored(task, given):
    """Return a label as it is stored; earlier versions took null, too, as a label of a custom task."""
    return (None, "null") if given is None else task.label_given(given)


@pytest.fixture(params=TASKS)
def logged(request, tmp_path):
    task, answers, labels, truth = TASKS[request.param]
    log = PredictionLog(tmp_path, "m")
    for number, (answer, score, given) in enumerate(zip(answers, task.scores(answers), labels, strict=True)):
        features = {"wind": 8.0, "carrier": None if number else "007"}
        log.append([record(f"p{number}", score=float(score), answer=task.logged(answer), features=features)])
        found, target = stored(task, given)
        log.append_labels([label(f"p{number}", found, target=target)])
    log.append([record("unlabelled", score=float(task.scores(answers)[0]), answer=task.logged(answers[0]))])
    log.close()
    return tmp_path, task, answers, truth


@pytest.mark.parametrize("compacted", [False, True])
def test_answers_and_labels_are_read_back(logged, compacted):
    root, task, answers, truth = logged
    if compacted:
        compact(root, "m", Folder(root), Sizes().all_of_it())
    rows = read_labelled(root, "m", *ALWAYS, ALWAYS[1])
    assert rows["prediction_id"].to_list() == [f"p{number}" for number in range(len(answers))]
    assert task.given_in_log(rows).tolist() == answers.tolist()
    assert task.truth_of_log(rows).tolist() == truth
    assert rows["feature.carrier"].to_list() == ["007"] + [None] * (len(answers) - 1)
    few = read_labelled(root, "m", *ALWAYS, ALWAYS[1], columns=["score", "answer"])
    assert few.columns == ["score", "answer", "label", "target", "label_at"]
    assert task.given_in_log(few).tolist() == answers.tolist()
    assert read_latest(root, "m", 9, ["answer", "at"]).height == len(answers) + 1


@pytest.mark.parametrize("compacted", [False, True])
def test_records_are_found_and_counted(logged, compacted):
    root, task, answers, truth = logged
    if compacted:
        compact(root, "m", Folder(root), Sizes().all_of_it())
    counts = count_log(root, "m")
    assert (counts.predictions, counts.labels, counts.unmatched, counts.invalid) == (
        len(answers) + 1,
        len(answers),
        0,
        0,
    )
    assert count_by_version(root, "m")["3"].labelled == len(answers)
    for number in range(len(answers)):
        logged_answer = task.logged(answers[number])
        found = find_prediction(root, "m", f"p{number}")
        assert found["answer"] == (None if logged_answer is None else json.loads(logged_answer))
        (given,) = find_labels(root, "m", f"p{number}")
        expected = task.classes[truth[number]] if task.kind in ("binary", "multiclass") else truth[number]
        assert (given["label"], given["target"]) == stored(task, expected)


def test_the_last_target_in_the_order_of_texts_counts_among_labels_of_one_moment(tmp_path):
    log = PredictionLog(tmp_path, "m")
    log.append([record("p")])
    log.append_labels([label("p", None, target=one) for one in ("b", "c", "a", "c")])
    log.append_labels([label("p", None, NOON - timedelta(hours=1), target="z")])
    log.close()
    (row,) = read_labels(tmp_path, "m", ALWAYS[1]).rows(named=True)
    assert (row["label"], row["target"], row["labels"]) == (None, "c", 4)
    assert find_labels(tmp_path, "m", "p")[-1]["target"] == "c"
    assert count_log(tmp_path, "m").contradicted == 1


@pytest.mark.parametrize(("value", "target"), [(None, None), (2, None), (1, "yes")])
def test_a_label_is_of_two_classes_or_has_a_target(tmp_path, value, target):
    with pytest.raises(DataError, match=r"a label is (None|2|1)"):
        PredictionLog(tmp_path, "m").append_labels([label("p", value, target=target)])
    assert not list(tmp_path.rglob("*.ndjson"))


@pytest.mark.parametrize("compacted", [False, True])
def test_logs_from_before_answers_and_targets_stay_readable(tmp_path, compacted):
    root = tmp_path / "log"
    shutil.copytree(OLD, root)
    task = Binary("roc_auc")
    log = PredictionLog(root, "m")  # goes on in the same folder
    log.append([record("new", NOON + timedelta(days=1, minutes=1), answer='{"a": 1}')])
    log.append_labels([label("new", None, NOON + timedelta(days=2), target="a")])
    log.close()
    if compacted:
        compact(root, "m", Folder(root), Sizes().all_of_it())
        assert not list(root.rglob("*.ndjson"))
    rows = read_labelled(root, "m", *ALWAYS, ALWAYS[1])
    assert rows["prediction_id"].to_list() == ["a", "b", "c", "d", "e", "new"]
    assert rows["answer"].to_list() == [None] * 5 + ['{"a": 1}' if not compacted else rows["answer"][5]]
    assert json.loads(rows["answer"][5]) == {"a": 1}
    assert rows["target"].to_list() == [None] * 5 + ["a"]
    assert task.truth_of_log(rows.head(5)).tolist() == [1, 1, 0, 1, 1]  # those by keys came last
    assert task.given_in_log(rows.head(5)).tolist() == [0.25, 0.35, 0.45, 0.25, 0.35]
    assert count_by_version(root, "m")["3"].labelled == 6
    counts = count_log(root, "m")
    assert (counts.predictions, counts.labels, counts.invalid, counts.unmatched) == (6, 8, 0, 0)
    assert find_prediction(root, "m", "a")["score"] == 0.25
    assert [one["label"] for one in find_labels(root, "m", "a")] == [0, 1]


def test_answers_of_other_shapes_in_one_segment_are_read(tmp_path):
    answers = ['{"a": [1]}', '{"a": {"b": 1}}', '[1, {"b": 2}]', '"text"', "3", "null", None]
    log = PredictionLog(tmp_path, "m")
    log.append([record(str(number), answer=answer) for number, answer in enumerate(answers)])
    log.close()
    read = read_predictions(tmp_path, "m", *ALWAYS)["answer"].to_list()
    assert [one and json.loads(one) for one in read] == [one and json.loads(one) for one in answers]


def test_targets_by_keys_are_counted_each_once(tmp_path):
    log = PredictionLog(tmp_path, "m")
    log.append([record("p", keys={"depot": "north"})])
    by = {"keys": {"depot": "north"}, "predicted_at": NOON}
    log.append_labels([label(None, None, target=one, **by) for one in ("1.0", "2.0", "2.0")])
    log.close()
    counts = count_log(tmp_path, "m")
    assert (counts.labels, counts.contradicted, counts.unmatched) == (2, 1, 0)
