import json
from datetime import timedelta
from pathlib import Path
from types import NoneType
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from tidemill.clock import parse_duration
from tidemill.errors import ConfigError, UsageError
from tidemill.monitoring.monitor_config import (
    Monitor,
    SectionName,
    chosen_monitors,
    load_monitors,
    unknown_features,
)
from tidemill.project import Project, load_project

PARAMS = """
project: {name: flights, model: delay, training: "p:a", application: "p:b"}
dataset: {path: data/training_set.parquet, label: late}
features: {service: delay}
"""
GOOD = "{name: weekly, window: 14d, every: 7d, data_drift: {}}"


@pytest.fixture
def project(tmp_path: Path) -> Project:
    (tmp_path / "params.yaml").write_text(PARAMS)
    (tmp_path / "monitoring").mkdir()
    return load_project(tmp_path)


def declare(project: Project, text: str) -> None:
    (project.root / "monitoring" / "monitors.yaml").write_text(text)


@given(st.integers(1, 500), st.sampled_from("smhdw"))
def test_a_duration_is_as_long_as_it_says(count: int, unit: str):
    seconds = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}[unit]
    assert parse_duration(f"{count}{unit}") == timedelta(seconds=count * seconds)


@pytest.mark.parametrize(
    "value", ["14", 14, "d", "-3d", "1.5d", "14 d", "0d", "", None, "9999999d", "99999d", "14D"]
)
def test_what_is_no_duration_is_refused(value: object):
    with pytest.raises(ValueError, match=r"is not a duration|is out of range"):
        parse_duration(value)


def test_a_project_without_monitors_has_none(project: Project):
    assert load_monitors(project) == ()


def thresholds():
    for section in get_args(SectionName):
        (kind,) = (one for one in get_args(Monitor.model_fields[section].annotation) if one is not NoneType)
        for name, field in kind.model_fields.items():
            if float in (field.annotation, *get_args(field.annotation)):
                yield section, name


@pytest.mark.parametrize("value", [".nan", ".inf", "-.inf"])
def test_a_threshold_is_a_finite_number(project: Project, value: str):
    found = list(thresholds())
    assert {("data_drift", "severe"), ("quality", "max_drop"), ("feature_skew", "share")} < set(found)
    for section, name in found:
        declare(
            project,
            f"monitors:\n  - {{name: a, window: 1d, every: 1d,\n     {section}: {{{name}: {value}}}}}",
        )
        with pytest.raises(
            ConfigError, match=rf"monitors.yaml is wrong: .*'a': {section}.{name}: .*\(line 3\)"
        ):
            load_monitors(project)
    declare(
        project, f"monitors: [{{name: a, window: 1d, every: 1d, data_drift: {{thresholds: {{x: {value}}}}}}}]"
    )
    with pytest.raises(ConfigError, match=r"data_drift.thresholds.x: must be "):
        load_monitors(project)


def test_what_is_not_declared_is_not_watched(project: Project):
    declare(project, f"monitors: [{GOOD}]")
    (monitor,) = load_monitors(project)
    assert monitor.data_drift is not None
    assert monitor.prediction_drift is None
    assert monitor.quality is None


def test_a_monitor_cannot_be_changed():
    monitor = Monitor.model_validate({"name": "a", "window": "1d", "every": "1d", "quality": {}})
    with pytest.raises(ValidationError, match="frozen"):
        monitor.min_rows = 1


@pytest.mark.parametrize(
    ("text", "field"),
    [
        ("monitors: [{name: a, window: 14, every: 7d, quality: {}}]", "monitor 'a': window: "),
        (
            "monitors: [{name: a, window: 14d, every: 7d, quality: {max_dorp: 1}}]",
            "monitor 'a': quality.max_dorp: there is no such field; is 'max_drop' meant?",
        ),
        (
            "monitors: [{name: a, window: 14d, every: 7d, data_drift: {share: 0}}]",
            "monitor 'a': data_drift.share: must be greater than 0",
        ),
        (
            "monitors: [{name: A b, window: 14d, every: 7d, quality: {}}]",
            "monitor 'A b': name: must be of lower-case letters, digits and hyphens",
        ),
        ("monitors: [{name: a, window: 14d, every: 7d}]", "monitor 'a': nothing to watch"),
        (
            "monitors: [{name: a, window: 14d, every: 7d, health: {latency: 9}}]",
            "health.latency: there is no such field; there are: p99_ms, fallbacks, refused (line 1)",
        ),
        ("monitors: [{name: a, window: 14d, every: 7d, quality: {max_drop: null}}]", "never be judged"),
        (f"monitors:\n- {GOOD}\n- {GOOD}", "'weekly' is declared twice: rename one (line 3)"),
        ("monitors: [{window: 14d, every: 7d, quality: {}}]", "monitor 1: name: is missing"),
        ("", "monitors: is missing"),
        ("[1, 2]", "file: must be a mapping, not a list"),
        ("monitors: weekly", "monitors: must be a list, not 'weekly'"),
        ("monitors: {weekly: {}}", "monitors: must be a list, not a mapping"),
        ("a: \a", "cannot be read: line 1, column 4: control characters are not allowed"),
        ("monitors: [", "cannot be read: line 2, column 1: "),
        (f"monitors: [{GOOD}]\nmonitors: []", "cannot be read: line 2, column 1: 'monitors' stands twice"),
        ("monitors:\n  - name: a\n    window: 14\n    every: 7d", "(line 3)"),
    ],
)
def test_a_wrong_file_is_named_with_the_field(project: Project, text: str, field: str):
    declare(project, text)
    with pytest.raises(ConfigError) as caught:
        load_monitors(project)
    assert str(project.root / "monitoring" / "monitors.yaml") in str(caught.value)
    assert field in str(caught.value)
    assert caught.value.hint


def test_a_monitor_that_is_not_declared_is_named_beside_those_that_are(project: Project):
    declare(project, f"monitors: [{GOOD}]")
    assert [monitor.name for monitor in chosen_monitors(project, "weekly")] == ["weekly"]
    assert chosen_monitors(project, None) == chosen_monitors(project, "weekly")
    with pytest.raises(UsageError, match=r"monitors\.yaml declares no monitor 'daily'") as caught:
        chosen_monitors(project, "daily")
    assert caught.value.hint == "it declares: weekly"


@pytest.mark.parametrize("text", [None, "monitors: []"])
def test_a_project_without_monitors_says_so_when_they_are_to_run(project: Project, text: str | None):
    if text is not None:
        declare(project, text)
    with pytest.raises(ConfigError, match=r"the project has no monitors: .*monitors\.yaml is missing or"):
        chosen_monitors(project, None)


def test_a_feature_that_is_gone_is_named_with_its_field():
    drift = {"thresholds": {"wind": 0.5, "rain": 0.5}}
    monitor = Monitor.model_validate({"name": "a", "window": "1d", "every": "1d", "data_drift": drift})
    assert unknown_features(monitor, ["wind"]) == [
        "monitor 'a': data_drift.thresholds names 'rain', not a feature of the version (it has: wind)"
    ]
    assert unknown_features(monitor, ["rain", "wind"]) == []


@pytest.mark.parametrize(
    ("quality", "estimated", "settings"),
    [
        ("{max_drop: 0.05, floor: 0.6}", "{}", {"max_drop": 0.05, "floor": 0.6}),
        ("{metric: pr_auc, max_drop: null, floor: 0.3}", "{max_drop: 0.1}",
         {"metric": "pr_auc", "max_drop": 0.1, "floor": 0.3}),
        ("{metric: pr_auc, floor: 0.3}", "{metric: pr_auc}", {"metric": "pr_auc", "floor": 0.3}),
        ("{metric: neg_log_loss, floor: -2}", "{metric: roc_auc}", {"metric": "roc_auc"}),
        ("{floor: 0.6}", "{floor: null}", {"floor": None}),
        ("null", "{}", {}),
        ("{}", "{}", {}),
    ],
)  # fmt: skip
def test_estimated_quality_is_judged_as_quality_is(
    project: Project, quality: str, estimated: str, settings: dict[str, object]
):
    section = f"quality: {quality}, estimated_quality: {estimated}"
    declare(project, f"monitors: [{{name: weekly, window: 14d, every: 7d, {section}}}]")
    (monitor,) = load_monitors(project)
    assert monitor.estimated_quality is not None
    assert monitor.estimated_quality.model_dump(exclude_unset=True) == settings


def test_quality_that_is_not_estimated_stays_so(project: Project):
    declare(project, "monitors: [{name: weekly, window: 14d, every: 7d, quality: {floor: 0.6}}]")
    assert load_monitors(project)[0].estimated_quality is None


def test_a_wrong_field_of_quality_is_said_once(project: Project):
    section = "quality: {flor: 0.6}, estimated_quality: {}"
    declare(project, f"monitors: [{{name: weekly, window: 14d, every: 7d, {section}}}]")
    with pytest.raises(ConfigError, match=r"quality\.flor") as refused:
        load_monitors(project)
    assert str(refused.value).count("flor") == 1


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"window": {"rows": 100}}, "a window of 100 rows never has the 500 of min_rows"),
        ({"window": {"rows": 5}}, r"must be a duration such as 14d, or {rows: 5000} with at least 10 rows"),
        ({"window": {"days": 5}}, "must be a duration such as 14d"),
        ({"against": "yesterday"}, r"must be training, previous or {season: 365d}; it is 'yesterday'"),
        ({"against": {"season": "7d"}}, "overlaps itself a season of 7 days"),
        ({"slice_drift": {}}, "no slices are declared"),
        ({"slice_quality": {"search": False}}, "slice_quality has no slices"),
        ({"slices": [{"where": {"a": 1}, "by": "b"}]}, "set either where or by"),
        ({"slices": [{"where": {"a": {"least": 1}}}]}, "slices.0.where.a.least: there is no such field"),
    ],
)
def test_wrong_windows_and_slices_are_refused(project: Project, fields: dict, said: str):
    declared = {"name": "weekly", "window": "14d", "every": "7d", "data_drift": {}, **fields}
    declare(project, json.dumps({"monitors": [declared]}))
    with pytest.raises(ConfigError, match=said):
        load_monitors(project)


def test_windows_of_rows_and_other_comparisons_are_read():
    declared = {"name": "latest", "window": {"rows": 5000}, "every": "1d", "data_drift": {}}
    assert Monitor.model_validate(declared).window.rows == 5000
    season = Monitor.model_validate({**declared, "against": {"season": "7d"}})
    assert season.against.season == timedelta(days=7)
