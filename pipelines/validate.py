"""Stage 2: sets bad rows aside with their reasons, and counts them.

A row is judged by all that was known of it when the stage ran: of a flight that is found out at its arrival,
the departure does not count either. That is hindsight, but only for the few flights that are set aside.
"""

from pipelines import schemas
from pipelines.stage import read_parquet, run_stage, write_outputs
from tidemill.data.validation import validate
from tidemill.project import Project

__all__ = ["validate_tables"]

_SCHEMAS = {"flights": schemas.flights, "weather": schemas.weather, "aircraft": schemas.aircraft}


def validate_tables(project: Project) -> None:
    """Write ``data/clean``, ``data/rejected`` (with the column ``reason``) and ``data/validation.json``.

    Raises:
        DataError: a table is not what its schema declares, or too many of its rows are bad.
    """
    data = project.root / "data"
    checked = {
        name: validate(read_parquet(data / "raw" / f"{name}.parquet", "ingest"), schema, name)
        for name, schema in _SCHEMAS.items()
    }
    write_outputs(
        {
            **{data / "clean" / f"{name}.parquet": table.clean for name, table in checked.items()},
            **{data / "rejected" / f"{name}.parquet": table.rejected for name, table in checked.items()},
            data / "validation.json": {name: table.report.as_dict() for name, table in checked.items()},
        }
    )


if __name__ == "__main__":
    run_stage(validate_tables)
