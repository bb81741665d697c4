from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from tidemill.alerting.alert_actions import mark_as_noise
from tidemill.monitoring.monitor_config import Monitor
from tidemill.monitoring.noise_feedback import (
    NoiseMark,
    is_noise,
    marks_of,
    noise_spans,
    proposals_of,
    raised,
    with_noise,
)
from tidemill.state import open_state
from tidemill.state.tables import Alert, MonitorRun

DAY = timedelta(days=1)
START = datetime(2013, 4, 1, tzinfo=UTC)
RULES = {
    "share": 0.01,
    "rules": [{"share": 0.02, "in_training": None}, {"share": 0.3, "in_training": 0.3}, {"share": 0.0}],
}
SECTIONS = {
    "health": {},
    "data_quality": {},
    "data_drift": {},
    "prediction_drift": {},
    "quality": {},
    "feature_skew": {},
}


def monitor(**given: Any) -> Monitor:
    return Monitor.model_validate({"name": "weekly", "window": "14d", "every": "7d", **SECTIONS, **given})


def drifted(name: str, value: float | None, threshold: float = 0.1, broken: str | None = None) -> dict:
    return {"name": name, "value": value, "threshold": threshold, "drifted": True, "broken": broken}


def data(*columns: dict) -> dict[str, Any]:
    return {"data_drift": {"columns": list(columns)}}


SKEW = {"features": [{"share": 0.02}, {"share": 0.05}], "threshold": 0.01}
QUALITY = {"metric": "roc_auc", "value": 0.7, "expected": 0.75, "max_drop": 0.03}


@pytest.mark.parametrize(
    ("kind", "results", "field", "threshold", "proposed"),
    [
        ("data_drift", data(drifted("wind", 0.125)), "data_drift.thresholds.wind", 0.1, 0.14),
        (
            "feature_drift",
            data(drifted("a.b", 0.8, broken="distance 0.8, alert at 0.4")),
            "data_drift.thresholds.a.b", 0.1, 0.22,
        ),
        ("prediction_drift", {"class_drift": drifted("c", 0.2)}, "prediction_drift.categorical", 0.1, 0.22),
        ("quality", {"quality": QUALITY}, "quality.max_drop", 0.03, 0.055),
        ("feature_skew", {"feature_skew": SKEW}, "feature_skew.share", 0.01, 0.055),
        ("data_quality", {"data_quality": RULES}, "data_quality.share", 0.01, 0.022),
        ("health", {"health": {"p99_ms": 300.0, "limits": {"p99_ms": 250.0}}}, "health.p99_ms", 250, 330),
    ],
)  # fmt: skip
def test_what_was_marked_would_not_alarm_again(kind, results, field, threshold, proposed):
    (found,) = proposals_of([NoiseMark(kind, results)])
    assert (found.field, found.threshold, found.times) == (field, threshold, 1)
    assert found.proposed == pytest.approx(proposed)
    calm = raised(monitor(raise_on_noise=10), [found])
    section, name, *column = field.split(".", 2)
    value = getattr(getattr(calm, section), name)
    assert (value[column[0]] if column else value) == pytest.approx(proposed)


def test_what_no_threshold_can_allow_is_not_proposed():
    gone = drifted("wind", None, broken="no value in the window")
    constant = drifted("rain", 0.5, broken="constant: 3.0 in every row")
    assert proposals_of([NoiseMark("feature_drift", data(gone, constant)), NoiseMark("no_run", {})]) == []


def test_a_threshold_rises_only_as_far_as_is_declared_and_none_falls():
    marks = [NoiseMark("data_drift", data(drifted("wind", value))) for value in (0.12, 0.4)]
    (found,) = proposals_of(marks)
    assert found.said == "marked as noise 2 times: data_drift.thresholds.wind 0.1 → 0.44 proposed"
    assert raised(monitor(), [found]) == monitor(), "nobody asked for it"
    assert raised(monitor(raise_on_noise=1.5), [found]).data_drift.thresholds == {"wind": pytest.approx(0.15)}
    high = monitor(data_drift={"thresholds": {"wind": 2.0}}, raise_on_noise=9)
    assert raised(high, [found]).data_drift.thresholds == {"wind": 2.0}
    assert raised(monitor(data_drift=None, raise_on_noise=2), [found]).data_drift is None
    assert proposals_of(marks, data(drifted("wind", 0.1, threshold=0.5))) == [], "it is allowed by now"


def test_a_mark_is_about_the_run_before_it():
    runs = [
        SimpleNamespace(at=START + day * DAY, results={"findings": [{"kind": kind}], "n": day})
        for day, kind in enumerate(["quality", "data_drift", "quality"])
    ]
    assert marks_of([(START + DAY, "quality")], runs)[0].results["n"] == 0
    assert marks_of([(START + 3 * DAY, "quality")], runs)[0].results["n"] == 2
    assert marks_of([(START, "feature_skew")], runs) == []


def test_a_run_is_noise_if_all_that_it_found_was_marked():
    one = SimpleNamespace(at=START + DAY, results={"findings": [{"kind": "quality"}, {"kind": "kpi"}]})
    quality = ("quality", START, START + 2 * DAY)
    assert is_noise(one, [quality, ("kpi", START, START + DAY)])
    assert not is_noise(one, [quality])
    assert not is_noise(one, [quality, ("kpi", START, START + 0.5 * DAY)]), "it was marked before"
    assert not is_noise(SimpleNamespace(at=START, results={}), [quality])


def test_marks_on_record_raise_a_monitor_that_takes_them():
    state = open_state("sqlite://")
    results = {**data(drifted("wind", 0.125)), "findings": [{"kind": "data_drift"}]}
    with state.transaction() as session:
        session.add(
            MonitorRun(
                id="mon_1", monitor="weekly", model="delay", version="1", window_start=START,
                window_end=START, rows=1, labelled=0, verdict="alert", results=results,
                report_path=None, at=START,
            )
        )  # fmt: skip
        session.flush()
        session.add(
            Alert(
                id="alert_1", monitor="weekly", model="delay", version="1", kind="data_drift",
                severity="info", message="", details={}, monitor_run_id="mon_1", status="firing",
                raised_at=START, last_seen_at=START, fired_at=START,
            )
        )  # fmt: skip
    willing = monitor(raise_on_noise=2)
    assert with_noise(state, "delay", willing, START + DAY) == willing
    mark_as_noise(state, "alert_1", "ann", START + DAY, "a holiday")
    assert with_noise(state, "delay", willing, START) == willing, "it was marked later"
    assert with_noise(state, "delay", willing, START + DAY).data_drift.thresholds == {"wind": 0.14}
    assert with_noise(state, "delay", monitor(), START + DAY) == monitor()
    assert noise_spans(state, "delay", "weekly") == [("data_drift", START, START + DAY)]
    state.close()
