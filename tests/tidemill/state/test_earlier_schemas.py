"""Records of every earlier schema come to the present one with all that is in them."""

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.tidemill.state.earlier_schema import FOLDER, revisions
from tidemill.state import open_state
from tidemill.state.store import make_tables, schema_of

pytestmark = pytest.mark.slow

CHANGED = {("alerts", "status", "open"): "firing"}
"""What a migration made of a value."""


@pytest.fixture(scope="module")
def newest(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The columns of new records, by table."""
    file = tmp_path_factory.mktemp("new") / "state.db"
    make_tables(f"sqlite:///{file}", "heads")
    return columns_of(file)


def columns_of(file: Path) -> dict[str, str]:
    with closing(sqlite3.connect(file)) as records:
        tables = [name for (name,) in records.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        return {
            table: sorted(
                (name, kind, null)
                for _, name, kind, null, *_ in records.execute(f"PRAGMA table_info({table})")
            )
            for table in tables
        }


def rows_of(file: Path) -> dict[str, list[dict[str, Any]]]:
    with closing(sqlite3.connect(file)) as records:
        records.row_factory = sqlite3.Row
        return {
            table: [dict(row) for row in records.execute(f"SELECT * FROM {table}")]
            for table in columns_of(file)
            if table != "alembic_version"
        }


def test_there_is_a_fixture_of_every_schema_but_the_present_one():
    found = {file.stem for file in FOLDER.glob("*.sql")}
    assert set(revisions()[:-1]) <= found, (
        "run python -m tests.tidemill.state.earlier_schema, and commit them"
    )
    assert found <= set(revisions())


@pytest.mark.parametrize("revision", sorted(file.stem for file in FOLDER.glob("*.sql")))
def test_an_earlier_schema_is_brought_to_the_present_one_with_its_rows(
    revision: str, tmp_path: Path, newest: dict[str, Any]
):
    file = tmp_path / "state.db"
    with closing(sqlite3.connect(file)) as records:
        records.executescript((FOLDER / f"{revision}.sql").read_text())
    url, before = f"sqlite:///{file}", rows_of(file)
    assert all(before.values()), "each table has a row"
    assert schema_of(url) == revision
    if revision in ("0001", "0012"):
        make_tables(url, "heads", keep=False)  # what `tidemill db upgrade --dry-run` does
        assert (schema_of(url), rows_of(file)) == (revision, before)
    open_state(url).close()
    assert columns_of(file) == newest
    after = rows_of(file)
    for table, rows in before.items():
        for row, kept in zip(rows, after[table], strict=True):
            same = {
                name: CHANGED.get((table, name, value), value) for name, value in row.items() if name in kept
            }
            assert same.items() <= kept.items(), table
