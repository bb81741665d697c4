from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from tidemill.errors import ConfigError
from tidemill.monitoring.monitor_config import Monitor, find_monitor, load_monitors, parse_duration
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
        ("monitors: [{name: a, window: 14, every: 7d, quality: {}}]", "monitors.0.window"),
        (
            "monitors: [{name: a, window: 14d, every: 7d, quality: {max_dorp: 1}}]",
            "monitors.0.quality.max_dorp",
        ),
        (
            "monitors: [{name: a, window: 14d, every: 7d, data_drift: {share: 0}}]",
            "monitors.0.data_drift.share",
        ),
        ("monitors: [{name: A b, window: 14d, every: 7d, quality: {}}]", "monitors.0.name"),
        ("monitors: [{name: a, window: 14d, every: 7d}]", "nothing to watch"),
        ("monitors: [{name: a, window: 14d, every: 7d, quality: {max_drop: null}}]", "never be judged"),
        (f"monitors: [{GOOD}, {GOOD}]", "'weekly' is declared twice"),
        ("", "monitors: Field required"),
        ("[1, 2]", "file"),
        ("monitors: [", "cannot be read"),
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
    assert find_monitor(project, "weekly").name == "weekly"
    with pytest.raises(ConfigError, match="no monitor 'daily'") as caught:
        find_monitor(project, "daily")
    assert caught.value.hint == "it declares: weekly"
