"""Records of an earlier schema with a row in each table, as SQL.

``python -m`` with this module's name writes those that are missing. Each is made once, and then kept.
"""

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from tidemill.state.schema import migrations_after
from tidemill.state.store import make_tables

FOLDER = Path(__file__).parent / "earlier_schemas"
TEXTS = {
    "model": "shop", "version": "3", "status": "promoted", "step": "end", "state": "done",
    "trigger": "manual", "actor": "ada", "reason": "a <reason>", "kind": "data_drift", "severity": "warning",
    "metric": "auc",
    "hash": "e" * 64, "prev_hash": "0" * 64,
}  # fmt: skip
MOMENT = "2013-05-01 12:00:00.000000"


def revisions() -> list[str]:
    """Return the revisions of all schemas, the present one last."""
    return [each.revision for each in migrations_after(None)]


def make_sql(revision: str, folder: Path) -> str:
    """Return the SQL of records at a schema; the folder is for the work."""
    file = folder / f"{revision}.db"
    make_tables(f"sqlite:///{file}", revision)
    engine = sa.create_engine(f"sqlite:///{file}")
    tables = sa.MetaData()
    with engine.connect() as connection:
        tables.reflect(connection)
    engine.dispose()
    with closing(sqlite3.connect(file)) as records:
        # an anchor is of an entry
        for table in sorted(tables.sorted_tables, key=lambda one: one.name == "audit_anchors"):
            if (
                table.name != "alembic_version"
                and not records.execute(f"SELECT 1 FROM {table.name}").fetchone()
            ):
                values = {column.name: _value(column) for column in table.columns}
                marks = ", ".join("?" * len(values))
                words = f"INSERT INTO {table.name} ({', '.join(values)}) VALUES ({marks})"
                records.execute(words, tuple(values.values()))
        records.commit()
        return "\n".join(records.iterdump()) + "\n"


def _value(column: sa.Column[Any]) -> object:
    for key in column.foreign_keys:
        return _value(key.column)
    if (column.table.name, column.name) == ("alerts", "status"):
        return "firing" if "fired_at" in column.table.columns else "open"
    match column.type:
        case sa.DateTime():
            return MOMENT
        case sa.Boolean():
            return 1
        case sa.JSON():
            return json.dumps({"of": column.name})
        case sa.Integer():
            return 1
        case sa.Float():
            return 0.5
        case sa.LargeBinary():
            return b"bytes"
        case _:
            return TEXTS.get(column.name, f"{column.table.name}.{column.name}")


def main() -> None:
    import tempfile

    FOLDER.mkdir(exist_ok=True)
    for revision in revisions():
        if not (FOLDER / f"{revision}.sql").exists():
            with tempfile.TemporaryDirectory() as folder:
                (FOLDER / f"{revision}.sql").write_text(make_sql(revision, Path(folder)))


if __name__ == "__main__":
    main()
