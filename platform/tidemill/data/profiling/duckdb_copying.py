"""The process that copies a table of a DuckDB file into a parquet file: `read_duckdb` starts it."""

import json
import sys
from collections.abc import Iterator

import duckdb

__all__: list[str] = []

_AS_TEXT = ("UUID", "JSON", "MAP", "UNION", "BIGNUM")
"""Types that Parquet, or Polars, has only as bytes or not at all."""
_WIDE = ("HUGEINT", "UHUGEINT")
"""Whole numbers of 128 bits, such as sums, which are written as floats otherwise."""
_MOMENTS = (
    "DATE",
    "TIMESTAMP",
    "TIMESTAMP_S",
    "TIMESTAMP_MS",
    "TIMESTAMP_NS",
    "TIMESTAMP WITH TIME ZONE",
)
_FINE_MOMENTS = ("TIMESTAMPTZ_NS",)
"""Moments that DuckDB 2.0 cannot ask for their end."""


def _copy(file: str, table: str, target: str) -> dict[str, object]:
    """Write a table as parquet; return how many rows, and the columns of microseconds, or what hinders it."""
    try:
        with duckdb.connect(file, read_only=True) as database:
            listed = database.execute(
                "select table_schema, table_name from information_schema.tables order by all"
            ).fetchall()
            names = {
                name if schema == "main" else f"{schema}.{name}": (schema, name) for schema, name in listed
            }
            if table not in names:
                return {"tables": list(names)}
            database.execute("set timezone = 'UTC'")
            rows = database.table(".".join(map(_quoted, names[table])))
            endless = [
                *_where(rows, "isinf({0})", _MOMENTS),
                *_where(rows, "isinf({0}::timestamptz)", _FINE_MOMENTS),
            ]
            if endless:
                return {"endless": endless}
            too_wide = set(_where(rows, "{0} not between -(2**63)::hugeint and (2**63 - 1)::hugeint", _WIDE))
            rows.select(", ".join(_written(rows, too_wide))).write_parquet(target)
            spans = [name for name, kind in _columns(rows) if kind == "INTERVAL"]
            return {"rows": rows.shape[0], "spans": spans}
    except duckdb.Error as error:
        return {"error": str(error).splitlines()[0]}


def _columns(rows: duckdb.DuckDBPyRelation) -> Iterator[tuple[str, str]]:
    return zip(rows.columns, map(str, rows.types), strict=True)


def _where(rows: duckdb.DuckDBPyRelation, condition: str, kinds: tuple[str, ...]) -> Iterator[str]:
    """Yield the columns of some types of which a value meets a condition."""
    names = [name for name, kind in _columns(rows) if kind in kinds]
    if names:
        asked = ", ".join(f"bool_or({condition.format(_quoted(name))})" for name in names)
        [found] = rows.aggregate(asked).fetchall()
        yield from (name for name, there in zip(names, found, strict=True) if there)


def _written(rows: duckdb.DuckDBPyRelation, too_wide: set[str]) -> Iterator[str]:
    """Yield each column as it is written, with all digits."""
    for name, kind in _columns(rows):
        column = _quoted(name)
        if kind == "INTERVAL":
            yield f"(epoch({column}) * 1000000)::bigint as {column}"
        elif kind in _WIDE:
            yield f"{column}::{'varchar' if name in too_wide else 'bigint'} as {column}"
        elif kind.partition("(")[0] in _AS_TEXT or "INTERVAL" in kind:  # in a list or a struct
            yield f"{column}::varchar as {column}"
        else:
            yield column


def _quoted(name: str) -> str:
    """Return a name as SQL has it: in quotes, its own ones doubled."""
    return '"' + name.replace('"', '""') + '"'


if __name__ == "__main__":
    sys.stdout.write(json.dumps(_copy(*sys.argv[1:])))
