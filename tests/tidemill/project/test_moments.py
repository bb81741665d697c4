from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import yaml

from tidemill.clock import ReplayClock
from tidemill.errors import ConfigError, UsageError
from tidemill.project import Project, load_project
from tidemill.project.moments import declared_moment, moment_parameters, turn_moment

PROJECT: dict[str, dict[str, object]] = {
    "project": {"name": "toys", "model": "toy", "training": "mine:spec", "application": "mine:application"},
    "dataset": {"path": "data/set.parquet", "label": "y"},
    "features": {"service": "toy"},
}


NOW = datetime(2024, 5, 6, tzinfo=UTC)


def project_of(folder: Path, data: dict[str, object], **dataset: object) -> Project:
    declared = PROJECT | {"data": data, "dataset": PROJECT["dataset"] | dataset}
    (folder / "params.yaml").write_text(yaml.safe_dump(declared))
    return load_project(folder)


def moment_of(folder: Path, data: dict[str, object], **dataset: object) -> datetime:
    return declared_moment(project_of(folder, data, **dataset), ReplayClock(NOW))


def test_the_moment_declared_wins(tmp_path: Path):
    declared = {"last_month": "2013-03", "as_of": "2013-03-20T00:00:00-05:00"}
    assert moment_of(tmp_path, declared) == datetime(2013, 3, 20, 5, tzinfo=UTC)


@pytest.mark.parametrize(
    ("month", "end"), [("2013-03", (2013, 4)), ("2013-12", (2014, 1)), ("2012-02", (2012, 3))]
)
def test_else_it_is_the_end_of_the_last_month(tmp_path: Path, month: str, end: tuple[int, int]):
    assert moment_of(tmp_path, {"last_month": month, "as_of": None}) == datetime(*end, 1, tzinfo=UTC)


@pytest.mark.parametrize("data", [{}, {"last_month": None}, {"as_of": None}, {"first_month": "2013-01"}])
def test_a_project_that_declares_neither_means_now(tmp_path: Path, data: dict[str, object]):
    assert moment_of(tmp_path, data) == NOW
    assert moment_of(tmp_path, {"last_month": "2013-03"}, last_month=None, as_of=None) == NOW


@pytest.mark.parametrize(
    ("data", "says"),
    [
        ({"last_month": "March"}, "params.yaml: data.last_month is 'March', not a month"),
        ({"last_month": "2013-03", "as_of": "soon"}, "params.yaml: data.as_of is 'soon', not a moment"),
        ({"as_of": 20130320}, "params.yaml: data.as_of is 20130320, not a moment"),
    ],
)
def test_anything_else_is_an_error(tmp_path: Path, data: dict[str, object], says: str):
    with pytest.raises(ConfigError, match=says):
        moment_of(tmp_path, data)


def test_a_parameter_that_is_named_and_not_set_is_an_error(tmp_path: Path):
    with pytest.raises(ConfigError, match=r"data.until, which dataset.as_of names, is not set"):
        moment_of(tmp_path, {"last_month": "2013-03"}, as_of="data.until")


def test_a_turn_sets_only_the_parameters_that_there_are(tmp_path: Path):
    both = {"data.last_month": "2024-04", "data.as_of": "2024-05-01T00:00:00+00:00"}
    at = datetime(2024, 5, 1, tzinfo=UTC)
    assert moment_parameters(project_of(tmp_path, {"last_month": None, "as_of": None}), at) == both
    assert list(moment_parameters(project_of(tmp_path, {"as_of": None}), at)) == ["data.as_of"]
    assert moment_parameters(project_of(tmp_path, {}), at) == {}


def test_by_hand_a_moment_that_a_turn_wrote_gives_way_to_now_unless_the_data_is_of_the_past(tmp_path: Path):
    written, clock = datetime(2013, 3, 20, tzinfo=UTC), ReplayClock(NOW)
    live = project_of(tmp_path, {"as_of": written.isoformat()})
    assert turn_moment(live, None, {written}, clock) == NOW
    assert turn_moment(live, None, {written + timedelta(days=1)}, clock) == written  # the user's wish
    assert turn_moment(live, written, {written}, clock) == written
    past = project_of(tmp_path, {"last_month": "2013-03", "as_of": written.isoformat()})
    assert turn_moment(past, None, {written}, clock) == written


def test_a_moment_by_hand_needs_a_parameter_that_takes_it(tmp_path: Path):
    assert turn_moment(project_of(tmp_path, {"last_month": None}), NOW) == NOW
    with pytest.raises(UsageError, match=r"params.yaml has no parameter data.as_of") as refused:
        turn_moment(project_of(tmp_path, {}), NOW)
    assert "add data.as_of (null) to params.yaml" in str(refused.value.hint)
