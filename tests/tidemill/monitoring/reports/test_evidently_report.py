import re
import socket
from dataclasses import replace
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
import polars.selectors as cs
import pytest

from tidemill.errors import MonitoringError
from tidemill.monitoring.drift.answer_drift import values_of
from tidemill.monitoring.drift.drift_columns import (
    ColumnDrift,
    Comparison,
    compare,
    compare_categories,
    compare_lists,
    compare_scores,
)
from tidemill.monitoring.kind_sections import DataDriftConfig, PredictionDriftConfig
from tidemill.tasks.binary import Binary
from tidemill.tasks.custom import Custom
from tidemill.tasks.multiclass import Multiclass
from tidemill.tasks.regression import Regression
from tidemill.tasks.task import Task

if TYPE_CHECKING:
    from tidemill.monitoring.reports.evidently_report import ReportedQuality

pytestmark = pytest.mark.engine

FEATURES = ("wind", "rain", "carrier", "weekday", "always")
FEATURES_DRIFT, SCORES_DRIFT = DataDriftConfig(), PredictionDriftConfig()


@cache
def reports() -> ModuleType:
    """Import Evidently, which takes seconds, in the worker that has these tests."""
    from tidemill.monitoring.reports import evidently_report

    return evidently_report


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch):
    def refuse(*_args: object, **_kwargs: object) -> None:
        raise AssertionError("Evidently wanted the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


def rows(count: int, seed: int, wind: float = 0.0) -> pl.DataFrame:
    random = np.random.default_rng(seed)
    score = random.beta(2, 6, count)
    return pl.DataFrame(
        {
            "wind": random.normal(10 + wind, 4, count),
            "rain": random.gamma(0.5, 1.0, count),
            "carrier": random.choice(["UA", "B6", "EV"], count, p=[0.4, 0.4, 0.2]),
            "weekday": random.integers(0, 7, count),
            "always": np.ones(count),
            "score": score,
            "label": (random.random(count) < score).astype(np.int64),
        }
    )


def quality_of(frame: pl.DataFrame) -> "ReportedQuality | None":
    return reports().reported_quality(Binary("roc_auc"), frame.with_columns(target=pl.lit(None, pl.String)))


def look(
    reference: pl.DataFrame,
    current: pl.DataFrame,
    path: Path,
    *,
    features: tuple[str, ...] = FEATURES,
    data_drift: DataDriftConfig | None = FEATURES_DRIFT,
    prediction_drift: PredictionDriftConfig | None = SCORES_DRIFT,
    labelled: "ReportedQuality | None" = None,
) -> Comparison:
    """Compare two windows, and write the report."""
    before, now = (frame.select(cs.by_name(*features, require_all=False)) for frame in (reference, current))
    versions = pl.Series(["1"] * now.height)
    found = Comparison(
        compare(before, now, data_drift, versions, "1") if data_drift is not None else (),
        compare_scores(reference["score"], current["score"], prediction_drift.threshold)
        if prediction_drift is not None
        else None,
        reference.height,
        current.height,
    )
    scores = reference["score"], current["score"]
    sides = map(reports().ReportedComparison, (before, now), scores)
    reports().write_report(path, "# A window", found, *sides, labelled)
    return found


def column(comparison: Comparison, name: str) -> ColumnDrift:
    return next(each for each in comparison.columns if each.name == name)


def test_without_drift_none_is_found(tmp_path: Path):
    found = look(rows(4000, 1), rows(3000, 2), tmp_path / "r.html")
    assert found.drifted == ()
    assert not found.prediction.drifted
    assert [each.name for each in found.columns] == list(FEATURES)
    assert all(each.value is not None and each.value < 0.06 for each in found.columns)


def test_a_planted_shift_is_found_named_and_measured(tmp_path: Path):
    found = look(rows(4000, 1), rows(3000, 2, wind=2.0), tmp_path / "r.html")
    assert found.drifted == ("wind",)
    assert found.share == pytest.approx(1 / 5)
    wind = column(found, "wind")
    assert wind.value == pytest.approx(2.0 / 4, abs=0.08), "in standard deviations of the reference"
    assert wind.current_mean - wind.reference_mean == pytest.approx(2.0, abs=0.2)


def test_a_new_category_and_new_scores_are_found(tmp_path: Path):
    now = rows(3000, 2).with_columns(
        carrier=pl.when(pl.int_range(pl.len()) % 4 == 0).then(pl.lit("ZZ")).otherwise("carrier"),
        score=pl.col("score") + 0.1,
    )
    found = look(rows(4000, 1), now, tmp_path / "r.html")
    assert found.drifted == ("carrier",)
    assert found.prediction.drifted


def test_scores_that_are_no_numbers_count_as_missing(tmp_path: Path):
    now = rows(3000, 2).with_columns(score=pl.when(pl.int_range(pl.len()) < 1000).then("score"))
    score = look(rows(4000, 1), now, tmp_path / "r.html").prediction
    assert score.value == pytest.approx(0.0, abs=0.06)
    assert score.note == "missing: 0.0% before, 66.7% now"
    assert score.drifted


def test_odd_columns_are_reported_and_nothing_breaks(tmp_path: Path):
    before = rows(2000, 1).with_columns(
        gone=pl.lit(1.0),
        never=pl.lit(None),
        dried_up=pl.col("wind"),
        fixed=pl.lit(3.0),
        switched=pl.col("wind"),
    )
    now = rows(1000, 2).with_columns(
        new=pl.lit(1.0),
        never=pl.lit(None),
        dried_up=pl.lit(None),
        fixed=pl.lit(4.0),
        switched=pl.lit("text"),
        always=pl.lit(float("nan")),
    )
    names = ("always", "gone", "new", "never", "dried_up", "fixed", "switched")
    found = look(before, now, tmp_path / "r.html", features=names)
    assert {each.name: (each.drifted, each.value is None) for each in found.columns} == {
        "always": (True, True),
        "gone": (True, True),
        "never": (False, True),
        "dried_up": (True, True),
        "fixed": (True, False),
        "switched": (True, True),
    }


def test_nothing_that_can_be_compared_is_no_error(tmp_path: Path):
    path = tmp_path / "r.html"
    before = rows(100, 1).with_columns(gone=1.0)
    found = look(before, rows(100, 2), path, features=("gone",), prediction_drift=None)
    assert found.columns[0].note == "not in the window"
    assert path.exists()
    nothing = look(rows(100, 1), rows(100, 2), path, data_drift=None, prediction_drift=None)
    assert (nothing.columns, nothing.prediction) == ((), None)


def test_excluded_features_are_not_looked_at(tmp_path: Path):
    config = DataDriftConfig(exclude=("wind",))
    found = look(rows(4000, 1), rows(3000, 2, wind=9.0), tmp_path / "r.html", data_drift=config)
    assert found.drifted == ()
    assert "wind" not in [each.name for each in found.columns]


def test_columns_in_small_and_large_units_are_drawn_as_well(tmp_path: Path):
    before, now = rows(1000, 1), rows(1000, 2, wind=12.0)

    def units(frame: pl.DataFrame) -> pl.DataFrame:
        return frame.with_columns(
            tiny=pl.col("wind") * 1e-6,
            far=pl.col("wind") + 1e15,
            fixed=pl.lit(1e15),
            wide=pl.col("wind") * 1e300,
            score=pl.col("score") * 1e-5,
        )

    path = tmp_path / "r.html"
    found = look(units(before), units(now), path, features=("tiny", "far", "fixed", "wide"))
    assert {each.name: round(each.value) for each in found.columns} == {
        "tiny": 3, "far": 3, "fixed": 0, "wide": 3
    }  # fmt: skip
    html = path.read_text(encoding="utf-8")
    assert "cannot be drawn" not in html
    assert "in standard deviations from the reference" in html


@pytest.mark.parametrize("name", ["score", "label", "target", "prediction", "id", "timestamp", "index"])
def test_a_feature_may_be_called_like_something_of_evidently_or_ours(tmp_path: Path, name: str):
    before, now = (frame.select("score", "label", wind="wind") for frame in (rows(600, 1), rows(600, 2)))
    wind = {name: pl.col("wind")}
    sides = [(frame.select(**wind), frame["score"]) for frame in (before, now)]
    columns = compare(sides[0][0], sides[1][0], FEATURES_DRIFT, pl.Series(["1"] * 600), "1")
    found = Comparison(columns, compare_scores(before["score"], now["score"], 0.1), 600, 600)
    path = tmp_path / "r.html"
    reports().write_report(
        path,
        "# A window",
        found,
        *(reports().ReportedComparison(*side) for side in sides),
        quality_of(now),
    )
    assert "cannot be drawn" not in path.read_text(encoding="utf-8")
    assert [each.name for each in found.columns] == [name]


def test_many_rows_are_sampled_for_the_drawing(tmp_path: Path):
    before, now = rows(reports().MAX_ROWS + 5000, 1), rows(reports().MAX_ROWS + 1, 2)
    found = look(before, now, tmp_path / "a.html", features=("wind",))
    assert (found.reference_rows, found.current_rows) == (reports().MAX_ROWS + 5000, reports().MAX_ROWS + 1)
    assert (tmp_path / "a.html").exists()


def test_the_report_can_be_read_offline(tmp_path: Path):
    path = tmp_path / "a" / "b" / "r.html"
    now = rows(1000, 2, wind=5.0).with_columns(carrier=pl.lit("</script><script>alert(1)</script>"))
    look(rows(1000, 1), now, path, labelled=quality_of(now))
    html = path.read_text(encoding="utf-8")
    loaded = re.findall(r"<(?:script|link|img|iframe)\b[^>]*\b(?:src|href)\s*=", html)
    assert not loaded, "scripts, styles and pictures are in the file itself"
    assert not re.search(r"url\(\s*['\"]?https?:", html)
    assert "A window" in html
    assert "alert(1)" not in html, "what somebody sent in a request is not in it"
    assert [each.name for each in path.parent.iterdir()] == ["r.html"]


def test_an_unwritable_folder_is_named(tmp_path: Path):
    (tmp_path / "file").write_text("")
    with pytest.raises(MonitoringError, match=r"the report cannot be written: .*file/r\.html"):
        look(rows(100, 1), rows(100, 2), tmp_path / "file" / "r.html", features=("always",))


@pytest.mark.parametrize(
    ("task", "answers", "labels"),
    [
        (Regression("neg_mae"), np.linspace(0, 9, 60), [float(n % 9) for n in range(60)]),
        (
            Multiclass("accuracy", classes=("a", "</script>", "c")),
            np.eye(3)[np.arange(60) % 3] * 0.7 + 0.1,
            ["a", "</script>", "c", "a"] * 15,
        ),
    ],
    ids=["regression", "multiclass"],
)
def test_quality_and_classes_of_other_tasks_are_drawn(tmp_path: Path, task: Task, answers, labels):
    log = pl.DataFrame(
        {
            "score": task.scores(answers),
            "answer": pl.Series([task.logged(one) for one in answers], dtype=pl.String),
            "label": pl.Series([None] * 60, dtype=pl.Int64),
            "target": [task.label_given(one)[1] for one in labels],
        }
    )
    classes = task.categories(answers)
    found = Comparison((), compare_scores(log["score"], log["score"], 0.1), 60, 60)
    if classes is not None:
        found = replace(found, categories=compare_categories(classes, classes.shift(1).fill_null("a"), 0.1))
    sides = [reports().ReportedComparison(pl.DataFrame(), log["score"], classes)] * 2
    path = tmp_path / "r.html"
    reports().write_report(path, "# A window", found, *sides, reports().reported_quality(task, log))
    html = path.read_text(encoding="utf-8")
    assert "cannot be drawn" not in html
    assert "Quality of the predictions whose labels are known" in html
    assert ("the predicted classes" in html) == (task.kind == "multiclass")


def test_custom_answers_and_single_classes_have_no_section_on_quality():
    empty = pl.DataFrame({"score": [0.5], "answer": ['"a"'], "label": [1], "target": ['"a"']})
    assert reports().reported_quality(Custom("m:f"), empty) is None
    assert (
        reports().reported_quality(Binary("roc_auc"), empty.with_columns(target=pl.lit(None, pl.String)))
        is None
    )


def test_answers_that_are_lists_are_drawn_by_their_norms(tmp_path: Path):
    texts = pl.Series([f"[{n % 30}.5, {n % 7}]" for n in range(200)])
    unscored = pl.Series([None] * 200, dtype=pl.Float64)
    values = values_of(unscored, texts)
    found = Comparison((), compare_lists(values, values, 0.1), 200, 200)
    sides = [reports().ReportedComparison(pl.DataFrame(), values)] * 2
    reports().write_report(tmp_path / "r.html", "# A window", found, *sides, None)
    assert "cannot be drawn" not in (tmp_path / "r.html").read_text(encoding="utf-8")
    assert values_of(unscored, pl.Series(['"text"'] * 200)) is unscored
