from datetime import UTC, datetime
from pathlib import Path

import pytest
import yaml

from tidemill.errors import ConfigError
from tidemill.project import load_project
from tidemill.retraining.turn import declared_moment

PROJECT = {
    "project": {"name": "toys", "model": "toy", "training": "mine:spec", "application": "mine:application"},
    "dataset": {"path": "data/set.parquet", "label": "y"},
    "features": {"service": "toy"},
}


def moment_of(folder: Path, data: dict[str, object]) -> datetime:
    (folder / "params.yaml").write_text(yaml.safe_dump(PROJECT | {"data": data}))
    return declared_moment(load_project(folder))


def test_the_moment_declared_wins(tmp_path: Path):
    declared = {"last_month": "2013-03", "as_of": "2013-03-20T00:00:00-05:00"}
    assert moment_of(tmp_path, declared) == datetime(2013, 3, 20, 5, tzinfo=UTC)


@pytest.mark.parametrize(
    ("month", "end"), [("2013-03", (2013, 4)), ("2013-12", (2014, 1)), ("2012-02", (2012, 3))]
)
def test_else_it_is_the_end_of_the_last_month(tmp_path: Path, month: str, end: tuple[int, int]):
    assert moment_of(tmp_path, {"last_month": month, "as_of": None}) == datetime(*end, 1, tzinfo=UTC)


@pytest.mark.parametrize("data", [{}, {"last_month": "March"}, {"as_of": "soon"}])
def test_anything_else_is_an_error(tmp_path: Path, data: dict[str, object]):
    with pytest.raises(ConfigError, match="data\\."):
        moment_of(tmp_path, data)
