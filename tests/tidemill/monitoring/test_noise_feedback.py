from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from tidemill.alerting.alert_actions import mark_as_noise, withdraw_noise
from tidemill.errors import MonitoringError, UsageError
from tidemill.monitoring.figure_history import figure_of
from tidemill.monitoring.kind_figures import kind_figures
from tidemill.monitoring.kinds.kind_table import TABLE
from tidemill.monitoring.log_calibration import is_noise, noise_spans
from tidemill.monitoring.monitor_config import Monitor
from tidemill.monitoring.noise_feedback import (
    NoiseMark,
    marks_of,
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


QUALITY_OF_SLICES = {
    "max_drop": 0.05,
    "slices": [
        {"value": 0.7, "expected": 0.8},
        {"value": None, "expected": 0.8},
        {"value": 0.7, "expected": 0.7},
    ],
}
GAPS = [
    {"what": "roc_auc", "value": 0.6, "others": 0.8, "allowed": 0.1},
    {"what": "roc_auc", "value": 0.9, "others": 0.6, "allowed": 0.1},
    {"what": "positive_rate", "value": 0.3, "others": 0.15, "allowed": 0.1},
]
SERVICE = {
    **{"p99_ms": 300.0, "fallbacks": 0.05, "limits": {"p99_ms": 250.0, "fallbacks": 0.01, "refused": 0.05}},
    "requests": {"requests": 100, "refused": {"malformed": 30, "timeout": 10}},
}
KPI = {"value": 7.0, "before": 10.0, "allowed": 1.0, "floor": None, "ceiling": 5.0}
CALIBRATION = {"value": 0.2, "chance": 0.05, "max_rise": 0.05, "ceiling": 0.1}
CONCEPT = {"rise": 0.2, "max_rise": 0.1, "explained": 0.1, "alert_at": 0.05}
PROPOSED: dict[str, tuple[dict[str, Any], dict[str, float]]] = {
    "data_drift": (
        {"data_drift": {**data(drifted("wind", 0.125))["data_drift"], "share": 0.4, "threshold": 0.3}},
        {"data_drift.thresholds.wind": 0.14},
    ),
    "feature_drift": (
        data(drifted("wind", 0.8, broken="distance 0.8, alert at 0.4")),
        {"data_drift.thresholds.wind": 0.22},
    ),
    "prediction_drift": (
        {"prediction_drift": drifted("score", 0.2)}, {"prediction_drift.threshold": 0.22},
    ),
    "quality": ({"quality": QUALITY}, {"quality.max_drop": 0.055}),
    "estimated_quality": (
        {"estimated_quality": {**QUALITY, "high": 0.7}}, {"estimated_quality.max_drop": 0.055},
    ),
    "feature_skew": ({"feature_skew": SKEW}, {"feature_skew.share": 0.055}),
    "multivariate_drift": (
        {"multivariate_drift": {"auc": 0.8, "threshold": 0.6}}, {"multivariate_drift.auc": 0.82},
    ),
    "slice_quality": ({"slice_quality": QUALITY_OF_SLICES}, {"slice_quality.max_drop": 0.11}),
    "slice_drift": (
        {"slice_drift": {"threshold": 0.3, "slices": {"a": {"share": 0.5}, "b": {"share": 0.1}}}},
        {"slice_drift.share": 0.55},
    ),
    "concept_drift": (
        {"concept_drift": CONCEPT}, {"concept_drift.max_rise": 0.22, "concept_drift.explained": 0.11},
    ),
    "calibration": (
        {"calibration": CALIBRATION}, {"calibration.max_rise": 0.17, "calibration.ceiling": 0.22},
    ),
    "fairness": ({"fairness": {"groups": GAPS}}, {"fairness.max_gap": 0.22, "fairness.max_rate_gap": 0.17}),
    "data_quality": ({"data_quality": RULES}, {"data_quality.share": 0.022}),
    "staleness": (
        {"staleness": {"share": 0.05, "views": {"weather": 0.2, "carrier": 0.1}}}, {"staleness.share": 0.22},
    ),
    "kpi": ({"kpi": KPI}, {"kpi.max_drop": 3.3, "kpi.ceiling": 7.7}),
    "health": (
        {"health": SERVICE}, {"health.p99_ms": 330, "health.fallbacks": 0.055, "health.refused": 0.44},
    ),
}  # fmt: skip
"""Of each kind that a monitor can find: results that alarm, and the thresholds that would not have."""


@pytest.mark.parametrize("kind", [kind for section in TABLE.values() for kind in section.finds])
def test_every_kind_has_a_figure_and_a_proposal(kind):
    results, proposed = PROPOSED[kind]
    found = figure_of(kind, results)
    assert found is not None
    assert found[1] is not None
    proposals = proposals_of([NoiseMark(kind, results)])
    assert {each.field: each.proposed for each in proposals} == pytest.approx(proposed)
    for each in proposals:
        section, field, *_ = each.field.split(".")
        declared = {"by": ["origin"]} if section == "fairness" else {}
        declared |= {"function": "own:hits"} if section == "kpi" else {}
        calm = raised(monitor(raise_on_noise=10, slices=[{"by": "origin"}], **{section: declared}), [each])
        value = getattr(getattr(calm, section), field)
        assert (value["wind"] if field == "thresholds" else value) == pytest.approx(each.proposed)


@pytest.mark.parametrize(
    ("ceiling", "value", "proposed", "taken"), [(-10.0, -5.0, -4.5, -5.0), (0.0, 3.0, 3.3, 0.0)]
)
def test_a_ceiling_may_be_zero_or_below(ceiling: float, value: float, proposed: float, taken: float):
    (found,) = proposals_of([NoiseMark("kpi", {"kpi": {"value": value, "ceiling": ceiling}})])
    assert (found.threshold, found.proposed) == (ceiling, pytest.approx(proposed))
    kpi = {"function": "own:worth", "ceiling": ceiling}
    calm = raised(monitor(kpi=kpi, raise_on_noise=1.5), [found]).kpi
    assert calm is not None
    assert calm.ceiling == pytest.approx(taken)


def test_the_figure_of_the_business_is_beside_its_nearest_limit():
    found = [figure_of("kpi", {"kpi": {**KPI, "value": value, "floor": 0.0}}) for value in (1.0, 6.0, 8.5)]
    assert found == [(1.0, 0.0), (6.0, 5.0), (8.5, 9.0)]
    assert kind_figures("kpi", {"kpi": {**KPI, "before": None, "ceiling": None, "floor": 8.0}}) == [], (
        "a floor would have to fall, and noise only raises"
    )


def test_what_no_threshold_can_allow_is_not_proposed():
    gone = drifted("wind", None, broken="no value in the window")
    constant = drifted("rain", 0.5, broken="constant: 3.0 in every row")
    assert proposals_of([NoiseMark("feature_drift", data(gone, constant)), NoiseMark("no_run", {})]) == []


def test_of_features_that_are_broken_the_share_is_proposed():
    far = drifted("wind", 0.8, broken="distance 0.8, alert at 0.4")
    gone = {**drifted("rain", 0.0), "broken": "missing: 0 % → 40 %"}
    calm = {**drifted("hour", 0.05), "drifted": False}
    mark = NoiseMark("data_drift", {"data_drift": {**data(far, gone, calm)["data_drift"], "threshold": 0.3}})
    (found,) = proposals_of([mark])
    assert found.said == "marked as noise 1 time: data_drift.share 0.3 → 0.74 proposed"
    assert raised(monitor(raise_on_noise=10), [found]).data_drift.share == pytest.approx(0.74)
    assert proposals_of([mark], {"data_drift": {"columns": [], "threshold": 0.8}}) == [], (
        "it is allowed by now"
    )
    near = NoiseMark("data_drift", {"data_drift": {"columns": [far, *[calm] * 3], "threshold": 0.3}})
    assert proposals_of([near]) == [], "one of four is below the share"
    every = NoiseMark("data_drift", {"data_drift": {"columns": [far, gone], "threshold": 0.3}})
    assert [each.field for each in proposals_of([every])] == ["data_drift.thresholds.wind"], (
        "no share allows all"
    )


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
    with pytest.raises(UsageError, match="needs a reason"):
        withdraw_noise(state, "alert_1", "bob", START + 2 * DAY, " ")
    withdraw_noise(state, "alert_1", "bob", START + 2 * DAY, "it was real")
    assert with_noise(state, "delay", willing, START + 3 * DAY) == willing
    assert noise_spans(state, "delay", "weekly") == []
    with pytest.raises(MonitoringError, match="is not marked as noise"):
        withdraw_noise(state, "alert_1", "bob", START + 2 * DAY, "again")
    mark_as_noise(state, "alert_1", "ann", START + 4 * DAY, "it was a holiday, look")
    assert with_noise(state, "delay", willing, START + 4 * DAY) != willing
    state.close()


def test_what_marks_have_raised_is_said_where_the_monitor_takes_them():
    mark = NoiseMark("data_drift", data(drifted("wind", 0.125)))
    now = data({**drifted("wind", 0.125), "threshold": 0.14})
    assert proposals_of([mark], now) == [], "somebody declared it"
    (found,) = proposals_of([mark], {**now, "raise_on_noise": 2.0})
    assert found.said == "marked as noise 1 time: data_drift.thresholds.wind 0.1 → 0.14 in force"
