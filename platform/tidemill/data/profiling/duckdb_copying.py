"""The process that copies a table of a DuckDB file into a parquet file: `read_duckdb` starts it."""

import json
import sys

import duckdb

__all__: list[str] = []


def _copy(file: str, table: str, target: str) -> dict[str, object]:
    """Write a table as parquet; return how many rows, or what hinders it."""
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
            rows.write_parquet(target)
            return {"rows": rows.shape[0]}
    except duckdb.Error as error:
        return {"error": str(error).splitlines()[0]}


def _quoted(name: str) -> str:
    """Return a name as SQL has it: in quotes, its own ones doubled."""
    return '"' + name.replace('"', '""') + '"'


if __name__ == "__main__":
    sys.stdout.write(json.dumps(_copy(*sys.argv[1:])))
