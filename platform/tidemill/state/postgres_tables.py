"""Reads and fills the tables of a PostgreSQL schema by COPY."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import make_url

from tidemill.errors import StateError
from tidemill.state.state_errors import shown_address, translated

__all__ = ["columns_of", "connect", "fill_tables", "filled_tables", "tables_of", "temporary_schema"]

_REVISIONS = "alembic_version"
_PART = 1 << 20

_TABLES = """
SELECT relname FROM pg_class
WHERE relkind = 'r' AND relnamespace = current_schema()::regnamespace ORDER BY relname
"""
_COLUMNS = """
SELECT attname FROM pg_attribute
WHERE attrelid = quote_ident(%s)::regclass AND attnum > 0 AND NOT attisdropped AND attgenerated = ''
ORDER BY attnum
"""
_FOREIGN_KEYS = """
SELECT relname, conname FROM pg_constraint JOIN pg_class ON pg_class.oid = conrelid
WHERE contype = 'f' AND NOT condeferrable AND connamespace = current_schema()::regnamespace
"""
_COUNTERS = """
SELECT table_name, column_name FROM information_schema.columns
WHERE table_schema = current_schema()
  AND pg_get_serial_sequence(quote_ident(table_name), column_name) IS NOT NULL
"""


def connect(url: str) -> Any:
    """Return a connection of psycopg to an address as SQLAlchemy writes it."""
    import psycopg

    plain = make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
    return psycopg.connect(plain, connect_timeout=30)


def tables_of(connection: Any) -> list[str]:
    """Return the names of the tables in the schema that a connection uses."""
    return [name for (name,) in connection.execute(_TABLES).fetchall()]


def columns_of(connection: Any, table: str) -> list[str]:
    """Return the columns of a table that hold what was written, not what the database computes."""
    return [name for (name,) in connection.execute(_COLUMNS, (table,)).fetchall()]


def filled_tables(url: str) -> list[str]:
    """Return the tables that have rows, apart from the revision of the schema.

    Raises:
        StateError: the database cannot be reached.
    """
    from psycopg import sql

    with translated(make_url(url)), connect(url) as connection:
        some = sql.SQL("SELECT EXISTS (SELECT FROM {})")
        return [
            table
            for table in tables_of(connection)
            if table != _REVISIONS and connection.execute(some.format(sql.Identifier(table))).fetchone()[0]
        ]


@contextmanager
def temporary_schema(url: str, name: str) -> Iterator[str]:
    """Make an empty schema in a database; give the address that uses it, and drop it at the end.

    Raises:
        StateError: the database cannot be reached, or its user may make no schema.
    """
    from psycopg import sql

    address = make_url(url)
    options = f"{address.query.get('options', '')} -csearch_path={name}".strip()
    with translated(address), connect(url) as connection:
        connection.execute(sql.SQL("CREATE SCHEMA {}").format(sql.Identifier(name)))
    try:
        yield address.update_query_dict({"options": options}).render_as_string(hide_password=False)
    finally:
        with connect(url) as connection:
            connection.execute(sql.SQL("DROP SCHEMA {} CASCADE").format(sql.Identifier(name)))


@contextmanager
def fill_tables(
    url: str, files: Mapping[str, Path], columns: Mapping[str, list[str]], rows: Mapping[str, int]
) -> Iterator[None]:
    """Put rows into empty tables in one transaction, which is committed when the block succeeds.

    Args:
        url: of the database, whose tables are there.
        files: with the rows of each table, as COPY wrote them.
        columns: of each file, in order.
        rows: the number of rows that each table must have then.

    Raises:
        StateError: a row does not fit, or a number of rows differs; nothing is changed.
    """
    import psycopg

    address = make_url(url)
    try:
        with connect(url) as connection:
            keys = connection.execute(_FOREIGN_KEYS).fetchall()
            _defer(
                connection, keys, "DEFERRABLE INITIALLY DEFERRED"
            )  # rows may come before what they refer to
            for table in tables_of(connection):
                _empty(connection, table)
            for table, file in files.items():
                _copy_in(connection, table, file, columns[table])
            connection.execute("SET CONSTRAINTS ALL IMMEDIATE")
            _defer(connection, keys, "NOT DEFERRABLE")
            _set_counters(connection)
            _compare(connection, rows, shown_address(address))
            yield
    except psycopg.Error as error:
        raise StateError(
            f"the rows do not fit into {shown_address(address)}: {str(error).strip()}",
            hint="the database must be empty, or have the tables of the backup's release and no rows",
        ) from error


def _defer(connection: Any, keys: list[tuple[str, str]], how: str) -> None:
    from psycopg import sql

    for table, key in keys:
        change = sql.SQL("ALTER TABLE {} ALTER CONSTRAINT {} {}")
        connection.execute(change.format(sql.Identifier(table), sql.Identifier(key), sql.SQL(how)))


def _empty(connection: Any, table: str) -> None:
    """Delete what migrations wrote into a new table."""
    from psycopg import sql

    connection.execute(sql.SQL("DELETE FROM {}").format(sql.Identifier(table)))


def _copy_in(connection: Any, table: str, file: Path, columns: list[str]) -> None:
    from psycopg import sql

    named = sql.SQL(", ").join(map(sql.Identifier, columns))
    query = sql.SQL("COPY {} ({}) FROM STDIN").format(sql.Identifier(table), named)
    with file.open("rb") as given, connection.cursor().copy(query) as rows:
        while part := given.read(_PART):
            rows.write(part)


def _set_counters(connection: Any) -> None:
    from psycopg import sql

    for table, column in connection.execute(_COUNTERS).fetchall():
        query = sql.SQL(
            "SELECT setval(pg_get_serial_sequence(quote_ident({name}), {text}), max({column})) FROM {table}"
        ).format(
            name=sql.Literal(table),
            text=sql.Literal(column),
            column=sql.Identifier(column),
            table=sql.Identifier(table),
        )
        connection.execute(query)


def _compare(connection: Any, rows: Mapping[str, int], shown: str) -> None:
    from psycopg import sql

    for table, number in rows.items():
        count = sql.SQL("SELECT count(*) FROM {}").format(sql.Identifier(table))
        [found] = connection.execute(count).fetchone()
        if found != number:
            raise StateError(
                f"table {table} of {shown} has {found} rows, the backup {number}", hint="use another backup"
            )
