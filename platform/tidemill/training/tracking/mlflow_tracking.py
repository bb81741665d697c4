"""Track runs, metrics and models in MLflow, always at the project's own address."""

import logging
import os
import re
import sqlite3
import time
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any
from urllib.parse import quote

from mlflow import MlflowClient, MlflowException
from mlflow.entities import Metric, Param, Run
from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore
from sqlalchemy.exc import SQLAlchemyError

from tidemill.errors import TrainingError
from tidemill.files.locks import locked
from tidemill.files.read_only_sqlite import can_change, copy_database
from tidemill.files.sqlite_urls import sqlite_file, sqlite_url
from tidemill.project import Project
from tidemill.state.state_errors import lock_holders
from tidemill.training.tracking.artifact_places import artifact_location, move_addresses
from tidemill.training.tracking.private_mlflow import silence_telemetry
from tidemill.training.tracking.run_files import write_file
from tidemill.training.tracking.run_values import END, PARENT, ROLE, TURN

__all__ = [
    "END",
    "PARENT",
    "ROLE",
    "TURN",
    "connect",
    "experiment_id",
    "find_runs",
    "kill_orphans",
    "log_points",
    "log_values",
    "parent_run",
    "quiet_mlflow",
    "shortened",
    "shown_params",
    "store_words",
]

_log = logging.getLogger(__name__)
ERROR = "error.txt"
"""File of a run that failed: the whole traceback."""
_DATABASES = ("sqlite", "postgresql", "mysql", "mssql")
_BATCH = 1000  # MLflow takes no more metrics at once
_PARAMS = 100  # nor more parameters
_NAME = 200  # MLflow allows 250 characters for names of parameters and runs
_LOCKED = "database is locked"
_NOT_A_NAME = re.compile(r"[^/\w.\- :]")


def connect(project: Project) -> MlflowClient:
    """Return a client for the project's tracking store and registry; the same one for the same address.

    MLflow's usage statistics are switched off in this process, for privacy.

    Raises:
        TrainingError: the store cannot be opened.
    """
    uri = project.tracking_uri
    try:
        return _client(uri, project.home, project.config.project.name)
    except (MlflowException, OSError, sqlite3.Error, SQLAlchemyError) as error:
        hint = "check TIDEMILL_TRACKING_URI, or that the project's .tidemill folder is writable"
        if _LOCKED in str(error):
            holders = ", ".join(lock_holders(sqlite_file(uri)))
            hint = f"wait for {holders or 'the process that writes to it'}, or end it, and try again"
        raise TrainingError(f"MLflow's store cannot be opened: {store_words(error)}", hint=hint) from error


def store_words(error: Exception) -> str:
    """Return what MLflow, or the database under it, said, without SQLAlchemy's statement and links.

    >>> store_words(MlflowException("(sqlite3.OperationalError) no such table\\n[SQL: SELECT 1]\\n(More"))
    '(sqlite3.OperationalError) no such table'
    >>> store_words(MlflowException("(sqlite3.OperationalError) database is locked\\n[SQL: UPDATE x]"))
    'another process locks its database, and did not release it in time'
    """
    said = str(error).partition("\n[SQL:")[0].strip()
    return "another process locks its database, and did not release it in time" if _LOCKED in said else said


def quiet_mlflow() -> None:
    """Switch off MLflow's usage statistics, progress bars and minor messages in this process."""
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    silence_telemetry()
    if "MLFLOW_LOGGING_LEVEL" not in os.environ:
        logging.getLogger("mlflow").setLevel(logging.WARNING)
        logging.getLogger("alembic").setLevel(logging.WARNING)
        logging.getLogger("mlflow.utils.environment").setLevel(logging.ERROR)  # an environment without pip


@lru_cache(maxsize=8)
def _client(uri: str, home: Path, experiment: str) -> MlflowClient:
    quiet_mlflow()
    database = sqlite_file(uri)
    if database is not None:
        own = database == home / "mlflow.db"
        if database.is_file() and not can_change(database):
            return _read_only_client(database, home, experiment, own=own)
        with locked(database.with_name(database.name + ".create.lock"), wait_seconds=None):
            if _is_new(database):
                _create_tables(uri, home)
            client = MlflowClient(uri, uri)  # brings the tables up to date
            with closing(sqlite3.connect(database)) as connection:
                connection.execute("PRAGMA journal_mode=WAL")  # replicas read while a training writes
            move_addresses(uri, home, experiment, own=own)
        return client
    client = MlflowClient(uri, uri)  # creates the tables of a database
    if uri.startswith(_DATABASES):
        move_addresses(uri, home, experiment, own=False)
    return client


def _is_new(database: Path) -> bool:
    """Return whether MLflow has yet to create its tables and the experiment Default."""
    with closing(sqlite3.connect(database)) as connection:
        try:
            found = connection.execute("SELECT count(*) FROM experiments").fetchone()
        except sqlite3.OperationalError:
            return True
    return bool(found == (0,))


def _create_tables(uri: str, home: Path) -> None:
    """Create MLflow's tables, and the experiment Default.

    MLflow writes the address of its artefacts into a statement of SQL as Python shows a text, which fails for
    a path with both kinds of quotes: by itself it takes the working folder. An address has them encoded.
    """
    SqlAlchemyStore(uri, (home / "artifacts").absolute().as_uri())


def _read_only_client(database: Path, home: Path, experiment: str, *, own: bool) -> MlflowClient:
    """Return a client of a copy, which refuses changes made with it; MLflow itself makes some first."""
    copy = copy_database(database)
    MlflowClient(sqlite_url(copy), sqlite_url(copy)).search_experiments(max_results=1)
    move_addresses(sqlite_url(copy), home, experiment, own=own)
    # For "sqlite:///" alone MLflow would make a folder of the name that follows.
    uri = f"sqlite+pysqlite:///file:{quote(str(copy))}?mode=ro&uri=true"
    return MlflowClient(uri, uri)


def experiment_id(client: MlflowClient, project: Project) -> str:
    """Return the id of the project's experiment, made at first use and named like the project."""
    name = project.config.project.name
    found = client.get_experiment_by_name(name)
    if found is not None:
        return str(found.experiment_id)
    try:
        return str(client.create_experiment(name, artifact_location=artifact_location(project)))
    except MlflowException:  # another process made it first
        found = client.get_experiment_by_name(name)
        if found is None:
            raise
        return str(found.experiment_id)


def find_runs(client: MlflowClient, experiment: str, tags: Mapping[str, str]) -> list[Run]:
    """Return the runs that carry all ``tags``, latest first."""
    condition = " and ".join(f"tags.`{key}` = '{value}'" for key, value in tags.items())
    return list(client.search_runs([experiment], condition, max_results=1000))


def kill_orphans(client: MlflowClient, experiment: str, tags: Mapping[str, str]) -> int:
    """Mark runs with these tags that a killed process left RUNNING as KILLED; return their number."""
    orphans = [run for run in find_runs(client, experiment, tags) if run.info.status == "RUNNING"]
    for run in orphans:
        client.set_tag(run.info.run_id, END, "orphaned: its process was killed")
        client.set_terminated(run.info.run_id, "KILLED")
    return len(orphans)


@contextmanager
def parent_run(
    client: MlflowClient,
    experiment: str,
    name: str,
    tags: Mapping[str, str],
    *,
    resumed: str | None = None,
) -> Iterator[str]:
    """Open a run, yield its id, and end it: FINISHED, FAILED with the error, or KILLED by an interruption.

    Children that still run at the end are ended with it. With ``resumed`` it is the run with that id, which
    was cut off.
    """
    if resumed is None:
        made = client.create_run(experiment, tags={ROLE: "search", **tags}, run_name=name[:_NAME])
        run_id = str(made.info.run_id)
    else:
        run_id = resumed
        client.update_run(run_id, status="RUNNING")
        client.set_tag(run_id, END, "gone on with after it was cut off")
    status, end = "FINISHED", ""
    try:
        yield run_id
    except Exception as error:
        status, end = "FAILED", f"{type(error).__name__}: {error}"
        _keep_traceback(client, run_id)
        raise
    except BaseException as error:
        status, end = "KILLED", f"interrupted: {type(error).__name__}"
        raise
    finally:
        if status != "FINISHED":
            for child in find_runs(client, experiment, {PARENT: run_id}):
                if child.info.status == "RUNNING":
                    client.set_tag(child.info.run_id, END, "the search ended before it")
                    client.set_terminated(child.info.run_id, "KILLED")
            client.set_tag(run_id, END, shortened(end, 5000))
        client.set_terminated(run_id, status)


def _keep_traceback(client: MlflowClient, run_id: str) -> None:
    try:
        write_file(client, run_id, ERROR, traceback.format_exc().encode())
    except (MlflowException, OSError) as error:  # keep the original failure
        _log.warning("the traceback of run %s cannot be kept: %s", run_id, error)


def log_values(
    client: MlflowClient,
    run_id: str,
    *,
    metrics: Mapping[str, float] | None = None,
    params: Mapping[str, Any] | None = None,
) -> None:
    """Log values to a run for people to read, without NaN, which MLflow cannot compare."""
    now = int(time.time() * 1000)
    known = {_legal(key): value for key, value in (metrics or {}).items() if value == value}
    shown = shown_params(params or {})
    client.log_batch(
        run_id,
        metrics=[Metric(key, value, now, 0) for key, value in known.items()],
        params=shown[:_PARAMS],
    )
    for begin in range(_PARAMS, len(shown), _PARAMS):
        client.log_batch(run_id, params=shown[begin : begin + _PARAMS])


def log_points(client: MlflowClient, run_id: str, points: Sequence[tuple[str, float, int, int]]) -> None:
    """Log values of metrics with their steps and moments (milliseconds since 1970), without NaN."""
    known = [Metric(_legal(name), value, at, step) for name, value, step, at in points if value == value]
    for begin in range(0, len(known), _BATCH):
        client.log_batch(run_id, metrics=known[begin : begin + _BATCH])


def _legal(name: str) -> str:
    """Return a name that MLflow takes, as characters and as a path: classes may be called anything.

    >>> _legal("holdout_recall_<=50K"), _legal("/loss"), _legal("recall_a//b/"), _legal("..")
    ('holdout_recall___50K', '_/loss', 'recall_a/_/b/_', '__')
    """
    parts = _NOT_A_NAME.sub("_", name)[:_NAME].split("/")
    return "/".join({"": "_", ".": "_", "..": "__"}.get(part, part) for part in parts)


def shown_params(params: Mapping[str, Any]) -> list[Param]:
    """Return parameters as MLflow accepts them: names of legal characters, values cut to 500.

    >>> [(one.key, one.value) for one in shown_params({"max(depth)": 3})]
    [('max_depth_', '3')]
    """
    shown = {_legal(key): shortened(str(value)) for key, value in params.items()}
    return [Param(key, value) for key, value in shown.items()]


def shortened(text: str, most: int = 500) -> str:
    """Return ``text``, or its beginning and how long it is.

    >>> shortened("a" * 600)[-20:]
    'aa… (600 characters)'
    """
    end = f"… ({len(text):,} characters)"
    return text if len(text) <= most else text[: most - len(end)] + end
