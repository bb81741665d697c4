from dataclasses import asdict
from datetime import UTC, datetime

from tidemill.monitoring.findings import Judged
from tidemill.monitoring.measured_figures import measured
from tidemill.monitoring.monitor_results import title_of
from tidemill.monitoring.quality.estimated_quality import EstimatedQuality
from tidemill.state.tables import MonitorRun

ESTIMATED = EstimatedQuality("neg_mae", 900, -11.25, -12.5, -10.75, -10.0, 1.0, 0.0, None, False)
DRIFT = {
    "columns": [
        {"name": "city", "value": None, "threshold": 0.1},
        {"name": "wind", "value": 0.5234, "threshold": 0.1},
        {"name": "rain", "value": 0.2, "threshold": 0.1},
    ]
}
RESULTS = {
    "quality": {"metric": "pipelines.forecast:closeness", "value": 0.5, "expected": None},
    "estimated_quality": asdict(ESTIMATED),
    "data_drift": DRIFT,
    "prediction_drift": {"name": "prediction", "value": 0.04, "threshold": 0.1},
    "class_drift": None,
    "unjudged": {"feature_skew": "no row can be compared"},
}
SAID = {
    "quality": "closeness 0.5000",
    "estimated quality": "mae 11.2500 (10.7500 to 12.5000); 10.0000 on the hold-out",
    "largest drift": "wind 0.523 (drifted from 0.1)",
    "drift of answers": "prediction 0.04 (alert at 0.1)",
    "not judged": "feature skew: no row can be compared",
}


def test_each_figure_of_a_run_is_said():
    assert measured(RESULTS) == SAID


def test_a_distance_that_chance_alone_may_bring_is_said_to_be_one():
    wind = {"name": "wind", "value": 0.16, "threshold": 0.1, "drifted": False}
    said = measured({"data_drift": {"columns": [wind]}, "prediction_drift": {**wind, "name": "score"}})
    assert said["largest drift"] == "wind 0.16 (drifted from 0.1), within chance"
    assert said["drift of answers"] == "score 0.16 (alert at 0.1), within chance"
    told = measured({"prediction_drift": {**wind, "drifted": True}})["drift of answers"]
    assert told == "wind 0.16 (alert at 0.1)"


def test_a_run_that_judged_nothing_has_no_figures():
    assert measured({"rows_by_version": {}, "min_rows": 500}) == {}
    nothing = {"metric": "roc_auc", "value": None, "expected": 0.7}
    assert measured({"quality": nothing, "data_drift": None, "prediction_drift": None}) == {}


def test_close_numbers_are_told_apart():
    close = {"metric": "roc_auc", "value": 0.75, "expected": 0.750004}
    assert measured({"quality": close}) == {"quality": "roc_auc 0.750000; 0.750004 on the hold-out"}


def test_the_title_of_a_report_has_the_figures():
    at = datetime(2024, 3, 1, tzinfo=UTC)
    run = MonitorRun(
        monitor="weekly", model="delay", version="2", window_start=at, window_end=at, rows=900, labelled=0,
        results=RESULTS,
    )  # fmt: skip
    lines = title_of(run, 900, {"quality": Judged(notes=("Two labels do not count.",))}).split("\n\n")
    assert {f"{name.capitalize()}: {said}." for name, said in SAID.items()} <= set(lines)
    assert lines[-1] == "Two labels do not count."
