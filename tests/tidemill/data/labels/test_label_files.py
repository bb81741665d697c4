"""Label files that are cut off, or say something else than they seem to, are refused or read right."""

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from tests.tidemill.data.labels.test_labels_as_of import NOW, minimal
from tidemill.data.labels.annotation_checks import LabelRequest
from tidemill.data.labels.label_files import read_labels
from tidemill.data.labels.label_import import import_labels
from tidemill.data.labels.label_types import cast_like, moment, typed
from tidemill.errors import DataError, UsageError
from tidemill.project import Project

ROWS = [{"flight": 1, "label": "late"}, {"flight": 2, "label": "on time"}]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (json.dumps(ROWS)[:-1], r"its list does not end: \] is missing after row 2"),
        (json.dumps(ROWS)[:-2], r"row 2 is cut off or no JSON"),
        (json.dumps(ROWS[:1])[:-1] + ",", r".*\] is missing after row 1"),
        ("[", r".*\] is missing after row 0"),
        (json.dumps(ROWS) + json.dumps(ROWS), "there is text after the end of its list, after row 2"),
        ('[{"flight": 1, "label": 1}, 2]', "row 2 is not an object"),
        ('{"flight": 1, "label": 1}\n{"flight": 2, "la', "row 2 is cut off or no JSON"),
        ("{}", "row 1 has no fields"),
        ("[{}]", "row 1 has no fields"),
        ('[{"flight": 1, "label": 1}, {}]', "row 2 has no fields"),
        (
            '{"flight": 1, "label": 1}\n{"flight": 1, "label": 1, "flight": 2}',
            "row 2 has two fields 'flight'",
        ),
        ('[{"flight": 1, "label": ' + "[" * 20_000, "row 1 is nested too deeply"),
        (
            '[{"flight": "\\ud83d\\ude00", "label": 1}, {"flight": "\\ud83d", "label": 1}]',
            "row 2 has text with half",
        ),
    ],
)
def test_a_file_that_is_cut_off_is_refused(tmp_path: Path, text: str, words: str):
    (tmp_path / "labels.json").write_text(text)
    with pytest.raises(DataError, match=rf"labels\.json cannot be read: {words}"):
        read_labels(tmp_path / "labels.json", ["flight"], None, None)


LATE: dict[str, Any] = {"from_name": "delay", "type": "choices", "value": {"choices": ["late"]}}


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"data": [1]}, "data is not an object"),
        ({"data": "7"}, "data is not an object"),
        ({"annotations": "late"}, "annotations is not a list of objects"),
        ({"annotations": [None]}, "annotations is not a list of objects"),
        ({"annotations": {"id": 1}}, "annotations is not a list of objects"),
        ({"annotations": [{"result": 5}]}, "result of annotation 1 is not a list of objects"),
        ({"annotations": [{"result": []}, {"result": ["from_name value"]}]}, "result of annotation 2"),
        (
            {"annotations": [{"result": [{**LATE, "value": "late"}]}]},
            "a result of annotation 1 has no from_name",
        ),
        (
            {"annotations": [{"result": [{**LATE, "from_name": None}]}]},
            "a result of annotation 1 has no from_name",
        ),
    ],
)
def test_what_only_looks_like_a_task_is_refused(tmp_path: Path, changed: dict[str, Any], words: str):
    good = {"id": 7, "data": {"flight": 7}, "annotations": [{"id": 1, "result": [LATE]}]}
    (tmp_path / "tasks.json").write_text(json.dumps([good, {**good, **changed}]))
    with pytest.raises(DataError, match=f"row 2 is no task of Label Studio: {words}"):
        read_labels(tmp_path / "tasks.json", ["flight"], None, None)


def test_values_may_be_separated_by_semicolons(tmp_path: Path):
    (tmp_path / "labels.csv").write_text('"flight, of the day";label\n007;late\n')
    found = read_labels(tmp_path / "labels.csv", ["flight, of the day"], "label", None)
    assert [(row["key"], row["label"]) for row in found.rows] == [(("007",), "late")]


def test_the_label_is_sought_in_all_rows(tmp_path: Path):
    rows = [{name: value for name, value in row.items() if value is not None} for row in minimal()]
    rows.sort(key=lambda row: "late" in row)
    assert "late" not in rows[0]  # JSON-MIN leaves out what has no value
    path = tmp_path / "min.json"
    path.write_text(json.dumps(rows))
    with pytest.raises(UsageError, match=r"no column is known to be the label: it has text, late"):
        read_labels(path, ["flight"], None, None)
    for row in rows:
        del row["text"]
    path.write_text(json.dumps(rows))
    found = read_labels(path, ["flight"], None, None)
    assert {row["label"] for row in found.rows} == {"late", "on time"}
    assert found.unlabelled == 1


@pytest.mark.parametrize(("key", "known"), [("flite", None), ("flight", "since"), ("flight", "1387552500")])
def test_a_field_that_no_row_has_is_named(tmp_path: Path, key: str, known: str | None):
    (tmp_path / "labels.json").write_text(json.dumps(ROWS))
    with pytest.raises(UsageError, match=rf"has no field {known or key}: it has flight, label"):
        read_labels(tmp_path / "labels.json", [key], None, known)


@pytest.mark.parametrize("value", [1701012312345, "1701012312345", "1387552500", 1.5, "0001-01-01", "soon"])
def test_numbers_are_no_moments(tmp_path: Path, value: Any):
    assert moment(value) is None
    path = tmp_path / "labels.json"
    path.write_text(json.dumps([*ROWS, {"flight": 3, "label": "late", "labelled_at": value}]))
    with pytest.raises(DataError) as caught:
        import_labels(_project(tmp_path), LabelRequest(path, ("flight",)), NOW)
    assert f"no moment of the label such as 2013-04-01T06:00:00Z: row 3 ({value})" in str(caught.value)


def test_a_key_that_is_a_number_and_should_be_a_moment_is_named(tmp_path: Path):
    path = tmp_path / "labels.csv"
    path.write_text("at,label\n1701012312345,late\n2013-04-01T06:00+05:30,late\n")
    with pytest.raises(DataError, match=r"at is not a moment such as 2013.*: row 1 \(1701012312345\)"):
        import_labels(_project(tmp_path), LabelRequest(path, ("at",), time="at"), NOW)


def test_what_is_no_label_is_counted(tmp_path: Path):
    values = [0, 1, 2, -1, 0.5, "1", None, "", " ", float("nan")]
    path = tmp_path / "labels.json"
    path.write_text(json.dumps([{"flight": n, "label": value} for n, value in enumerate(values)]))
    found = read_labels(path, ["flight"], None, None)
    assert [row["label"] for row in found.rows] == values[:6]
    assert found.unlabelled == 4


def test_a_file_in_another_encoding_is_told_without_the_words_of_a_codec(tmp_path: Path):
    for name, text in (("t.csv", "id,label\né,1\n"), ("t.json", '[{"id": "é", "label": 1}]')):
        (tmp_path / name).write_bytes(text.encode("latin-1"))
        with pytest.raises(DataError, match=f"{name} cannot be read: it is not in UTF-8$"):
            read_labels(tmp_path / name, ["id"], None, None)


@pytest.mark.parametrize("suffix", [".csv", ".json"])
def test_not_a_number_is_neither_a_key_nor_a_label(tmp_path: Path, suffix: str):
    path = tmp_path / f"labels{suffix}"
    if suffix == ".csv":
        path.write_text("flight,label\nNaN,late\n2,nan\n3,late\n")
    else:
        path.write_text('[{"flight": NaN, "label": "late"}, {"flight": 2, "label": "nan"}]')
    with pytest.raises(DataError) as caught:
        import_labels(_project(tmp_path), LabelRequest(path, ("flight",)), NOW)
    assert "no flight: row 1 (1 in all)" in str(caught.value)
    assert "the label is nan, not a number" in str(caught.value)
    assert "none: row 2 (1 in all)" in str(caught.value)


def test_no_digit_of_a_key_is_lost():
    big = "18446744073709551616"
    assert typed("id", ["1234567890123456789", "1"]).to_list() == [1234567890123456789, 1]
    assert typed("id", [big, "1"]).to_list() == [big, "1"]
    assert typed("id", [int(big), 1]).to_list() == [big, "1"]
    assert typed("id", [1234567890123456789, 0.5]).to_list() == ["1234567890123456789", "0.5"]
    assert cast_like("id", ["0150", "1.50", "12"], pl.String()).to_list() == ["0150", "1.50", "12"]
    assert cast_like("id", [big, "7"], pl.UInt64()).to_list() == [None, 7]


def _project(root: Path) -> Project:
    """Return a project that is never asked for anything: these imports fail before."""
    return Project.__new__(Project)
