"""Versions are found by what they have."""

from datetime import UTC, datetime

import pytest

from tidemill.errors import UsageError
from tidemill.registry.version_search import VersionQuery, matching_versions
from tidemill.registry.versions.registry_reader import ShownVersion


def version(number, mae, family, **tags):
    return ShownVersion(
        "m", str(number), (), f"run{number}", datetime(2013, number, 1, tzinfo=UTC),
        {"holdout_neg_mae": -mae, "validation_neg_mae": -1.0},
        {"git_commit": f"4f{number}d", "data": {"a": f"9{number}"}},
        tags=tags, params={"family": family, "depth": 3, "rate": 0.1},
    )  # fmt: skip


ALL = [
    version(3, 9.0, "xgboost", team="red"),
    version(2, 12.0, "xgboost"),
    version(1, 20.0, "linear", team="blue"),
]


@pytest.mark.parametrize(
    ("query", "found"),
    [
        (VersionQuery(), "321"),
        (VersionQuery(metrics=["mae<12"]), "3"),
        (VersionQuery(metrics=["mae <= 12", "holdout_mae>9"]), "2"),
        (VersionQuery(metrics=["validation_mae=1", "mae<9"]), ""),
        (VersionQuery(params=["family=xgboost", "rate=1e-1", "depth=3.0"]), "32"),
        (VersionQuery(params=["width=3"]), ""),
        (VersionQuery(tags=["team"]), "31"),
        (VersionQuery(tags=["team=blue"]), "1"),
        (VersionQuery(data="4f2"), "2"),
        (VersionQuery(data="91"), "1"),
        (VersionQuery(since=datetime(2013, 2, 1, tzinfo=UTC), until=datetime(2013, 3, 1, tzinfo=UTC)), "2"),
    ],
)
def test_a_version_is_found_that_has_all_that_is_asked_for(query, found):
    assert "".join(one.version for one in matching_versions(ALL, query)) == found


@pytest.mark.parametrize(
    "query", [VersionQuery(metrics=["mae"]), VersionQuery(metrics=["mae<x"]), VersionQuery(params=["a"])]
)
def test_what_cannot_be_read_is_refused(query):
    with pytest.raises(UsageError, match=r"--(metric|param) '"):
        matching_versions(ALL, query)


def test_a_metric_that_no_version_has_is_refused_with_those_that_there_are():
    with pytest.raises(UsageError, match="rmse: no version has such a metric") as caught:
        matching_versions(ALL, VersionQuery(metrics=["rmse<99"]))
    assert caught.value.hint == "choose mae, validation_mae"
    assert matching_versions([], VersionQuery(metrics=["rmse<99"])) == []
