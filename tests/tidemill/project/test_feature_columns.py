"""Tests of features.yaml and of the settings for projects without time and without a feature store."""

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from tidemill.errors import ConfigError
from tidemill.files.declaration_files import parse_declaration
from tidemill.project.feature_columns import FeatureColumn, parse_columns
from tidemill.project.project_config import ProjectConfig


def columns(text: str) -> tuple[FeatureColumn, ...]:
    return parse_columns(parse_declaration(text, Path("features.yaml")))


def test_every_field_is_read() -> None:
    found = columns(
        """
columns:
  - {name: wind, type: number, example: 3}
  - name: origin
    type: text
    required: false
    categories: [EWR, "NO"]
    unseen: flag
    personal: true
    example: EWR
"""
    )
    assert found == (
        FeatureColumn("wind", "number", example=3),
        FeatureColumn("origin", "text", False, ("EWR", "NO"), "flag", True, "EWR"),
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "must have the key `columns`"),
        ("columns: []", "at least one entry"),
        ("columns: [wind]", "column 1: entry is 'wind' (line 1): it must be a mapping"),
        ("columns: [{type: number}]", "column 1: name is missing (line 1)"),
        ("columns:\n- {name: wind}", "column 'wind': type is missing (line 2): it must be number, integer"),
        ("columns:\n- {name: a, type: text, categories: [no]}", "'a': categories is [False] (line 2)"),
        ("columns:\n- {name: a, type: number, categories: [x]}", "only text has categories"),
        ("columns:\n- {name: a, type: text, unseen: flag}", "'a': unseen is 'flag' (line 2): it needs"),
        ("columns:\n- {name: a, type: number, required: 1}", "required is 1 (line 2): it must be true"),
        ("columns:\n- {name: a, type: integer, example: x}", "example is 'x' (line 2): it must be of the"),
        ("columns:\n- {name: a, type: number, example: true}", "example is True (line 2)"),
        ("columns:\n- {name: a, type: text}\n- {name: a, type: text}", "(line 3): stands twice"),
        ("columns:\n- {name: a, type: text, kind: b}", "column 'a': kind is 'b' (line 2): it must be one of"),
    ],
)
def test_the_message_names_column_field_and_line(text: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        columns(text)
    assert message in str(caught.value)


def config(**sections: Any) -> ProjectConfig:
    given: dict[str, Any] = {
        "project": {"name": "iris", "model": "iris", "training": "a:b"},
        "dataset": {"path": "data/iris.csv", "label": "kind", "time": None},
        "features": {"from": "request"},
    }
    for name, section in sections.items():
        given[name] = {**given.get(name, {}), **section}
    return ProjectConfig.model_validate(given)


def test_rows_without_time_are_split_by_class_or_at_random() -> None:
    assert config().split.by == "stratified"
    assert config(project={"task": "regression"}).split.by == "random"
    assert config(split={"by": "group"}, dataset={"group": "farm"}).split.by == "group"
    assert config(dataset={"time": "at"}).split.by == "time"


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        ({"split": {"by": "time"}}, "split.by is time, but dataset.time is null"),
        ({"split": {"by": "group"}}, "dataset.group is not set"),
        ({"split": {"by": "stratified"}, "project": {"task": "regression"}}, "has no classes"),
        ({"split": {"validation": 0.5, "holdout": 0.5}}, "leave no rows to train on"),
        ({"features": {"from": "store"}}, "name the Feast service"),
        ({"features": {"service": "a"}}, "features.service needs a store"),
        ({"features": {"from": "store", "service": "a"}}, "project.application is missing"),
    ],
)
def test_contradictions_are_refused(sections: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError) as caught:
        config(**sections)
    assert message in str(caught.value)
