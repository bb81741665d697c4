"""Brings a backup back into an empty project, or into an empty place to see whether that can be done.

Everything is unpacked, compared with the archive's manifest and filled into new databases before anything of
the project is there: a restoration that is killed leaves no project that looks whole.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import make_url

from tidemill.accounts.auditing.audit_reading import verify_log
from tidemill.backup.archive import unpack
from tidemill.backup.archive_places import refuse_credentials
from tidemill.backup.backup_facts import BackupFacts, DatabaseFacts, StoredLog
from tidemill.backup.backup_sources import ArtifactStore
from tidemill.backup.stored_log import check_log, put_stored_log
from tidemill.errors import DataError, StateError, UsageError
from tidemill.files.atomic import replacing_folder
from tidemill.files.drafts import discard_draft, new_draft_folder
from tidemill.files.sqlite_urls import sqlite_file, sqlite_url
from tidemill.ids import new_id
from tidemill.project import Project
from tidemill.state.database_snapshots import row_counts
from tidemill.state.postgres_tables import fill_tables, filled_tables, temporary_schema
from tidemill.state.record_reader import open_records
from tidemill.state.schema import is_known, newest_heads
from tidemill.state.state_errors import shown_address
from tidemill.state.store import make_tables, open_state, schema_of

__all__ = ["restore_backup", "verify_backup"]

_DATABASE = "database.sqlite"


@dataclass(frozen=True)
class _Target:
    """Where the databases of a backup go."""

    records: str
    tracking: str
    artifacts: str | None
    """None for the project's folder."""


def restore_backup(
    project: Project,
    place: str,
    *,
    passphrase: str | None = None,
    artifacts: str | None = None,
    log_store: str | None = None,
) -> BackupFacts:
    """Bring a backup back into a project whose ``.tidemill``, records and MLflow's database are empty.

    Args:
        project: a clone of the backup's project, at the backup's commit.
        place: a path or an address.
        passphrase: of an encrypted archive.
        artifacts: where MLflow's server keeps files; default: the project's folder.
        log_store: address for parts of the log that were in object stores; default: where they were.

    Raises:
        UsageError: something is there already, or the backup is of another project or kind of database.
        DataError: the archive is damaged.
        StateError: the backup's schema is of a newer release, or its rows do not fit.
    """
    target = _Target(project.state_url, project.tracking_database, artifacts)
    _require_empty(project, target)

    def check(facts: BackupFacts) -> None:
        _check(facts, project, target)

    with _draft_beside(project.home) as unpacked:
        facts = unpack(place, unpacked, passphrase, check)
        check_log(unpacked, project.model)
        with ExitStack() as stack:  # which first gives the folder its name, and last commits the records
            _fill(stack, facts, unpacked, target)
            root = unpacked / "home" / "predictions"
            put_stored_log(unpacked, facts.stores, root, project.model, _log_place(project, facts, log_store))
            _arrange(facts, unpacked, stack.enter_context(replacing_folder(project.home)), target)
    open_state(project.state_url).close()  # brings older records to this release
    if facts.tracking is not None and artifacts is None and project.tracking_uri == target.tracking:
        from tidemill.training.tracking.mlflow_tracking import connect  # takes seconds
        from tidemill.training.tracking.tracking_schema import upgrade_tracking

        upgrade_tracking(project.tracking_database)
        connect(project)  # has the files' addresses follow the project
    return facts


def verify_backup(
    project: Project, place: str, folder: Path, *, passphrase: str | None = None
) -> BackupFacts:
    """Restore a backup into an empty folder, and new schemas in PostgreSQL; compare, and drop those.

    Args:
        project: of which the backup should be.
        place: a path or an address.
        folder: an empty folder with room for all of it.
        passphrase: of an encrypted archive.

    Raises:
        DataError: the archive is damaged.
        StateError: the databases cannot be restored, or are not what the backup says.
        AuditError: the audit log in it was changed.
    """
    facts = unpack(place, folder / "unpacked", passphrase, _check_schema)
    check_log(folder / "unpacked", project.model)
    with ExitStack() as stack:
        target = _Target(
            _verifying_url(stack, facts.records, project.state_url, folder / "state.db"),
            _verifying_url(stack, facts.tracking, project.tracking_database, folder / "mlflow.db"),
            None,
        )
        home = folder / "home"
        home.mkdir()
        _arrange(facts, folder / "unpacked", home, target)
        with ExitStack() as filling:
            _fill(filling, facts, folder / "unpacked", target)
        open_state(target.records).close()
        verify_log(open_records(target.records))
        _check_versions(facts, home / "artifacts")
    return facts


def _log_place(project: Project, facts: BackupFacts, address: str | None) -> StoredLog | None:
    if address is None or not facts.stores:
        return None
    refuse_credentials(address)
    log = project.config.serve.log
    return StoredLog(address, log.endpoint_url if log.store else facts.stores[0].endpoint)


@contextmanager
def _draft_beside(folder: Path) -> Iterator[Path]:
    """Give a folder on the same disk that is removed at the end, or by the next draft beside it."""
    draft = new_draft_folder(folder)
    try:
        yield draft
    finally:
        discard_draft(draft)


def _require_empty(project: Project, target: _Target) -> None:
    """Refuse a place where something is, which would be lost or mixed up."""
    there = sorted(path.name for path in project.home.iterdir()) if project.home.is_dir() else []
    kept = [name for name in there if not name.endswith(".lock") and not name.startswith(".")]
    if kept:
        raise UsageError(
            f"{project.home} is not empty: it has {', '.join(kept[:4])}{'…' if len(kept) > 4 else ''}",
            hint="restore into a fresh clone of the project, or move that folder away",
        )
    for url in (target.records, target.tracking):
        filled = filled_tables(url) if url.startswith("postgresql") else []
        if filled:
            raise UsageError(
                f"the database at {shown_address(make_url(url))} is not empty: {', '.join(filled[:4])} "
                f"{'have' if len(filled) > 1 else 'has'} rows",
                hint="restore into a new database, before anything is started that uses it",
            )


def _check(facts: BackupFacts, project: Project, target: _Target) -> None:
    named = project.config.project.name
    if (facts.project, facts.model) != (named, project.model):
        raise UsageError(
            f"the backup is of project {facts.project} with model {facts.model}, this is {named} with "
            f"{project.model}",
            hint=f"clone the backup's project, commit {facts.commit}",
        )
    _check_schema(facts)
    for what, variable, found, url in (
        ("records", "TIDEMILL_STATE_URL", facts.records, target.records),
        ("MLflow's database", "TIDEMILL_TRACKING_DATABASE", facts.tracking, target.tracking),
    ):
        if found is not None and not url.startswith(found.kind):
            raise UsageError(
                f"the backup has {what} from {found.kind}, and {variable} leads to {url.partition(':')[0]}",
                hint=f"set {variable} to an empty database of {found.kind}",
            )
        file = sqlite_file(url)
        if found is not None and file is not None and file.parent != project.home:
            raise UsageError(f"{variable} leads out of {project.home}", hint="unset it to restore")


def _check_schema(facts: BackupFacts) -> None:
    if not is_known(facts.records.revision):
        raise StateError(
            f"the backup's records have schema {facts.records.revision}, "
            f"this release knows {newest_heads()[0]}",
            hint=f"restore it with Tidemill {facts.release}, which made it, or a later release",
        )
    if facts.tracking is not None:
        from tidemill.training.tracking.private_mlflow import knows_schema  # takes seconds

        if not knows_schema(facts.tracking.revision):
            raise StateError(
                f"the backup's MLflow database has schema {facts.tracking.revision}, which the installed one "
                "does not know",
                hint=f"install MLflow {facts.mlflow}, which made it, or a later one",
            )


def _arrange(facts: BackupFacts, unpacked: Path, home: Path, target: _Target) -> None:
    """Move what was unpacked to where it belongs below the new ``.tidemill``."""
    for name, file, database in (
        ("records", "state.db", facts.records),
        ("mlflow", "mlflow.db", facts.tracking),
    ):
        if database is not None and database.kind == "sqlite":
            found = row_counts(unpacked / name / _DATABASE)
            _same_rows(name, found, database)
            (unpacked / name / _DATABASE).rename(home / file)
    artifacts = unpacked / "artifacts"
    if artifacts.is_dir() and target.artifacts is None:
        artifacts.rename(home / "artifacts")
    elif target.artifacts is not None:
        store = ArtifactStore(target.artifacts)
        for path in sorted(each for each in artifacts.rglob("*") if each.is_file()):
            store.put(path, path.relative_to(artifacts).as_posix())
    for path in sorted((unpacked / "home").glob("*")):
        path.rename(home / path.name)
        if path.suffix in (".key", ".json"):
            (home / path.name).chmod(0o600)


def _fill(stack: ExitStack, facts: BackupFacts, unpacked: Path, target: _Target) -> None:
    """Fill databases of PostgreSQL, to be committed when the stack ends well: the records last of all."""
    for name, database, url, make in (
        ("records", facts.records, target.records, _make_records),
        ("mlflow", facts.tracking, target.tracking, _make_tracking),
    ):
        if database is not None and database.kind == "postgresql":
            make(url, database.revision)
            files = {table: unpacked / name / table for table in database.rows}
            stack.enter_context(fill_tables(url, files, database.columns, database.rows))


def _make_records(url: str, revision: str) -> None:
    found = schema_of(url)
    if found is None:
        make_tables(url, revision)
    elif found != revision:
        raise StateError(
            f"the database has empty tables of schema {found}, the backup's records are of {revision}",
            hint="restore into a new database, before anything is started that uses it",
        )


def _make_tracking(url: str, revision: str) -> None:
    from tidemill.training.tracking.tracking_schema import tracking_schema, upgrade_tracking

    upgrade_tracking(url)
    found = tracking_schema(url).found
    if found != revision:
        raise StateError(
            f"the backup's MLflow database has schema {revision}, the installed MLflow makes {found}",
            hint="install the MLflow that the backup names, restore, and upgrade then: `tidemill db upgrade`",
        )


def _verifying_url(stack: ExitStack, found: DatabaseFacts | None, url: str, file: Path) -> str:
    if found is None or found.kind == "sqlite":
        return sqlite_url(file.parent / "home" / file.name)
    if not url.startswith("postgresql"):
        raise UsageError(
            "the backup is of PostgreSQL, which takes a database to verify it in",
            hint="set TIDEMILL_STATE_URL and TIDEMILL_TRACKING_DATABASE to one: new schemas are used",
        )
    return stack.enter_context(temporary_schema(url, new_id("verify")))


def _same_rows(name: str, found: dict[str, int], database: DatabaseFacts) -> None:
    for table in sorted({*found, *database.rows}):
        if found.get(table) != database.rows.get(table):
            raise DataError(
                f"table {table} of {name} has {found.get(table)} rows, and should have "
                f"{database.rows.get(table)}",
                hint="use another backup",
            )


def _check_versions(facts: BackupFacts, artifacts: Path) -> None:
    for each in facts.versions:
        if each.folder and not any((artifacts / each.folder).rglob("*")):
            raise DataError(
                f"it has no files of version {each.version} of {each.model}",
                hint="use another backup",
            )
