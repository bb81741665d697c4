import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from tidemill.data.personal.pseudonyms import Pseudonymiser
from tidemill.prediction_log.prediction_log import (
    LabelRecord,
    PredictionLog,
    PredictionRecord,
    count_log,
    read_labelled,
)
from tidemill.prediction_log.storage.log_parts import Sizes
from tidemill.prediction_log.storage.log_places import Folder
from tidemill.prediction_log.upkeep.compaction import compact
from tidemill.prediction_log.writing.redaction import Redaction
from tidemill.privacy.stores.log_subjects import blank_log, find_in_log
from tidemill.privacy.stores.texts import count_in_text, mask_text
from tidemill.privacy.subject import Subject

HIDE = Pseudonymiser(b"a key of at least 16 bytes").hide
NOON = datetime(2013, 4, 1, 12, tzinfo=UTC)
ADA = Subject(
    {"rider": "ada-lovelace"}, {"rider": HIDE("ada-lovelace")}, {"rider": ("rider", "passenger")}, {}
)


def record(name, instance, keys=None, served_at=NOON):
    return PredictionRecord(
        name, "m", "1", NOON, served_at, "r", instance, {"wind": 1.0}, 0.5, {}, keys=keys or {}
    )


def compacted(root):
    compact(root, "m", Folder(root), Sizes(rows=3, row_group=2, merge=10**9).all_of_it())


AS_LINES_AND_AS_PARTS = pytest.mark.parametrize(
    "store", [lambda root: None, compacted], ids=["lines", "parts"]
)


@AS_LINES_AND_AS_PARTS
def test_the_subject_is_recognised_however_it_was_logged(tmp_path, store):
    log = PredictionLog(tmp_path, "m")
    log.append(
        [
            record("pred_0", {"rider": "ada-lovelace"}),
            record("pred_1", {"trip": {"passenger": HIDE("ada-lovelace")}}),
            record("pred_2", {"name": "Countess"}, {"rider": HIDE("ada-lovelace")}),
            record("pred_3", {"party": [{"rider": "x"}, {"rider": "ada-lovelace"}]}),
            record("pred_4", {"rider": "ada-lovelace-byron", "note": "ada-lovelace"}),
            record("pred_5", {"rider": None, "friend": "ada-lovelace"}),
        ]
    )
    log.append_labels([LabelRecord(f"pred_{number}", 1, NOON, NOON) for number in range(6)])
    log.append_labels(
        [
            LabelRecord(None, 1, NOON, NOON, keys={"rider": HIDE(name)}, predicted_at=NOON)
            for name in ("ada-lovelace", "grace-hopper")
        ]
    )
    log.close()
    store(tmp_path)
    found = find_in_log(tmp_path, ADA)
    assert (found.predictions, found.labels) == (4, 5)
    assert found.prediction_ids == {"pred_0", "pred_1", "pred_2", "pred_3"}
    assert find_in_log(tmp_path, ADA, before=NOON).predictions == 0
    blanked = blank_log(tmp_path, ADA)
    assert (blanked.predictions, blanked.labels) == (4, 5)
    assert blank_log(tmp_path, ADA).predictions == 0
    counts = count_log(tmp_path, "m")
    assert (counts.predictions, counts.labels) == (2, 3)
    left = read_labelled(tmp_path, "m", NOON, NOON + timedelta(days=1), NOON)
    assert left["prediction_id"].to_list() == ["pred_4", "pred_5"]


@AS_LINES_AND_AS_PARTS
def test_numbers_and_accents_are_recognised_too(tmp_path, store):
    log = PredictionLog(tmp_path, "m")
    log.append(
        [record("pred_0", {"id": 7}), record("pred_1", {"id": 77}), record("pred_2", {"id": 'Zoë "Z"'})]
    )
    log.close()
    store(tmp_path)
    for value, left in (("7", 2), ('Zoë "Z"', 1)):
        assert (
            blank_log(tmp_path, Subject({"id": value}, {"id": HIDE(value)}, {"id": ("id",)}, {})).predictions
            == 1
        )
        assert count_log(tmp_path, "m").predictions == left


def test_texts_are_masked_in_place_and_only_whole_words(tmp_path):
    path = tmp_path / "serve.log"
    path.write_text("no features of ada-lovelace; xada-lovelace; ada-lovelace\n")
    assert count_in_text(path, ADA) == 2
    assert mask_text(path, ADA) == 2
    assert path.read_text() == "no features of ************; xada-lovelace; ************\n"
    path.write_text("7 and null")
    for value in ("7", "null"):
        assert count_in_text(path, Subject({"id": value}, {"id": HIDE(value)}, {"id": ("id",)}, {})) == 0


@AS_LINES_AND_AS_PARTS
@pytest.mark.parametrize(
    ("key", "value"), [("version", "1"), ("model", "m"), ("role", "champion"), ("prediction_id", "pred_1")]
)
def test_a_key_may_be_called_like_a_column_of_the_log(tmp_path, store, key, value):
    log = PredictionLog(tmp_path, "m")
    log.append([record("pred_0", {key: value}), record("pred_1", {key: "another"})])
    log.append_labels(
        [
            LabelRecord("pred_0", 1, NOON, NOON),
            LabelRecord("pred_1", 1, NOON, NOON),
            LabelRecord(None, 1, NOON, NOON, keys={key: value}, predicted_at=NOON),
        ]
    )
    log.close()
    store(tmp_path)
    subject = Subject({key: value}, {key: HIDE(value)}, {key: (key,)}, {})
    blanked = blank_log(tmp_path, subject)
    assert (blanked.predictions, blanked.labels) == (1, 2)
    left = read_labelled(tmp_path, "m", NOON, NOON + timedelta(days=1), NOON)
    assert left["prediction_id"].to_list() == ["pred_1"]


@AS_LINES_AND_AS_PARTS
def test_answers_and_text_features_of_the_subject_are_erased(tmp_path, store):
    redaction = Redaction(frozenset({"rider"}), Pseudonymiser(b"a key of at least 16 bytes"))
    ranked = [{"rider": "ada-lovelace", "rank": 1}, {"rider": "grace-hopper", "rank": 2}]
    answers = [{"best": {"rider": "ada-lovelace"}}, ranked, {"rider": "grace-hopper"}, "ada-lovelace", None]
    log = PredictionLog(tmp_path, "m")
    for number, answer in enumerate(answers):
        logged = redaction.answer(None if answer is None else json.dumps(answer))
        log.append([replace(record(f"pred_{number}", {}), answer=logged)])
    log.append([replace(record("pred_5", {}), features={"rider": "ada-lovelace"})])
    log.append_labels([LabelRecord("pred_1", None, NOON, NOON, target='["a"]')])
    log.close()
    store(tmp_path)
    assert find_in_log(tmp_path, ADA).prediction_ids == {"pred_0", "pred_1", "pred_5"}
    assert blank_log(tmp_path, ADA).labels == 1
    assert count_log(tmp_path, "m").predictions == 3
    assert find_in_log(tmp_path, ADA).predictions == 0


def test_personal_fields_of_answers_are_pseudonyms():
    redaction = Redaction(frozenset({"rider"}), Pseudonymiser(b"a key of at least 16 bytes"))
    hidden = json.loads(redaction.answer('[{"rider": "ada-lovelace", "rank": 1}]'))
    assert hidden == [{"rider": HIDE("ada-lovelace"), "rank": 1}]
    assert redaction.answer(None) is None
