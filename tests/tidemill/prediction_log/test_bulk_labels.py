"""Labels of a file are what the project's task takes for one."""

import json
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace

import polars as pl
import pytest

from tests.tidemill.prediction_log.log_records import ALWAYS, NOON, record
from tidemill.clock import SystemClock
from tidemill.errors import DataError
from tidemill.prediction_log import bulk_labels
from tidemill.prediction_log.bulk_labels import import_label_file
from tidemill.prediction_log.prediction_log import PredictionLog, count_log, read_labelled
from tidemill.prediction_log.storage.log_parts import Sizes
from tidemill.prediction_log.storage.log_places import Folder
from tidemill.prediction_log.upkeep.compaction import compact
from tidemill.prediction_log.writing.redaction import NO_REDACTION
from tidemill.tasks.binary import Binary
from tidemill.tasks.custom import Custom
from tidemill.tasks.multiclass import Multiclass
from tidemill.tasks.regression import Regression
from tidemill.tasks.task import Task


@dataclass
class Logged:
    """As much of a project as an import needs: its task, and the place of its log."""

    predictions: Path
    task: Task
    model: str = "m"

    @property
    def config(self) -> SimpleNamespace:
        return SimpleNamespace(
            dataset=SimpleNamespace(label="truth", classes=getattr(self.task, "classes", None))
        )

    @property
    def dataset_path(self) -> Path:
        return self.predictions.parent / "training_set.parquet"


@pytest.fixture
def project(tmp_path, monkeypatch):
    log = PredictionLog(tmp_path / "log", "m")
    log.append([record(f"p{n}", NOON + timedelta(minutes=n), score=2.0, answer="[2]") for n in range(4)])
    log.close()
    monkeypatch.setattr(bulk_labels, "_known_keys", lambda project: ("city",))
    monkeypatch.setattr(bulk_labels, "_redaction", lambda project: NO_REDACTION)
    monkeypatch.setattr(bulk_labels, "open_log", lambda project: PredictionLog(project.predictions, "m"))
    return lambda task: Logged(tmp_path / "log", task)


DECIMALS = [Decimal(text) for text in ("1.50", "-2.00", "0.10", "3.00")]
NAMED = Binary("roc_auc", classes=("no", "yes"))
SEVERAL = Multiclass("accuracy", classes=("1", "2", "storm"))


@pytest.mark.parametrize("kind", ["csv", "parquet", "ndjson"])
@pytest.mark.parametrize(
    ("task", "labels", "truth"),
    [
        (NAMED, ["yes", "no", "yes", "no"], [1, 0, 1, 0]),
        (Binary("roc_auc"), [True, False, True, True], [1, 0, 1, 1]),
        (SEVERAL, ["1", "storm", "2", "2"], [0, 2, 1, 1]),
        (SEVERAL, [1, 2, 2, 1], [0, 1, 1, 0]),
        (Regression("neg_mae"), [1.5, -2.0, 0.1, 3.0], [1.5, -2.0, 0.1, 3.0]),
        (Custom("m:f"), ["a", "b", "c", "a"], ["a", "b", "c", "a"]),
    ],
    ids=["named", "truth values", "several", "numbered", "regression", "custom"],
)
def test_labels_are_logged_by_task(project, tmp_path, kind, task, labels, truth):
    rows = pl.DataFrame(
        {"prediction_id": [f"p{n}" for n in range(4)], "label": labels, "at": ["2013-04-02T12:00Z"] * 4}
    )
    file = tmp_path / f"labels.{kind}"
    {"csv": rows.write_csv, "parquet": rows.write_parquet, "ndjson": rows.write_ndjson}[kind](file)
    done = import_label_file(project(task), file, SystemClock())
    assert done.labels == 4
    found = read_labelled(tmp_path / "log", "m", *ALWAYS, ALWAYS[1])
    assert task.truth_of_log(found).tolist() == truth


@pytest.mark.parametrize(
    ("task", "labels", "truth"),
    [
        (Regression("neg_mae"), DECIMALS, [1.5, -2.0, 0.1, 3.0]),
        (SEVERAL, [Decimal("1.00"), Decimal(2), Decimal("2.00"), Decimal(1)], [0, 1, 1, 0]),
        (Custom("m:f"), DECIMALS, [1.5, -2.0, 0.1, 3.0]),
        (Custom("m:f"), [[one] for one in DECIMALS], [[1.5], [-2.0], [0.1], [3.0]]),
    ],
    ids=["regression", "several", "custom", "lists"],
)
def test_labels_may_be_decimals(project, tmp_path, task, labels, truth):
    rows = pl.DataFrame({"prediction_id": [f"p{n}" for n in range(4)], "label": labels})
    rows.write_parquet(tmp_path / "labels.parquet")
    assert import_label_file(project(task), tmp_path / "labels.parquet", SystemClock()).labels == 4
    found = read_labelled(tmp_path / "log", "m", *ALWAYS, SystemClock().now())
    assert task.truth_of_log(found).tolist() == truth


def test_labels_from_the_future_are_refused_whole(project, tmp_path):
    file = tmp_path / "labels.csv"
    file.write_text("prediction_id,label,at\np0,1,2013-04-02T12:00Z\np1,1,2099-01-01T00:00Z\n")
    with pytest.raises(
        DataError, match=r"row 2: at 2099-.*, when the label became known, lies in the future"
    ):
        import_label_file(project(Binary("roc_auc")), file, SystemClock(), lambda: pytest.fail("too late"))


@pytest.mark.parametrize("compacted", [False, True])
def test_labels_that_match_no_prediction_are_counted(project, tmp_path, compacted):
    """Also those of an earlier day, by id, and those of another moment, by keys."""
    log = PredictionLog(tmp_path / "log", "m")
    log.append([record("early", NOON - timedelta(days=3), keys={"city": "Oslo"})])
    log.close()
    if compacted:
        compact(tmp_path / "log", "m", Folder(tmp_path / "log"), Sizes().all_of_it())
    file = tmp_path / "labels.csv"
    file.write_text("prediction_id,label\np0,1\nearly,0\nlost,1\n")
    assert import_label_file(project(Binary("roc_auc")), file, SystemClock()).unmatched == 1
    then = NOON - timedelta(days=3)
    rows = [(then, "Oslo"), (then, "Rome"), (NOON, "Oslo")]
    lines = [f"{at.isoformat()},{city},1" for at, city in rows]
    file.write_text("\n".join(["predicted_at,city,label", *lines]))
    assert import_label_file(project(Binary("roc_auc")), file, SystemClock()).unmatched == 2


def test_a_custom_label_may_be_a_list(project, tmp_path):
    pl.DataFrame({"prediction_id": ["p0"], "label": [["a", "b"]]}).write_parquet(tmp_path / "labels.parquet")
    task = Custom("m:f")
    import_label_file(project(task), tmp_path / "labels.parquet", SystemClock())
    found = read_labelled(tmp_path / "log", "m", *ALWAYS, SystemClock().now())
    assert task.truth_of_log(found).tolist() == [["a", "b"]]


@pytest.mark.parametrize(
    ("trained", "truth"),
    [
        (["4", "x"], ["4", "2024-01-01", '["c"]']),
        ([["a"], ["b"]], [["c"], ["d"]]),
        ([1.0, 2.0], [4, 0.5]),
    ],
    ids=["text", "lists", "numbers"],
)
def test_custom_labels_in_csv_are_of_the_type_that_they_had_in_training(project, tmp_path, trained, truth):
    pl.DataFrame({"truth": trained}).write_parquet(tmp_path / "training_set.parquet")
    cells = [one if isinstance(one, str) else json.dumps(one) for one in truth]
    rows = {"prediction_id": [f"p{n}" for n in range(len(truth))], "label": cells}
    pl.DataFrame(rows).write_csv(tmp_path / "labels.csv")
    import_label_file(project(Custom("m:f")), tmp_path / "labels.csv", SystemClock())
    found = read_labelled(tmp_path / "log", "m", *ALWAYS, SystemClock().now())
    assert Custom("m:f").truth_of_log(found).tolist() == truth
    if not isinstance(truth[0], str):
        (tmp_path / "labels.csv").write_text("prediction_id,label\np0,many\n")
        with pytest.raises(DataError, match=r"1 of 1 label is not any value, as JSON: 'many' \(1\)"):
            import_label_file(project(Custom("m:f")), tmp_path / "labels.csv", SystemClock())


@pytest.mark.parametrize(
    ("task", "labels", "message"),
    [
        (
            NAMED,
            ["yes", "maybe", "1"],
            "2 of 3 labels are not no or yes: 'maybe' (1), '1' (1); the first",
        ),
        (SEVERAL, ["storm", "gale", "2"], "1 of 3 labels is not one of 1, 2, storm: 'gale' (1)"),
        (Regression("neg_mae"), ["1.5", "many", "inf"], "2 of 3 labels are not a finite number: 'many' (1)"),
        (Custom("m:f"), [None, None, None], "labels.parquet has no label in any of its 3 rows"),
    ],
    ids=["named", "several", "regression", "blank"],
)
def test_labels_of_another_task_are_refused_whole(project, tmp_path, task, labels, message):
    file = tmp_path / "labels.parquet"
    pl.DataFrame({"prediction_id": ["p0", "p1", "p2"], "label": labels}).write_parquet(file)
    with pytest.raises(DataError) as refused:
        import_label_file(project(task), file, SystemClock())
    assert message in str(refused.value)
    assert count_log(tmp_path / "log", "m").labels == 0


@pytest.mark.parametrize("kind", ["csv", "parquet", "ndjson"])
@pytest.mark.parametrize("batch", [2, 9])
def test_rows_without_a_label_are_set_aside_and_counted(project, tmp_path, monkeypatch, kind, batch):
    monkeypatch.setattr(bulk_labels, "_ROWS", batch)
    labels = ["storm", None, " ", "1", "", "2"]
    rows = pl.DataFrame({"prediction_id": ["p0", "p1", "p1", "p2", "p1", "p3"], "label": labels})
    file = tmp_path / f"labels.{kind}"
    {"csv": rows.write_csv, "parquet": rows.write_parquet, "ndjson": rows.write_ndjson}[kind](file)
    done = import_label_file(project(SEVERAL), file, SystemClock())
    assert (done.labels, done.blank, done.unmatched) == (3, 3, 0)
    found = read_labelled(tmp_path / "log", "m", *ALWAYS, SystemClock().now())
    assert SEVERAL.truth_of_log(found).tolist() == [2, 0, 1]


@pytest.mark.parametrize(
    ("task", "labels"),
    [
        (Multiclass("accuracy", classes=("MALE", "FEMALE")), ["MALE", "N/A", "NA", "?"]),
        (Regression("mae"), ["1.5", "n/a", "NA", "-"]),
    ],
)
def test_what_means_a_gap_in_training_is_no_label(project, tmp_path, task, labels):
    rows = {"prediction_id": [f"p{n}" for n in range(4)], "label": labels}
    pl.DataFrame(rows).write_csv(tmp_path / "labels.csv")
    done = import_label_file(project(task), tmp_path / "labels.csv", SystemClock())
    assert (done.labels, done.blank) == (1, 3)


@pytest.mark.parametrize("kind", ["csv", "parquet", "ndjson"])
@pytest.mark.parametrize("batch", [2, 9])
def test_rows_that_name_no_prediction_are_set_aside_and_counted(project, tmp_path, monkeypatch, kind, batch):
    monkeypatch.setattr(bulk_labels, "_ROWS", batch)
    names, labels = ["p0", None, " ", "p3", None], ["storm", "1", "2", "2", None]
    file = tmp_path / f"labels.{kind}"
    for name, rest in (("prediction_id", {}), ("predicted_at", {"city": ["Oslo"] * 5})):
        given = names if not rest else [None if not one or one == " " else NOON.isoformat() for one in names]
        rows = pl.DataFrame({name: given, **rest, "label": labels})
        {"csv": rows.write_csv, "parquet": rows.write_parquet, "ndjson": rows.write_ndjson}[kind](file)
        done = import_label_file(project(SEVERAL), file, SystemClock())
        assert (done.labels, done.blank, done.unnamed) == (2, 1, 2)
        nameless = rows.with_columns(pl.lit(None, pl.String).alias(name))
        nameless.write_parquet(tmp_path / "nameless.parquet")
        with pytest.raises(DataError, match=f"nameless.parquet has no {name} in any row with a label"):
            import_label_file(project(SEVERAL), tmp_path / "nameless.parquet", SystemClock())
    found = read_labelled(tmp_path / "log", "m", *ALWAYS, SystemClock().now())
    assert SEVERAL.truth_of_log(found.filter(pl.col("prediction_id") == "p0")).tolist() == [2]


def test_a_blank_is_no_label_of_a_custom_task_but_empty_text_is_one(project, tmp_path):
    with pytest.raises(ValueError, match="must be a JSON value other than null"):
        Custom("m:f").label_given(None)
    rows = pl.DataFrame({"prediction_id": ["p0", "p1"], "label": ["", None]})
    rows.write_parquet(tmp_path / "labels.parquet")
    done = import_label_file(project(Custom("m:f")), tmp_path / "labels.parquet", SystemClock())
    assert (done.labels, done.blank) == (1, 1)


@pytest.mark.parametrize(
    ("trained", "given", "truth"),
    [
        (date(2024, 1, 1), "2024-02-29", "2024-02-29"),
        (NOON, "2024-02-29T08:00Z", "2024-02-29T08:00:00+00:00"),
        (NOON, "2024-02-29", "2024-02-29T00:00:00+00:00"),
        (None, "2024-02-29", "2024-02-29"),
    ],
)
@pytest.mark.parametrize("kind", ["csv", "ndjson", "parquet"])
def test_custom_labels_that_are_dates_are_text_as_in_training(project, tmp_path, trained, given, truth, kind):
    if trained is not None:
        pl.DataFrame({"truth": [trained]}).write_parquet(tmp_path / "training_set.parquet")
    file, rows = tmp_path / f"labels.{kind}", pl.DataFrame({"prediction_id": ["p0"], "label": [given]})
    {"csv": rows.write_csv, "parquet": rows.write_parquet, "ndjson": rows.write_ndjson}[kind](file)
    import_label_file(project(Custom("m:f")), file, SystemClock())
    found = read_labelled(tmp_path / "log", "m", *ALWAYS, SystemClock().now())
    assert Custom("m:f").truth_of_log(found).tolist() == [truth]
    if trained is not None:
        (tmp_path / "labels.csv").write_text("prediction_id,label\np0,soon\n")
        with pytest.raises(DataError, match=r"1 of 1 label is not (dates|moments) .*: 'soon' \(1\)"):
            import_label_file(project(Custom("m:f")), tmp_path / "labels.csv", SystemClock())


def test_custom_labels_that_are_dates_in_parquet(project, tmp_path):
    rows = pl.DataFrame({"prediction_id": ["p0", "p1"], "label": [date(2024, 1, 1), date(2024, 2, 29)]})
    rows.write_parquet(tmp_path / "labels.parquet")
    import_label_file(project(Custom("m:f")), tmp_path / "labels.parquet", SystemClock())
    found = read_labelled(tmp_path / "log", "m", *ALWAYS, SystemClock().now())
    assert sorted(Custom("m:f").truth_of_log(found)) == ["2024-01-01", "2024-02-29"]
