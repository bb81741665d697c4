"""Columns of any name go from a table to rows for training, or are left out and named."""

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from tidemill.errors import ConfigError, UsageError
from tidemill.project.feature_columns import read_columns
from tidemill.project.project import load_project
from tidemill.quickstart.init_options import InitOptions
from tidemill.quickstart.new_project import ProjectDraft, draft_project, write_draft
from tidemill.stages.ingest import ingest_table
from tidemill.stages.training_set import write_training_set
from tidemill.stages.validate import validate_table
from tidemill.training.feature_table import FeatureTable
from tidemill.training.training_rows import read_labelled

pytestmark = [pytest.mark.engine, pytest.mark.usefixtures("few_pieces")]

NAMES = ["count", "len", "index", "literal", "a.b", "feature.x", "proportion", "value", "code"]
PATTERNS = ["^x.*$", "*"]
N = 200
R = np.random.default_rng(0)


def columns() -> list[pl.Series]:
    """Return a label, a time, a key, and features: text, numbers, lists, truth."""
    days = pl.datetime_range(pl.datetime(2024, 1, 1), pl.datetime(2024, 7, 18), interval="1d", eager=True)
    return [
        pl.Series(R.choice(["yes", "no"], N)),
        days.head(N),
        pl.Series(range(1000, 1000 + N)),
        pl.Series(R.choice(["a", "b", "c"], N)),
        pl.Series(R.normal(size=N)),
        pl.Series(R.normal(size=(N, 2)).tolist(), dtype=pl.List(pl.Float64)),
        pl.Series(R.choice([True, False], N)),
        pl.Series(R.choice(["d", "e"], N)),
        pl.Series(R.integers(0, 90, N)),
    ]


def draft(folder: Path, names: list[str], label: str, time: str, key: str) -> ProjectDraft:
    table = pl.DataFrame(dict(zip(names, columns(), strict=True)))
    others = {"": R.choice(["f", "g"], N), **{name: R.choice(["h", "i"], N) for name in PATTERNS}}
    table.with_columns(pl.Series(name, values) for name, values in others.items()).write_parquet(
        folder / "t.parquet"
    )
    return draft_project("odd", "t.parquet", folder, InitOptions(label, time=time, key=key))


@pytest.mark.parametrize("first", range(len(NAMES)))
def test_a_name_stands_for_its_column_alone(tmp_path: Path, first: int):
    names = [*NAMES[first:], *NAMES[:first]]
    label, time, key, *features = names
    made = draft(tmp_path, names, label, time, key)
    assert made.choices.features.left_out.keys() == set(PATTERNS)
    write_draft(made, tmp_path / "p")
    project = load_project(tmp_path / "p")
    for stage in (ingest_table, validate_table, write_training_set):
        stage(project)
    chosen = [column.name for column in read_columns(project)]
    assert chosen[: len(features)] == features
    rows = read_labelled(project, chosen, datetime(2030, 1, 1, tzinfo=UTC)).rows
    assert rows.height == N
    table = FeatureTable.of(rows, chosen)
    assert {name: len(words) for name, words in table.words.items()} == {features[0]: 3, features[4]: 2}


@pytest.mark.parametrize("name", PATTERNS)
@pytest.mark.parametrize("option", ["label", "time", "key"])
def test_a_name_that_reads_as_a_pattern_is_refused_where_it_is_needed(tmp_path: Path, option: str, name: str):
    roles = {"label": "value", "time": "len", "key": "index", option: name}
    with pytest.raises(
        UsageError, match=f"--{option.replace('label', 'target')}: .* reads as a pattern"
    ) as why:
        draft(tmp_path, NAMES, **roles)
    assert why.value.hint == "rename the column"


def test_declarations_refuse_names_that_read_as_patterns(tmp_path: Path):
    write_draft(draft(tmp_path, NAMES, "count", "len", "index"), tmp_path / "p")
    features, params = tmp_path / "p" / "features.yaml", tmp_path / "p" / "params.yaml"
    features.write_text(features.read_text().replace("literal", '"^x.*$"'))
    with pytest.raises(ConfigError, match="reads as a pattern"):
        read_columns(load_project(tmp_path / "p"))
    params.write_text(params.read_text().replace("  label: count", '  label: "^x.*$"'))
    with pytest.raises(ConfigError, match=r"dataset\.label.*reads as a pattern"):
        load_project(tmp_path / "p")
