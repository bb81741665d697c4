"""What a request for scores says, and what is assumed where it says nothing."""

from collections.abc import Collection, Sequence
from datetime import datetime
from pathlib import PurePosixPath
from typing import Literal

import pyarrow as pa

from tidemill.clock import FIRST_YEAR, LAST_YEAR, utc
from tidemill.errors import UsageError
from tidemill.project import Project
from tidemill.scoring.execution.application_rows import request_columns
from tidemill.scoring.execution.input_columns import require_writable
from tidemill.scoring.input.fragments import FRAGMENT_ROWS
from tidemill.scoring.scoring_job import Mode, ScoreRequest

__all__ = [
    "AT",
    "application_columns",
    "at_column_of",
    "choose_mode",
    "chooses_decisions",
    "format_of",
    "moment_of_all",
    "part_rows",
]

AT = "event_timestamp"
"""The column of moments, unless another is named, or a feature is called so."""
_IN_PYTHON_ROWS = 100_000
"""Rows of a part where each row runs through Python, and takes ten times as long or more."""


def choose_mode(
    project: Project, request: ScoreRequest, features: Sequence[str], there: Sequence[str]
) -> Mode:
    """Return where the features come from; raise an error if it is a store and the project has none."""
    if request.features in ("keys", "online"):
        project.require_store()
    given = not project.has_store or set(features) <= set(there)
    return request.features or ("columns" if given else "keys")


def chooses_decisions(project: Project, request: ScoreRequest, there: Sequence[str]) -> bool:
    """Return whether the rows are instances of the application's request."""
    if request.decide is False or (request.decide is None and project.config.project.application is None):
        return False
    missing = [n for n, required in application_columns(project).items() if required and n not in there]
    if missing and request.decide:
        raise UsageError(
            f"the rows lack columns of the application's request: there is no column {', '.join(missing)}",
            hint="add them, rename columns with --rename, or score with --no-decide",
        )
    return not missing


def application_columns(project: Project) -> dict[str, bool]:
    """Return the fields of the application's request, and whether rows must have them."""
    return request_columns(project.load_application().request)


def at_column_of(
    request: ScoreRequest, there: Sequence[str], mode: Mode, features: Collection[str]
) -> str | None:
    """Return the column of moments; None if there is none, or none is needed.

    Raises:
        UsageError: the request is contradictory, or rows have no moments that features can be looked up for.
    """
    if request.at_column is not None and request.at is not None:
        raise UsageError("--at-column and --at exclude each other", hint="choose one")
    if mode == "columns" and not request.log:
        return None  # the result does not depend on it
    if request.at_column is not None or request.at is not None:
        return request.at_column
    if AT in there and AT not in features:
        return AT
    if mode == "keys" and request.default_at is None:
        raise UsageError(
            f"the rows have no moments: there is no column {AT!r}",
            hint="--at-column names the column, --at gives one moment for all rows; if the features are "
            "columns, --columns says which are missing",
        )
    return None


def moment_of_all(request: ScoreRequest, at_column: str | None, mode: Mode, now: datetime) -> datetime | None:
    """Return the moment of all rows; None if each has its own, or none is needed."""
    if at_column is not None or (mode == "columns" and not request.log):
        return None
    given = request.at or request.default_at
    if given is not None and not FIRST_YEAR <= given.year <= LAST_YEAR:
        raise UsageError(f"{given.isoformat()} is not in the years {FIRST_YEAR} to {LAST_YEAR}")
    return utc(given) if given else (now if mode == "online" else None)


def format_of(request: ScoreRequest, keep: Sequence[str], schema: pa.Schema) -> Literal["parquet", "csv"]:
    """Return the output's format, after checking that it takes the columns to keep."""
    name = PurePosixPath(request.output).suffix.lower()
    own: Literal["parquet", "csv"] | None = {".parquet": "parquet", ".csv": "csv"}.get(name)  # type: ignore[assignment]
    if own and request.format and own != request.format:
        raise UsageError(
            f"--format {request.format} does not fit the output {request.output}",
            hint="leave --format out, or name a folder",
        )
    form = own or request.format or "parquet"
    if form == "csv":
        require_writable(keep, schema)
    return form


def part_rows(request: ScoreRequest, decide: bool, mode: Mode) -> int:
    """Return how many rows a part has."""
    in_python = decide or request.log or mode == "online"
    return request.part_rows or (_IN_PYTHON_ROWS if in_python else FRAGMENT_ROWS)
