"""Makes the tables of MLflow's database, and brings them to the schema of the installed MLflow.

MLflow's own command refuses an older schema until somebody runs `mlflow db upgrade`, which nothing keeps from
running twice at once.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import NamedTuple

from mlflow import MlflowException
from sqlalchemy import create_engine, inspect, make_url, text
from sqlalchemy.exc import SQLAlchemyError

from tidemill.errors import StateError
from tidemill.files.locks import locked
from tidemill.files.sqlite_urls import sqlite_file
from tidemill.state.state_errors import shown_address, words_of
from tidemill.training.tracking import private_mlflow
from tidemill.training.tracking.mlflow_tracking import quiet_mlflow

__all__ = ["TrackingSchema", "tracking_schema", "upgrade_tracking"]

_LOCK = 0x6D6C_666C_6F77
"""Number of the advisory lock in PostgreSQL ("mlflow" in ASCII)."""


class TrackingSchema(NamedTuple):
    """Revisions of the schema of MLflow's database."""

    found: str | None
    """None where it has no tables."""
    wanted: str
    """Of the installed MLflow."""


def tracking_schema(url: str) -> TrackingSchema:
    """Return which schema MLflow's database has, and which one it should have.

    Raises:
        StateError: the database cannot be reached.
    """
    file = sqlite_file(url)
    if file is not None and not file.exists():
        return TrackingSchema(None, private_mlflow.newest_schema())
    with _said(url):
        engine = create_engine(url)
        try:
            with engine.connect() as connection:
                there = inspect(connection).has_table("alembic_version")
                found = (
                    connection.scalar(text("SELECT max(version_num) FROM alembic_version")) if there else None
                )
        finally:
            engine.dispose()
    return TrackingSchema(found, private_mlflow.newest_schema())


def upgrade_tracking(url: str) -> bool:
    """Make the tables, or bring them to the installed MLflow's schema; return whether anything was done.

    Processes that do this at once take turns.

    Raises:
        StateError: the database cannot be reached or migrated, or is of a newer MLflow.
    """
    quiet_mlflow()
    with _said(url), _turn(url):
        schema = tracking_schema(url)
        if schema.found == schema.wanted:
            return False
        if schema.found is not None and not private_mlflow.knows_schema(schema.found):
            raise StateError(
                f"MLflow's database at {shown_address(make_url(url))} is of a newer MLflow: its schema is "
                f"{schema.found}, the installed one knows {schema.wanted}",
                hint="install that MLflow, or restore a backup that was made before",
            )
        private_mlflow.migrate(url, empty=schema.found is None)
        return True


@contextmanager
def _turn(url: str) -> Iterator[None]:
    file = sqlite_file(url)
    with ExitStack() as stack:
        if file is not None:
            lock = file.with_name(file.name + ".create.lock")  # as of who opens it for the first time
            stack.enter_context(locked(lock, wait_seconds=None))
        elif url.startswith("postgresql"):
            engine = create_engine(url)
            stack.callback(engine.dispose)
            connection = stack.enter_context(engine.connect())
            connection.execute(text(f"SELECT pg_advisory_xact_lock({_LOCK})"))
        yield


@contextmanager
def _said(url: str) -> Iterator[None]:
    try:
        yield
    except (MlflowException, SQLAlchemyError, OSError) as error:
        raise StateError(
            f"MLflow's database at {shown_address(make_url(url))} cannot be used: {words_of(error)}",
            hint="check TIDEMILL_TRACKING_URI, and that the database answers",
        ) from error
