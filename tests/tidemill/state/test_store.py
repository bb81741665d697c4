import multiprocessing
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from tidemill.errors import TidemillError
from tidemill.state import open_state
from tidemill.state.tables import Table, Turn

NOW = datetime(2013, 4, 1, 12, tzinfo=UTC)


def turn(number: int, status: str = "running", model: str = "m") -> Turn:
    return Turn(
        id=f"turn_{number}", model=model, trigger="manual", reason="r", actor="a", promote=True, overrides={},
        as_of=NOW, status=status, step="data", seconds={}, requested_at=NOW,
    )  # fmt: skip


def test_the_migrations_bring_exactly_the_tables(tmp_path: Path):
    state = open_state(f"sqlite:///{tmp_path / 'state.db'}")
    with state.engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), Table.metadata) == []


def test_opening_twice_changes_nothing(tmp_path: Path):
    url = f"sqlite:///{tmp_path / 'state.db'}"
    first = open_state(url)
    with first.transaction() as session:
        session.add(turn(1))
    with open_state(url).transaction() as session:
        assert session.get_one(Turn, "turn_1").as_of == NOW


def test_moments_come_back_aware_and_in_utc(tmp_path: Path):
    state = open_state(f"sqlite:///{tmp_path / 'state.db'}")
    row = turn(1)
    row.as_of = NOW.astimezone(timezone(timedelta(hours=-5)))
    with state.transaction() as session:
        session.add(row)
    state.engine.dispose()
    with state.transaction() as session:
        found = session.scalars(sa.select(Turn)).one()
    assert found.as_of == NOW
    assert found.as_of.utcoffset() == timedelta(0)


def test_a_naive_moment_is_refused(tmp_path: Path):
    state = open_state(f"sqlite:///{tmp_path / 'state.db'}")
    row = turn(1)
    row.as_of = NOW.replace(tzinfo=None)
    with pytest.raises(sa.exc.StatementError, match="naive"), state.transaction() as session:
        session.add(row)


def test_two_turns_of_one_model_never_run_at_once(tmp_path: Path):
    state = open_state(f"sqlite:///{tmp_path / 'state.db'}")
    with state.transaction() as session:
        session.add_all([turn(1), turn(2, "promoted"), turn(3, model="other")])
    with pytest.raises(sa.exc.IntegrityError), state.transaction() as session:
        session.add(turn(4))


def test_a_failed_transaction_leaves_nothing(tmp_path: Path):
    state = open_state(f"sqlite:///{tmp_path / 'state.db'}")
    with pytest.raises(sa.exc.IntegrityError), state.transaction() as session:
        session.add_all([turn(1), turn(2)])
    with state.transaction() as session:
        assert session.scalars(sa.select(Turn)).all() == []


def _add(url: str, number: int) -> None:
    with open_state(url).transaction() as session:
        session.add(turn(number, "promoted"))


def test_many_processes_open_migrate_and_write_at_once(tmp_path: Path):
    url = f"sqlite:///{tmp_path / 'state.db'}"
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=_add, args=(url, number)) for number in range(4)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert [writer.exitcode for writer in writers] == [0] * 4
    with open_state(url).transaction() as session:
        assert len(session.scalars(sa.select(Turn)).all()) == 4


def test_a_place_that_cannot_be_written_is_said(tmp_path: Path):
    (tmp_path / "file").write_text("")
    with pytest.raises(TidemillError, match="cannot be opened"):
        open_state(f"sqlite:///{tmp_path / 'file' / 'state.db'}")


def test_a_password_is_not_in_the_message():
    with pytest.raises(TidemillError) as caught:
        open_state("sqlite://user:secret@/no/such/host.db")
    assert "secret" not in str(caught.value)
