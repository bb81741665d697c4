"""Data quality, health and staleness: what requests and answers are like, without labels."""

import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from tests.tidemill.monitoring.made_windows import (
    as_json,
    logged,
    monitor_of,
    project_of,
    reference_of,
    window_of,
)
from tidemill.errors import ConfigError, FeatureError
from tidemill.features.online.view_freshness import ViewFreshness, of_request
from tidemill.monitoring.findings import Judged
from tidemill.monitoring.kinds import data_quality, health, staleness
from tidemill.monitoring.monitor_config import load_monitors
from tidemill.monitoring.windows.window_rows import WindowRows
from tidemill.project import load_project
from tidemill.serving.observability.request_counts import RequestCounts
from tidemill.tasks.binary import Binary

AT = datetime(2013, 4, 1, tzinfo=UTC)
TASK, ROWS = Binary("roc_auc"), 1000
EXPECTATIONS = """
datasets:
  flights:
    source: data/flights.parquet
    columns:
      wind: {type: float64, min: 0, max: 50}
      gust: {type: float64, nullable: true, unique: true}
      origin: {type: string, in: [EWR, JFK], regex: "[A-Z]{3}"}
      seats: {type: int32, min: 1}
      left: {type: "datetime[us, UTC]"}
      label: {type: int32, max: 0}
      absent: {type: string}
      tail: {type: string, regex: "N[0-9]{3}"}
    rules:
      gusts are stronger: gust >= wind
      needs more: wind > absent
      tails are short: length(tail) = 4
"""


def window(
    root: Path, section: dict[str, Any], *, instances: list[Any] | None = None, **columns: Any
) -> WindowRows:
    """Return a window of requests; other columns of the log by name, features with their prefix."""
    random = np.random.default_rng(0)
    wind = random.uniform(1, 30, ROWS)
    features = {"wind": wind, "gust": wind + 1, "origin": random.choice(["EWR", "JFK"], ROWS)}
    answers = random.random(ROWS)
    reference = reference_of(TASK, answers, [0, 1] * (ROWS // 2), features)
    rows = logged(
        TASK,
        answers,
        features=features,
        instance=as_json(instances or [{"seats": 3, "left": "2013-04-01"}] * ROWS),
    ).with_columns(pl.Series(name, values) for name, values in columns.items())
    (root / "expectations.yaml").write_text(EXPECTATIONS)
    return window_of(project_of(root), monitor_of(**section), reference, rows)


def quality(made: WindowRows) -> Judged:
    assert made.monitor.data_quality is not None
    judged = data_quality.judge(made, made.monitor.data_quality)
    json.dumps(dict(judged.results), allow_nan=False)
    return judged


def shares(judged: Judged) -> dict[str, float]:
    return {one["rule"]: one["share"] for one in judged.results["data_quality"]["rules"] if one["share"]}


def test_requests_as_in_training_break_no_rule(tmp_path: Path):
    judged = quality(window(tmp_path, {"data_quality": {}}))
    assert (judged.found, judged.unjudged, shares(judged)) == ((), None, {})
    rules = {one["rule"] for one in judged.results["data_quality"]["rules"]}
    assert "flights.gusts are stronger" in rules
    assert "flights.seats: can be int32" in rules
    assert not any(
        "absent" in rule or "label" in rule or "unique" in rule or "needs more" in rule for rule in rules
    )


def test_of_personal_fields_it_only_tells_which_are_missing(tmp_path: Path):
    hidden = "psn_" + 32 * "0"
    tails = [{"tail": None}] * 50 + [{"tail": hidden}] * 950
    judged = quality(window(tmp_path, {"data_quality": {}}, instances=tails))
    assert list(shares(judged)) == ["flights.tail: not null"]
    plain = quality(window(tmp_path, {"data_quality": {}}, instances=[{"tail": "N12"}] * ROWS))
    assert set(shares(plain)) == {"flights.tail: str_matches('N[0-9]{3}')", "flights.tails are short"}


def test_each_broken_rule_is_named_with_its_share(tmp_path: Path):
    odd = ["many"] * 50 + [0] * 30 + [None] * 20 + [3] * 900
    columns = {
        "feature.wind": [400.0] * 100 + [10.0] * 900,
        "feature.gust": [11.0] * ROWS,
        "feature.origin": ["LGA"] * 30 + ["JFK"] * 970,
    }
    seats = [{"seats": number} for number in odd]
    judged = quality(window(tmp_path, {"data_quality": {}}, instances=seats, **columns))
    (finding,) = judged.found
    assert shares(judged) == pytest.approx(
        {
            "flights.wind: in_range(0, 50)": 0.1,
            "flights.origin: isin('EWR', 'JFK')": 0.03,
            "flights.seats: not null": 0.02,
            "flights.seats: greater_than_or_equal_to(1)": 0.03,
            "flights.seats: can be int32": 0.05,
            "flights.gusts are stronger": 0.1,
        }
    )
    assert finding.message.startswith("6 of ")
    assert "flights.wind: in_range(0, 50) in 10.0% of the rows" in finding.message
    assert set(judged.examples["data_quality"]) <= {f"p{place:05d}" for place in range(100)}


def test_what_training_broke_as_often_and_what_is_ignored_is_not_alarming(tmp_path: Path):
    strong = {"feature.wind": [400.0] * 100 + [10.0] * 900}
    made = window(tmp_path, {"data_quality": {}}, **strong)
    names = ["flights.gusts are stronger", "flights.wind: in_range(0, 50)"]
    assert [one["rule"] for one in quality(made).found[0].details["rules"]] == names
    ignoring = {"ignore": [names[0], "wind: in_range(0, 50)"]}
    assert quality(window(tmp_path, {"data_quality": ignoring}, **strong)).found == ()
    usual = made.reference.features.with_columns(
        wind=made.rows["feature.wind"], gust=made.rows["feature.gust"]
    )
    assert quality(replace(made, reference=replace(made.reference, features=usual))).found == ()


def test_an_unknown_data_set_is_named(tmp_path: Path):
    with pytest.raises(Exception, match="declares no data set 'boats'"):
        quality(window(tmp_path, {"data_quality": {"dataset": "boats"}}))


def test_slow_answers_and_fallbacks_are_found(tmp_path: Path):
    def judge(**columns: Any) -> Judged:
        made = window(tmp_path, {"health": {}}, **columns)
        assert made.monitor.health is not None
        return health.judge(made, made.monitor.health)

    assert judge().found == ()
    slow = [900.0 if place < 15 else 2.0 for place in range(ROWS)]
    assert judge(milliseconds=slow).found == (), "chance may bring 15 of 1,000 where one in a hundred is slow"
    slow = [900.0 if place < 40 else 2.0 for place in range(ROWS)]
    (finding,) = judge(milliseconds=[*slow[:-1], 950.0]).found
    assert judge(milliseconds=[*slow[:-1], 950.0]).examples["health"] == [
        f"p{place:05d}" for place in (ROWS - 1, 0, 1, 2, 3)
    ], "the slowest first"
    assert finding.message == "one answer in a hundred took 900 ms or longer (alert at 250 ms)"
    flags = [["fallback:features", "missing:weather"]] * 50 + [["unseen:origin"]] * 950
    assert judge(flags=flags).examples["health"] == [f"p{place:05d}" for place in range(5)]
    (finding,) = judge(flags=flags).found
    assert finding.message == (
        "5.0% of the answers were made without a part of the platform (alert at 1.0%): fallback:features 50"
    )


def test_refused_requests_count_beside_answers(tmp_path: Path):
    made = window(tmp_path, {"health": {"refused": 0.1}})
    assert made.monitor.health is not None
    few = RequestCounts(1100, {"malformed": 60, "unavailable": 40})
    judged = health.judge(replace(made, requests=few), made.monitor.health)
    assert judged.found == ()
    assert judged.said is not None
    assert judged.said.endswith("; refused 9.1% of 10.0%")
    many = RequestCounts(1400, {"unavailable": 120, "malformed": 280})
    (finding,) = health.judge(replace(made, requests=many), made.monitor.health).found
    assert finding.message == (
        "28.6% of 1,400 requests got no predictions (alert at 10.0%): malformed 280, unavailable 120"
    )
    assert finding.details["requests"] == {
        "requests": 1400,
        "refused": {"unavailable": 120, "malformed": 280},
    }


def test_views_whose_values_had_expired_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    moments = list[Any]()
    newest = [
        ViewFreshness(view, state, 3, AT, age, ttl, 0.0, None)  # the store alone knows
        for view, state, age, ttl in (("weather", "stale", 7200.0, 3600.0), ("plane", "fresh", 9e6, None))
    ]
    monkeypatch.setattr(staleness, "feature_status", lambda _, at: moments.append(at) or newest)
    flags = [["expired:weather", "missing:aircraft"]] * 200 + [["expired:carrier"]] * 20 + [[]] * 780
    made = window(tmp_path, {"data_drift": {}}, flags=pl.Series(flags, dtype=pl.List(pl.String)))
    params = (tmp_path / "params.yaml").read_text().replace("from: request", "service: made")
    (tmp_path / "params.yaml").write_text(
        params.replace("training: p:a", "training: p:a\n  application: p:b")
    )
    stored = replace(made, project=load_project(tmp_path))
    judged = staleness.judge(stored, monitor_of(staleness={}).staleness)
    assert judged.found[0].message == (
        "features were older than their view allows (alert at 5.0%): weather in 20.0% of the rows; "
        "weather, whose newest value was 2:00:00 old (1:00:00 allowed)"
    )
    assert judged.results["staleness"]["views"] == {"weather": 0.2, "carrier": 0.02}
    assert moments == [made.rows["at"].max()]
    json.dumps(dict(judged.results), allow_nan=False)
    fresh = replace(stored, given=made.rows.with_columns(flags=pl.lit([], dtype=pl.List(pl.String))))
    del newest[0]
    assert staleness.judge(fresh, monitor_of(staleness={}).staleness).found == ()
    declared = monitor_of(staleness={"max_age": {"plane": "7d", "gone": "1d"}}).staleness
    judged = staleness.judge(fresh, declared)
    assert judged.found[0].message.endswith(
        ": plane, whose newest value was 104 days, 4:00:00 old (7 days, 0:00:00 allowed)"
    )
    assert judged.warnings[0].endswith("staleness.max_age: the service reads no view gone")
    newest[0] = replace(newest[0], age_seconds=None, state="unknown")
    judged = staleness.judge(fresh, declared)
    assert judged.found == ()
    assert [each.partition("max_age: ")[2] for each in judged.warnings] == [
        "the service reads no view gone",
        "the online store has no value of plane, or cannot say how old it is",
    ]
    newest[0] = of_request("plane")
    judged = staleness.judge(fresh, declared)
    assert judged.found == ()
    assert judged.said.endswith("; plane is left out, as it comes in the request")
    assert judged.warnings[1].endswith(
        "max_age: plane comes in the request by features.from, and has no age: remove it"
    )


def test_a_store_that_cannot_be_read_leaves_the_flags(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def fail(*_: object) -> None:
        raise FeatureError("the store is down")

    monkeypatch.setattr(staleness, "feature_status", fail)
    made = window(tmp_path, {"data_drift": {}}, flags=pl.Series([["expired:weather"]] * ROWS))
    params = (tmp_path / "params.yaml").read_text().replace("from: request", "service: made")
    (tmp_path / "params.yaml").write_text(
        params.replace("training: p:a", "training: p:a\n  application: p:b")
    )
    judged = staleness.judge(
        replace(made, project=load_project(tmp_path)), monitor_of(staleness={}).staleness
    )
    assert judged.found[0].details["about"] == ["weather"]
    assert judged.warnings == ("staleness: how old the views are cannot be read: the store is down",)


@pytest.mark.parametrize(
    ("task", "section", "said"),
    [
        ("custom", "concept_drift: {}", "concept_drift is for the tasks binary, multiclass, regression"),
        ("regression", "calibration: {}", "calibration is for the tasks binary, multiclass, custom"),
        ("custom", "calibration: {}", "calibration.interval must name two numbers of an answer"),
        ("binary", "staleness: {}", "staleness is for projects with a feature store"),
        ("binary", "fairness: {}", "fairness.by: is missing"),
        ("binary", "concept_drift: {detector: adwin}", "concept_drift.detector: name must be 'sum', 'page"),
        ("binary", "concept_drift: {detector: 5}", "concept_drift.detector: must be sum, page_hinkley or"),
        (
            "binary",
            "concept_drift: {detector: {name: ddm, drift_treshold: 2}}",
            "ddm.drift_treshold: there is no such field; is 'drift_threshold' meant?",
        ),
        ("binary", "kpi: {function: profit}", "kpi.function"),
    ],
)
def test_a_section_that_is_not_for_such_a_project_is_named(
    tmp_path: Path, task: str, section: str, said: str
):
    project = project_of(tmp_path, task)
    (tmp_path / "monitoring").mkdir()
    (tmp_path / "monitoring" / "monitors.yaml").write_text(
        f"monitors: [{{name: weekly, window: 7d, every: 7d, {section}}}]"
    )
    with pytest.raises(ConfigError, match="monitor 'weekly'") as refused:
        load_monitors(project)
    assert said in str(refused.value)


def test_a_detector_of_river_is_refused_where_river_is_not_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    project = project_of(tmp_path)
    (tmp_path / "monitoring").mkdir()
    declared = tmp_path / "monitoring" / "monitors.yaml"
    monkeypatch.setattr("tidemill.monitoring.monitor_config.find_spec", lambda _: None)
    monitor = "monitors: [{{name: weekly, window: 7d, every: 7d, concept_drift: {{detector: {}}}}}]"
    declared.write_text(monitor.format("sum"))
    assert load_monitors(project)[0].concept_drift is not None
    declared.write_text(monitor.format("{name: page_hinkley, threshold: 20}"))
    with pytest.raises(
        ConfigError, match=r"'weekly': concept_drift.detector page_hinkley needs .* river"
    ) as no:
        load_monitors(project)
    assert "pip install 'tidemill[online]'" in str(no.value)


def test_rows_of_a_version_without_a_feature_break_no_rule_of_it(tmp_path: Path):
    made = window(tmp_path, {"data_quality": {}})
    old = pl.int_range(pl.len()) < 450
    rows = made.rows.with_columns(
        pl.when(~old).then("feature.gust").alias("feature.gust"),
        pl.when(~old).then("feature.origin").alias("feature.origin"),
        pl.when(old).then(pl.lit("0")).otherwise("version").alias("version"),
        pl.when(old).then(400.0).otherwise("feature.wind").alias("feature.wind"),
    )
    found = shares(quality(replace(made, given=rows)))
    assert found == pytest.approx({"flights.wind: in_range(0, 50)": 0.45})
    own = quality(replace(made, given=rows.with_columns(pl.lit("1").alias("version"))))
    assert "flights.origin: not null" in shares(own), "the version's own rows lack what it was made for"
