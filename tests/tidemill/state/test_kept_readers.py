import sqlite3
from contextlib import closing

import pytest

from tidemill.files.read_only_sqlite import open_to_read
from tidemill.state.kept_readers import KeptReaders


@pytest.fixture
def database(tmp_path):
    write(tmp_path / "a.db", 1)
    return tmp_path / "a.db"


@pytest.fixture
def opened():
    return []


@pytest.fixture
def readers(opened):
    def open_new(path):
        opened.append(open_to_read(path, wait_seconds=1, any_thread=True))
        return opened[-1]

    made = KeptReaders(open_new)
    yield made
    made.close()


def write(path, value):
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("CREATE TABLE IF NOT EXISTS t (value INTEGER)")
        connection.execute("INSERT INTO t VALUES (?)", (value,))
        connection.commit()


def read(readers, path):
    with readers.connection(path) as connection:
        return [row[0] for row in connection.execute("SELECT value FROM t ORDER BY value")]


def test_a_connection_is_kept_and_sees_what_others_write(readers, opened, database):
    assert read(readers, database) == [1]
    for number in (2, 3):
        write(database, number)
        assert read(readers, database) == list(range(1, number + 1))
    assert len(opened) == 1


def test_another_file_at_the_same_place_is_opened(readers, opened, database, tmp_path):
    mark = readers.mark(database)
    assert read(readers, database) == [1]
    write(tmp_path / "b.db", 7)
    for file in tmp_path.glob("a.db*"):
        file.rename(tmp_path / f"aside-{file.name}")
    with pytest.raises(FileNotFoundError):
        read(readers, database)
    (tmp_path / "b.db").replace(database)
    assert read(readers, database) == [7]
    assert readers.mark(database) != mark


def test_a_connection_that_failed_is_not_kept(readers, opened, database):
    with pytest.raises(sqlite3.OperationalError), readers.connection(database) as connection:
        connection.execute("SELECT nothing FROM t")
    assert read(readers, database) == [1]
    assert len(opened) == 2


def test_the_mark_is_another_one_after_each_change_alone(readers, database):
    marks = [readers.mark(database), readers.mark(database)]
    write(database, 2)
    marks += [readers.mark(database), readers.mark(database)]
    assert marks[0] == marks[1] != marks[2] == marks[3]
