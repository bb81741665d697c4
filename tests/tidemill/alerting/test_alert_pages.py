"""What an alert carries: facts from its records, pictures, and a page."""

import xml.etree.ElementTree as ET
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import polars as pl
import pytest
from rich.console import Console
from typer.testing import CliRunner

from tidemill.alerting.alert_evidence import describe
from tidemill.alerting.alert_html import page_of
from tidemill.alerting.alert_pictures import bins_then_and_now, figure_over_runs, pictures_of
from tidemill.cli.loop.alert_page import render_alert
from tidemill.cli.main import app
from tidemill.monitoring.drift.column_histograms import bins_of
from tidemill.monitoring.figure_history import figure_of
from tidemill.state import open_state
from tidemill.state.alert_queries import AlertRecords
from tidemill.state.tables import Alert, MonitorRun

DAY = timedelta(days=1)
START = datetime(2013, 4, 1, tzinfo=UTC)
MADE = {"data": "d1", "feature_definitions": "f1", "code_files": "c1", "parameters": "p1"}
WIND = {
    "name": "<wind>", "value": 0.5, "threshold": 0.1, "drifted": True, "broken": None, "note": None,
    "reference_mean": 1.0, "current_mean": 2.0, "reference_missing": 0.0, "current_missing": 0.0,
}  # fmt: skip


def run(day: int, share: float, version: str = "2", **more: Any) -> SimpleNamespace:
    drift = {"share": share, "threshold": 0.3, "drifted": ["<wind>"], "columns": [WIND]}
    bins = {"bins": ["a", "b"], "before": [0.5, 0.5], "now": [0.1, 0.9]}
    results = {"data_drift": drift, "histograms": {"<wind>": bins}, "made_of": MADE, **more}
    results["findings"] = [{"kind": "data_drift", "message": "drift"}]
    at = START + day * DAY
    facts = {"rows": 900, "labelled": 10, "report_path": None, "verdict": "alert", "version": version}
    return SimpleNamespace(
        id=f"mon_{day}", results=results, at=at, window_start=at - DAY, window_end=at, **facts
    )


def records(kind: str = "data_drift", both: dict[str, Any] | None = None, **more: Any) -> AlertRecords:
    runs = [
        run(0, 0.1, "1", made_of={**MADE, "feature_definitions": "f0", "code": "of an older release"}),
        run(1, 0.2),
        run(2, 0.5, **(both or {})),
    ]
    alert = SimpleNamespace(
        id="alert_1", status="firing", severity="warning", kind=kind, monitor="weekly",
        model="delay", version="2", message="1 of 1 features <have> drifted", details={},
        raised_at=START + 2 * DAY,
        fired_at=START + 2 * DAY, last_seen_at=START + 2 * DAY, acknowledged_at=None, resolved_at=None,
        found_in=1, occurrence=1, acknowledged_by=None,
    )  # fmt: skip
    canary = SimpleNamespace(
        at=START, name="canary", status="live", version="3", share=0.1, actor="ann", reason="a try"
    )
    rollout = SimpleNamespace(
        at=START, version="2", actor="bob", status="promoted", outcome="all steps passed", reason="r"
    )
    given = {"deployments": [canary], "rollouts": [rollout], "runs": runs, **more}
    return AlertRecords(alert, [], runs[2], runs[2], [], None, [], **given)


def test_what_comes_from_elsewhere_has_no_window(capsys: pytest.CaptureFixture[str]):
    facts = describe(records("external"))
    page = page_of([facts], "title")
    render_alert(Console(width=80), facts)
    for shown in (page, capsys.readouterr().out):
        assert "raised" in shown
        assert "2013-04-03 00:00" in shown
        assert "window" not in shown.replace("window (blue)", "")


def test_skew_names_only_what_was_served_otherwise_and_the_window_to_look_at(
    capsys: pytest.CaptureFixture[str],
):
    cause = {"name": "late data", "rows": 90, "view": "weather", "evidence": "e"}
    wind = {"feature": "wind", "rows": 900, "share": 0.1, "mean_difference": 2.5, "causes": [cause]}
    skew = {"skewed": ["wind"], "features": [wind, {"feature": "rain", "rows": 900}]}
    facts = describe(records("feature_skew", {"feature_skew": skew}))
    page = page_of([facts], "title")
    render_alert(Console(width=80), facts)
    shown = " ".join(capsys.readouterr().out.split())
    said = "10.0% of 900 rows differ, by 2.5 on average; likely: late data (weather)"
    assert f"wind, {said}" in shown
    assert f"wind: {said}" in page
    assert "rain" not in shown + page
    assert "tidemill features skew --since 2013-04-02T00:00Z --until 2013-04-03T00:00Z" in shown


def test_nobody_is_told_to_retrain_on_what_is_broken_at_its_source():
    fault = SimpleNamespace(
        id="alert_9", kind="feature_drift", message="missing", details={"faults": ["<wind>"]}
    )
    facts = describe(records("quality", faults=[fault]))
    assert facts["faults"] == [{"alert": "alert_9", "message": "missing", "names": ["<wind>"]}]
    assert facts["next"][-1] == "tidemill alerts show alert_9"
    assert not any("retrain" in command for command in facts["next"])
    assert "&lt;wind&gt;: missing" in page_of([facts], "title")


def test_the_facts_have_what_changed_the_figures_and_the_histograms():
    facts = describe(records(noise=[(START + 3 * DAY, "data_drift")], alarms=[run(2, 0.5)]))
    assert [(each["value"], each["limit"]) for each in facts["history"]] == [
        (0.1, 0.3),
        (0.2, 0.3),
        (0.5, 0.3),
    ]
    assert list(facts["histograms"]) == ["<wind>"]
    assert {each["what"] for each in facts["changes"]} == {
        "feature definitions f0 → f1",
        "canary live: version 3, 10%, by ann",
        "rollout of version 2 by bob: promoted",
    }
    assert [each["said"] for each in facts["noise"]] == [
        "marked as noise 1 time: data_drift.thresholds.<wind> 0.1 → 0.55 proposed"
    ]


def test_a_page_is_well_formed_and_escapes_what_it_is_told():
    page = page_of([describe(records())], "<title>")
    assert page.count("<svg") == 2
    assert "<wind>" not in page
    assert "&lt;have&gt;" in page
    body = page.partition("<body>")[2].partition("</body>")[0]
    ET.fromstring(f"<body>{body}</body>")
    for each in pictures_of(describe(records())):
        ET.fromstring(each["svg"])


def test_an_alert_without_figures_has_no_pictures():
    facts = describe(records(runs=[run(2, 0.5)]))
    assert pictures_of({**facts, "histograms": {}}) == []


@pytest.mark.parametrize("values", [[0.0, 0.0], [1e9, -1e9, 3.0], [0.5]])
def test_any_figures_stay_inside_the_picture(values):
    picture = ET.fromstring(figure_over_runs(values, [None] * len(values), "t"))
    wide, high = (float(picture.get(side)) for side in ("width", "height"))
    line = picture.find("{http://www.w3.org/2000/svg}polyline").get("points")
    for point in line.split():
        x, y = map(float, point.split(","))
        assert 0 <= x <= wide
        assert 0 <= y <= high
    assert bins_then_and_now([], [], [], "t").count("<rect") == 0


def test_bins_say_where_the_rows_are_and_name_no_rare_category():
    bins = bins_of(
        pl.Series(["a"] * 50 + ["b"] * 30 + ["Ann"]), pl.Series(["b"] * 30 + ["c"] * 10 + [None] * 10)
    )
    assert bins["bins"] == ["a", "b", "others", "missing"]
    assert bins["now"] == pytest.approx([0.0, 0.6, 0.2, 0.2])
    assert sum(bins["before"]) == pytest.approx(1.0)
    assert bins_of(pl.Series([1.0, 2.0]), pl.Series(["x", "y"])) is None
    assert bins_of(pl.Series([None, None]), pl.Series([1.0, 2.0])) is None
    assert bins_of(pl.Series([3.0] * 50), pl.Series([3.0] * 50))["bins"] == ["3.0", "others"]


def test_features_that_drifted_in_a_slice_are_listed_in_words(capsys: pytest.CaptureFixture[str]):
    slices = {"night": {"rows": 9, "share": 0.4, "drifted": ["wind", "fog"]}}
    facts = describe(records(both={"slice_drift": {"threshold": 0.3, "slices": slices}}))
    render_alert(Console(width=80), facts)
    assert "share 0.4, drifted wind and fog" in capsys.readouterr().out
    assert "share: 0.4, drifted: wind and fog<" in page_of([facts], "title")


def test_slices_are_those_of_the_kind_the_worst_first():
    quality = {"slices": [{"name": "origin JFK", "rows": 90, "value": 0.6, "expected": 0.7, "decayed": True}]}
    drift = {"threshold": 0.3, "slices": {"a": {"rows": 9, "share": 0.1}, "b": {"rows": 8, "share": 0.4}}}
    both = {"slice_quality": quality, "slice_drift": drift}
    assert [each["name"] for each in describe(records(both=both))["slices"]] == ["b", "a"]
    facts = describe(records(both=both, kind="slice_quality"))
    assert facts["slices"] == [
        {"name": "origin JFK", "rows": 90, "value": 0.6, "expected": 0.7, "rest": None, "p_value": None}
    ]
    mae = {
        "name": "origin EWR",
        "rows": 70,
        "metric": "neg_mae",
        "value": -14.5,
        "expected": -4.0,
        "p_value": 0.003,
    }
    (shown,) = describe(records(both={"slice_quality": {"slices": [mae]}}, kind="slice_quality"))["slices"]
    assert (shown["metric"], shown["value"], shown["expected"], shown["rest"]) == ("mae", 14.5, 4.0, None)
    assert figure_of("slice_drift", both) == (0.4, 0.3)
    assert figure_of("multivariate_drift", {"multivariate_drift": {"auc": 0.7, "threshold": 0.6}}) == (
        0.7,
        0.6,
    )
    assert figure_of("no_run", {"error": "it failed"}) is None


def test_a_mark_is_shown_where_people_look_and_the_page_is_written(tmp_path: Path):
    (tmp_path / "params.yaml").write_text(
        "project: {name: delay, model: delay, training: 'p:a', application: 'p:b'}\n"
        "dataset: {path: data/t.parquet, label: late}\nfeatures: {service: delay}\n"
    )
    (tmp_path / ".tidemill").mkdir()
    state, facts = open_state(f"sqlite:///{tmp_path / '.tidemill' / 'state.db'}"), vars(run(0, 0.5))
    with state.transaction() as session:
        session.add(MonitorRun(monitor="weekly", model="delay", **facts))
        session.flush()
        session.add(
            Alert(
                id="alert_1", monitor="weekly", model="delay", version="2", kind="data_drift",
                severity="info", message="drift", details={}, monitor_run_id="mon_0", status="firing",
                raised_at=START, last_seen_at=START, fired_at=START,
            )
        )  # fmt: skip
    state.close()

    def said(*arguments: str) -> str:
        done = CliRunner().invoke(app, [*arguments, "-p", str(tmp_path)], env={"COLUMNS": "200"})
        assert done.exit_code == 0, (done.output, done.exception)
        return done.stdout

    page = tmp_path / "alert.html"
    assert "resolved as noise" in said("alerts", "resolve", "alert_1", "--noise", "--comment", "a holiday")
    proposed = "marked as noise 1 time: data_drift.thresholds.<wind> 0.1 → 0.55 proposed"
    assert proposed in said("alerts", "show", "alert_1", "--html", str(page))
    assert "a holiday" in said("alerts", "show", "alert_1")
    assert proposed in said("monitor", "explain", "weekly")
    assert page.read_text(encoding="utf-8").count("<svg") == 1


def test_the_command_writes_the_page(tmp_path: Path):
    from tidemill.cli.loop.alert_page import write_page
    from tidemill.errors import NotWritable

    write_page(tmp_path / "alert.html", describe(records()))
    assert "<svg" in (tmp_path / "alert.html").read_text(encoding="utf-8")
    with pytest.raises(NotWritable, match="cannot be written"):
        write_page(tmp_path / "no" / "alert.html", describe(records()))
