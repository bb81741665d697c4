"""Columns of two runs' data are compared by what was kept with the data versions; no table is read."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from tidemill.data.tables.column_summary import FEWEST
from tidemill.data.tables.summarising import summarise
from tidemill.data.versioning.content_records import write_summaries
from tidemill.monitoring.drift.distances import wasserstein
from tidemill.training.tracking.showing.column_differences import column_differences, column_section

PATH = "data/training_set.parquet"


@dataclass
class Folder:
    """What is read of a project's folder."""

    root: Path

    @property
    def home(self):
        return self.root / ".tidemill"


@dataclass
class Run:
    """A run by its data alone."""

    origin: dict
    lineage: None = None


@pytest.fixture
def tables():
    draw = np.random.default_rng(3)
    return [
        pl.DataFrame(
            {
                "same": np.arange(4000.0),
                "wind": draw.normal(place, 2.0, 4000),
                "carrier": ["UA"] * (3000 - 2000 * place) + ["AA"] * (1000 + 2000 * place),
                "name": [f"person {number}" for number in range(4000)],
                "rare": ["common"] * (4000 - FEWEST + 1) + ["somebody"] * (FEWEST - 1),
            }
        )
        for place in (0, 1)
    ]


def test_the_farthest_column_comes_first_and_its_distance_is_that_of_all_rows(tables, tmp_path, monkeypatch):
    module = "tidemill.training.tracking.showing.column_differences.expectations_digest"
    monkeypatch.setattr(module, lambda root: "types")
    folder = Folder(tmp_path)
    folder.home.mkdir()
    for place, table in enumerate(tables):
        write_summaries(folder, str(place), PATH, "types", summarise(table.lazy()))
    found = column_differences(folder, [Run({"data": {PATH: str(place)}}) for place in (0, 1)])
    assert [one.column for one in found if one.differs] == ["wind", "carrier"]
    exact = wasserstein(*(table["wind"].to_numpy() for table in tables))
    assert found[0].distances[1].value == pytest.approx(exact, abs=0.02)
    section = column_section(found, all_of=False)
    assert section.equal == 3
    assert "half" in section.rows[0].values[0]
    assert "standard deviations apart" in section.rows[0].values[1]
    assert "Jensen–Shannon" in section.rows[1].values[1]
    assert column_differences(folder, [Run({"data": {PATH: "unknown"}}), Run({})]) == []


def test_nothing_is_kept_that_stands_for_few_people(tables):
    found = summarise(tables[0].lazy())
    assert (found["name"].distinct, found["name"].categories) == (4000, {})
    assert found["rare"].categories == {"common": 4000 - FEWEST + 1}
    assert "person" not in str(found)
    alone = summarise(pl.LazyFrame({"age": [41.0, 52.0, None]}))["age"]
    assert (alone.nulls, alone.mean, alone.std, alone.quantiles) == (1, None, None, ())
