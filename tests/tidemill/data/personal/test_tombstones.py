from datetime import UTC, datetime

import polars as pl
import pytest
import yaml

from tidemill.data.personal.pseudonyms import KEY_FILE, Pseudonymiser, load_key
from tidemill.data.personal.tombstones import (
    FILE,
    Tombstone,
    add_tombstone,
    keep_expression,
    read_tombstones,
    without_erased,
)
from tidemill.errors import ConfigError
from tidemill.project import load_project
from tidemill.settings import Settings

NOON = datetime(2013, 4, 1, 12, tzinfo=UTC)
FLIGHTS = pl.DataFrame(
    {"tailnum": ["N1", None, "N2", "N1"], "origin": ["EWR", "EWR", "JFK", "LGA"], "seat": [1, 2, 3, None]}
)


@pytest.fixture
def project(tmp_path):
    params = {
        "project": {"name": "small", "model": "small", "training": "a:b", "application": "a:c"},
        "dataset": {"path": "data/set.parquet", "label": "late"},
        "features": {"service": "small"},
    }
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(params))
    return load_project(tmp_path, Settings(privacy_key=None))


def bury(project, **subject):
    hide = Pseudonymiser(load_key(project)).hide
    stone = Tombstone(tuple(subject), tuple(hide(value) for value in subject.values()), NOON, "asked for it")
    return add_tombstone(project, stone)


def test_a_project_without_tombstones_keeps_everything_and_needs_no_key(project):
    assert without_erased(FLIGHTS, project) is FLIGHTS
    (project.root / FILE).write_text("key: null\nerased: []\n")
    assert without_erased(FLIGHTS, project) is FLIGHTS
    assert not project.home.exists()


def test_rows_of_erased_subjects_are_left_out_and_no_others(project):
    assert bury(project, tailnum="N1")
    kept = without_erased(FLIGHTS, project)
    assert kept["tailnum"].to_list() == [None, "N2"]
    assert kept.schema == FLIGHTS.schema
    assert without_erased(FLIGHTS.clear(), project).is_empty()
    other = FLIGHTS.drop("tailnum")
    assert without_erased(other, project) is other


def test_a_key_of_two_columns_needs_both(project):
    bury(project, tailnum="N1", origin="LGA")
    bury(project, seat=3)
    assert without_erased(FLIGHTS, project)["seat"].to_list() == [1, 2]
    assert without_erased(FLIGHTS.drop("origin"), project)["seat"].to_list() == [1, 2, None]


def test_a_lazy_frame_is_filtered_too(project):
    bury(project, seat=3)
    keep = keep_expression(FLIGHTS.columns, project)
    assert FLIGHTS.lazy().with_columns(pl.col("seat").cast(pl.Float64)).filter(keep).collect().height == 3
    assert keep_expression(["origin"], project) is None


def test_what_is_written_is_read_back_names_nobody_and_is_written_once(project):
    assert bury(project, tailnum="N14228")
    assert bury(project, tailnum="N24211", origin="EWR")
    assert not bury(project, tailnum="N14228")
    stones = read_tombstones(project.root)
    assert [stone.columns for stone in stones] == [("tailnum",), ("tailnum", "origin")]
    assert all(stone.erased_at == NOON and stone.reason == "asked for it" for stone in stones)
    text = (project.root / FILE).read_text()
    assert "N14228" not in text
    assert "N24211" not in text
    assert load_key(project).decode() not in text


def test_another_key_is_refused_since_it_would_bring_them_back(project):
    bury(project, tailnum="N1")
    (project.home / KEY_FILE).write_text("another key, long enough")
    with pytest.raises(ConfigError, match="another privacy key"):
        without_erased(FLIGHTS, project)
    with pytest.raises(ConfigError, match="another privacy key"):
        bury(project, tailnum="N2")
    (project.home / KEY_FILE).unlink()
    with pytest.raises(ConfigError, match="is missing"):
        without_erased(FLIGHTS, project)


@pytest.mark.parametrize(
    "content", ["a: [", "- 1", "erased: [3]", "erased: [{entity: [a], pseudonym: [], erased_at: 2013-04-01}]"]
)
def test_a_broken_file_is_named(project, content):
    (project.root / FILE).write_text(content)
    with pytest.raises(ConfigError, match=FILE) as raised:
        without_erased(FLIGHTS, project)
    assert "git" in raised.value.hint
