import multiprocessing
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from tests.warm_python import run_warm
from tidemill.errors import StateError, TidemillError
from tidemill.state import open_state, read_state
from tidemill.state.record_reader import open_records
from tidemill.state.tables import Table, Turn

pytestmark = pytest.mark.slow

NOW = datetime(2013, 4, 1, 12, tzinfo=UTC)


def turn(number: int, status: str = "running", model: str = "m") -> Turn:
    return Turn(
        id=f"turn_{number}", model=model, trigger="manual", reason="r", actor="a", promote=True, overrides={},
        as_of=NOW, status=status, step="data", seconds={}, requested_at=NOW,
    )  # fmt: skip


def test_the_migrations_bring_exactly_the_tables(any_state_url: str):
    state = open_state(any_state_url)
    with state.engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), Table.metadata) == []


def test_opening_twice_changes_nothing(any_state_url: str):
    first = open_state(any_state_url)
    with first.transaction() as session:
        session.add(turn(1))
    with open_state(any_state_url).transaction() as session:
        assert session.get_one(Turn, "turn_1").as_of == NOW


def test_the_reader_without_sqlalchemy_gives_what_was_written(any_state_url: str):
    state = open_state(any_state_url)
    with state.transaction() as session:
        session.add_all([turn(1, "done"), turn(2, "done", "other"), turn(3)])
    records = open_records(any_state_url)
    assert not records.absent
    assert records.ids("turns", "m") == ["turn_1", "turn_3"]
    assert records.counts("turns", "status", "model = ?", "m") == {"done": 1, "running": 1}
    [newest] = records.select("turns", "model = ? AND as_of <= ?", "m", NOW, order="id DESC", limit=1)
    assert (newest.id, newest.promote, newest.overrides, newest.as_of) == ("turn_3", True, {}, NOW)
    assert newest.as_of.utcoffset() == timedelta(0)
    with state.transaction() as session:
        written = session.get_one(Turn, "turn_3")
        assert {name: getattr(written, name) for name in vars(newest)} == vars(newest)
    assert records.select("turns", "as_of > ?", NOW) == []
    with pytest.raises(TidemillError, match="cannot be read"):
        records.select("no_such_table", "id = ?", "x")


KILLED = """
import os, signal, sys
from sqlalchemy import Engine, event
from tidemill.state import open_state

left = int(sys.argv[2])

def count(connection, cursor, statement, *_):
    global left
    left -= statement.lstrip().upper().startswith(("CREATE", "ALTER", "DROP", "INSERT"))
    if left < 0:
        os.kill(os.getpid(), signal.SIGKILL)

event.listen(Engine, "before_cursor_execute", count)
open_state(sys.argv[1])
"""


@pytest.mark.parametrize("statements", [1, 12])
def test_a_migration_that_was_killed_is_made_by_the_next_start(any_state_url: str, statements: int):
    killed = run_warm(KILLED, any_state_url, statements, modules=["tidemill.state"])
    assert killed.returncode == -signal.SIGKILL
    state = open_state(any_state_url)
    with state.engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), Table.metadata) == []
    with state.transaction() as session:
        session.add(turn(1))


def test_moments_come_back_aware_and_in_utc(any_state_url: str):
    state = open_state(any_state_url)
    row = turn(1)
    row.as_of = NOW.astimezone(timezone(timedelta(hours=-5)))
    with state.transaction() as session:
        session.add(row)
    state.engine.dispose()
    with state.transaction() as session:
        found = session.scalars(sa.select(Turn)).one()
    assert found.as_of == NOW
    assert found.as_of.utcoffset() == timedelta(0)


def test_a_naive_moment_is_refused(any_state_url: str):
    state = open_state(any_state_url)
    row = turn(1)
    row.as_of = NOW.replace(tzinfo=None)
    with pytest.raises(sa.exc.StatementError, match="naive"), state.transaction() as session:
        session.add(row)


def test_two_turns_of_one_model_never_run_at_once(any_state_url: str):
    state = open_state(any_state_url)
    with state.transaction() as session:
        session.add_all([turn(1), turn(2, "promoted"), turn(3, model="other")])
    with pytest.raises(sa.exc.IntegrityError), state.transaction() as session:
        session.add(turn(4))


def test_a_failed_transaction_leaves_nothing(any_state_url: str):
    state = open_state(any_state_url)
    with pytest.raises(sa.exc.IntegrityError), state.transaction() as session:
        session.add_all([turn(1), turn(2)])
    with state.transaction() as session:
        assert session.scalars(sa.select(Turn)).all() == []


def _add(url: str, number: int) -> None:
    with open_state(url).transaction() as session:
        session.add(turn(number, "promoted"))


@pytest.mark.slow
def test_many_processes_open_migrate_and_write_at_once(any_state_url: str):
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=_add, args=(any_state_url, number)) for number in range(4)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert [writer.exitcode for writer in writers] == [0] * 4
    with open_state(any_state_url).transaction() as session:
        assert len(session.scalars(sa.select(Turn)).all()) == 4


def test_transactions_take_turns(any_state_url: str):
    """What is read in a transaction is still so when it writes: rules rest on that."""
    state = open_state(any_state_url)
    with state.transaction() as session:
        session.add(turn(1))

    def count(_: int) -> None:
        with state.transaction() as session:
            row = session.get_one(Turn, "turn_1")
            seen = row.seconds.get("n", 0)
            time.sleep(0.005)
            row.seconds = {"n": seen + 1}

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(count, range(20)))
    with state.transaction() as session:
        assert session.get_one(Turn, "turn_1").seconds == {"n": 20}


def test_records_are_read_where_nothing_can_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    url = f"sqlite:///{tmp_path / 'state.db'}"
    state = open_state(url)
    with state.transaction() as session:
        session.add(turn(1))
    state.close()
    (tmp_path / "state.db.migrate.lock").unlink()
    before = sorted(tmp_path.iterdir())
    monkeypatch.setattr("tidemill.state.store.can_change", lambda path: path.parent != tmp_path)
    reading = read_state(url)
    with reading.transaction() as session:
        assert session.get_one(Turn, "turn_1").reason == "r"
    reading.close()
    assert not (tmp_path / "state.db.migrate.lock").exists()
    assert [path for path in tmp_path.iterdir() if not path.name.endswith(("-wal", "-shm"))] == before
    (tmp_path / "state.db").write_bytes(b"no database" * 200)
    with pytest.raises(StateError, match="cannot be opened"):
        read_state(url)


def test_a_place_that_cannot_be_written_is_said(tmp_path: Path):
    (tmp_path / "file").write_text("")
    with pytest.raises(TidemillError, match="cannot be opened"):
        open_state(f"sqlite:///{tmp_path / 'file' / 'state.db'}")


@pytest.mark.parametrize(
    "url", ["sqlite://user:secret@/no/such/host.db", "postgresql://user:secret@127.0.0.1:1/records"]
)
def test_a_password_is_not_in_the_message(url: str):
    with pytest.raises(TidemillError, match="cannot be opened") as caught:
        open_state(url)
    assert "secret" not in str(caught.value)


def test_other_databases_are_refused():
    with pytest.raises(TidemillError, match="cannot be kept in mysql") as caught:
        open_state("mysql://user:secret@host/records")
    assert "postgresql://" in caught.value.hint


HOLDER = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("BEGIN EXCLUSIVE")
print("held", flush=True)
sys.stdin.read()
"""


@contextmanager
def locked_by_another_process(database: Path) -> Iterator[int]:
    command = [sys.executable, "-c", HOLDER, str(database)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        yield holder.pid


def test_records_that_stay_locked_are_said_with_who_locks_them(tmp_path: Path):
    url = f"sqlite:///{tmp_path / 'state.db'}"
    state = open_state(url, wait_seconds=0.1)
    with locked_by_another_process(tmp_path / "state.db") as pid:
        said = rf"{tmp_path}/state.db are locked by process {pid} \(python.*\), and were not released"
        with pytest.raises(StateError, match=said) as caught, state.transaction() as session:
            session.scalars(sa.select(Turn)).all()
        assert caught.value.hint == "wait for it, or end it, and try again: nothing was written"
        with pytest.raises(StateError, match=said):
            open_state(url, wait_seconds=0.1)
    with state.transaction() as session:
        assert session.scalars(sa.select(Turn)).all() == []


def test_a_damaged_database_is_said_where_it_is_used(tmp_path: Path):
    state = open_state(f"sqlite:///{tmp_path / 'state.db'}")
    state.close()
    for path in tmp_path.glob("state.db*"):
        path.unlink()
    (tmp_path / "state.db").write_bytes(b"no database" * 1000)
    said = r"state.db cannot be read or written: file is not a database"
    with pytest.raises(StateError, match=said), state.transaction() as session:
        session.scalars(sa.select(Turn)).all()


def test_records_of_a_newer_release_are_not_opened(any_state_url: str):
    state = open_state(any_state_url)
    with state.transaction() as session:
        session.execute(sa.text("UPDATE alembic_version SET version_num = '9999'"))
    state.close()
    with pytest.raises(StateError, match=r"of a newer release of Tidemill: their schema is 9999"):
        open_state(any_state_url)


def test_a_writer_sees_that_its_file_is_gone_or_another_one(tmp_path: Path):
    path, aside = tmp_path / "state.db", tmp_path / "aside.db"
    state = open_state(f"sqlite:///{path}")
    with state.transaction() as session:
        session.add(turn(1, "promoted"))
    open_state(f"sqlite:///{aside}").close()
    state.engine.dispose()  # the journal is written back
    with state.transaction() as session:  # a connection is kept, to this file
        assert session.get(Turn, "turn_1")
    path.rename(tmp_path / "gone.db")
    with pytest.raises(StateError, match="is not there any more"), state.transaction() as session:
        session.add(turn(2, "promoted"))
    assert not path.exists()
    aside.rename(path)
    with state.transaction() as session:
        assert session.get(Turn, "turn_1") is None
        session.add(turn(3, "promoted"))
    state.close()
    assert open_records(path).ids("turns", "m") == ["turn_3"]


def test_a_writer_sees_that_a_backup_was_copied_over_its_file_and_the_log_removed(tmp_path: Path):
    path, backup = tmp_path / "state.db", tmp_path / "backup.db"
    state = open_state(f"sqlite:///{path}")
    with closing(sqlite3.connect(path)) as source, closing(sqlite3.connect(backup)) as target:
        source.backup(target)
        target.execute("PRAGMA journal_mode=DELETE")
    with state.transaction() as session:
        session.add_all(turn(number, "promoted") for number in range(1, 200))
    path.write_bytes(backup.read_bytes())
    for end in ("-wal", "-shm"):
        Path(f"{path}{end}").unlink()
    with state.transaction() as session:
        session.add(turn(300, "promoted"))
    assert open_records(path).ids("turns", "m") == ["turn_300"]  # and not in the log that is gone
    state.close()
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert connection.execute("SELECT id FROM turns").fetchall() == [("turn_300",)]


def test_where_the_log_was_removed_again_and_again_the_error_says_what_helps(tmp_path: Path):
    path = tmp_path / "state.db"
    state = open_state(f"sqlite:///{path}")

    def lose_logs() -> None:
        for number in range(4):
            with state.transaction() as one:
                one.add(turn(number, "promoted"))
            open_records(path).ids("turns", "m")
            for end in ("-wal", "-shm"):
                Path(f"{path}{end}").unlink(missing_ok=True)

    with pytest.raises(StateError, match="disk I/O error") as error:
        lose_logs()
    assert "`tidemill down` and `tidemill up` help" in error.value.hint
    state.close()
