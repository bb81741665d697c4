"""Copies of databases that others write to meanwhile."""

import sqlite3
import threading
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest
import sqlalchemy as sa

from tests.tidemill.state.test_store import turn
from tidemill.errors import StateError
from tidemill.state import open_state
from tidemill.state.database_snapshots import open_snapshots, row_counts
from tidemill.state.postgres_tables import fill_tables, filled_tables
from tidemill.state.schema import newest_heads
from tidemill.state.store import make_tables, schema_of
from tidemill.state.tables import GateDecision, Turn

pytestmark = pytest.mark.slow

NOW = datetime(2013, 4, 1, 12, tzinfo=UTC)


@contextmanager
def written_in_turn(url: str, other: Path):
    """Write number after number, first to the records, then to another database."""
    stop, state = threading.Event(), open_state(url)

    def write() -> None:
        number = 0
        with closing(sqlite3.connect(other, isolation_level=None)) as connection:
            while not stop.is_set():
                with state.transaction() as session:
                    session.add(turn(number, "promoted"))
                connection.execute("INSERT INTO tags VALUES (?)", (number,))
                number += 1

    writer = threading.Thread(target=write)
    writer.start()
    try:
        yield
    finally:
        stop.set()
        writer.join()
        state.close()


def test_copies_are_of_one_moment(any_state_url: str, tmp_path: Path):
    other = tmp_path / "other.db"
    with closing(sqlite3.connect(other)) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("CREATE TABLE tags (number)")
        connection.execute("CREATE TABLE alembic_version (version_num)")
        connection.execute("INSERT INTO alembic_version VALUES ('abc')")
        connection.commit()
    seen = []
    with written_in_turn(any_state_url, other):
        for number in range(12):
            with open_snapshots(any_state_url, f"sqlite:///{other}") as snapshots:
                copies = []
                for name, each in enumerate(snapshots):
                    (tmp_path / f"{number}-{name}").mkdir()
                    copies.append(each.copy_to(tmp_path / f"{number}-{name}"))
                seen.append((copies[0].rows["turns"], copies[1].rows["tags"]))
    assert {first - second for first, second in seen} <= {0, 1}, seen
    assert seen[-1][0] > seen[0][0], "they were written to meanwhile"
    assert (copies[0].revision, copies[1].revision) == (newest_heads()[0], "abc")
    assert row_counts(copies[1].files["database.sqlite"]) == copies[1].rows


def test_rows_of_postgres_come_back_with_what_refers_to_them(postgres_url: str, tmp_path: Path):
    state = open_state(postgres_url)
    with state.transaction() as session:
        session.add(
            GateDecision(
                id="gate_1", model="m", candidate="1", mode="enforce", passed=True, numbers={"n": None},
                reasons=["tab\there, back\\slash\nand ü"], decided_at=NOW,
            )
        )  # fmt: skip
        session.flush()
        row = turn(1)
        row.decision_id = "gate_1"
        session.add(row)
    state.close()
    with open_snapshots(postgres_url) as [snapshot]:
        copy = snapshot.copy_to(tmp_path)
    assert filled_tables(postgres_url) == ["gate_decisions", "turns"]
    files = dict(reversed(copy.files.items()))  # turns come before the decisions that they refer to
    with state.engine.connect() as connection:
        connection.execute(sa.text("DROP SCHEMA public CASCADE"))
        connection.execute(sa.text("CREATE SCHEMA public"))
        connection.commit()
    assert schema_of(postgres_url) is None
    make_tables(postgres_url, copy.revision)
    with (
        pytest.raises(StateError, match=r"table turns of .* has 1 rows, the backup 2"),
        fill_tables(postgres_url, files, copy.columns, {**copy.rows, "turns": 2}),
    ):
        pass
    assert filled_tables(postgres_url) == []
    with fill_tables(postgres_url, files, copy.columns, copy.rows):
        pass
    with open_state(postgres_url).transaction() as session:
        assert session.get_one(Turn, "turn_1").decision_id == "gate_1"
        assert session.get_one(GateDecision, "gate_1").reasons == ["tab\there, back\\slash\nand ü"]


def test_a_damaged_copy_is_said(tmp_path: Path):
    (tmp_path / "records").write_bytes(b"no database" * 1000)
    with pytest.raises(StateError, match="records is no whole database"):
        row_counts(tmp_path / "records")
