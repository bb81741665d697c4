"""Makes a backup of a project's installation while it runs.

Both databases are copied as they were at one moment. Files of versions were complete before a version was
registered, and never change; those of the log only grow, and the right to merge or delete them is held.
"""

import importlib.metadata
from collections.abc import Callable, Collection, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from tidemill.backup.archive import ArchiveWriter, write_archive
from tidemill.backup.archive_places import refuse_credentials
from tidemill.backup.backup_facts import BackupFacts, VersionFiles, facts_of_copy
from tidemill.backup.backup_sources import ArtifactStore, chosen_files, dvc_remote
from tidemill.backup.stored_log import add_stored_log, stored_log
from tidemill.backup.tracked_versions import registered_versions, run_folders
from tidemill.data.repository.git import git, git_try
from tidemill.errors import StateError, UsageError
from tidemill.files.drafts import discard_draft, new_draft_folder
from tidemill.files.sqlite_urls import sqlite_file
from tidemill.prediction_log.upkeep.maintenance_lock import hold_maintenance_lock
from tidemill.project import ProjectFolder
from tidemill.state.database_snapshots import DatabaseCopy, is_database, open_snapshots
from tidemill.version import __version__

__all__ = ["Made", "make_backup"]

_LOG_PATIENCE = 600.0
"""Seconds to wait for a compaction to end."""
Tell = Callable[[str, str, int | None, int | None], None]


@dataclass(frozen=True)
class Made:
    """What a backup holds, and what it does not."""

    facts: BackupFacts
    files: int
    bytes: int
    """Of the members, before they are compressed."""
    notes: tuple[str, ...]
    """What the backup does not have, and where it is."""


@dataclass(frozen=True)
class _Copies:
    records: DatabaseCopy
    tracking: DatabaseCopy | None
    versions: tuple[VersionFiles, ...]
    runs: tuple[str, ...]


def make_backup(
    project: ProjectFolder,
    place: str,
    *,
    made_at: str,
    choices: Collection[str] = (),
    artifacts: str | None = None,
    passphrase: str | None = None,
    tell: Tell = lambda *_: None,
) -> Made:
    """Write a backup.

    Args:
        project: whose installation.
        place: a path, or an address such as ``s3://bucket/backup.tar.gz``.
        made_at: the present moment, in ISO 8601.
        choices: some of log, runs, reports, data and keys, beside the records and registered versions.
        artifacts: where MLflow's files are, if a server keeps them; default: the project's folder.
        passphrase: what the archive is encrypted with; None: it is not.
        tell: is told each step.

    Raises:
        UsageError: the place is taken, or MLflow's database cannot be reached.
        StateError: the records cannot be read.
    """
    refuse_credentials(place)
    store = ArtifactStore(artifacts or str((project.home / "artifacts").resolve()))
    with _work_folder(project) as folder:
        tell("databases", "copy the records and MLflow's database", None, None)
        copies = _copies(project, store, folder)
        facts = _facts(project, copies, choices, made_at)
        with write_archive(place, facts, passphrase) as archive:
            _add_databases(archive, copies)
            _add_artifacts(archive, store, copies, whole="runs" in choices, tell=tell)
            with _log_at_rest(project, choices):
                add_stored_log(archive, facts.stores, project.model, tell)
                files = list(chosen_files(project, choices))
                for number, (name, path) in enumerate(files):
                    tell("files", name, number, len(files))
                    archive.add_file(name, path, lines=path.suffix == ".ndjson")
    total = sum(each["bytes"] for each in archive.members.values())
    return Made(facts, len(archive.members), total, tuple(_notes(project, facts, choices)))


@contextmanager
def _work_folder(project: ProjectFolder) -> Iterator[Path]:
    """Give a folder that is removed at the end, or by the next backup if this process is killed."""
    folder = new_draft_folder(project.home / "backup")
    try:
        folder.chmod(0o700)
        yield folder
    finally:
        discard_draft(folder)


def _copies(project: ProjectFolder, store: ArtifactStore, folder: Path) -> _Copies:
    url = project.tracking_database
    if not is_database(url):
        raise UsageError(
            "MLflow's database is behind its server: TIDEMILL_TRACKING_URI is the server's address",
            hint="set TIDEMILL_TRACKING_DATABASE, and --artifacts to where the server keeps files",
        )
    file = sqlite_file(url)
    tracked = () if file is not None and not file.exists() else (url,)
    with open_snapshots(project.state_url, *tracked) as snapshots:
        places = [folder / str(number) for number in range(len(snapshots))]
        for place in places:
            place.mkdir()
        copied = [each.copy_to(place) for each, place in zip(snapshots, places, strict=True)]
        if not tracked:
            return _Copies(copied[0], None, (), ())
        versions = registered_versions(snapshots[1], store.address)
        return _Copies(copied[0], copied[1], tuple(versions), tuple(run_folders(snapshots[1], store.address)))


def _facts(project: ProjectFolder, copies: _Copies, choices: Collection[str], made_at: str) -> BackupFacts:
    head = git_try(project.root, "rev-parse", "--quiet", "--verify", "HEAD")
    dirty = git(project.root, "status", "--porcelain", "-z", "--", ".") if head.returncode == 0 else ""
    tracking = copies.tracking
    return BackupFacts(
        made_at=made_at,
        release=__version__,
        mlflow="" if tracking is None else importlib.metadata.version("mlflow"),
        project=str(project.params["project"]["name"]),
        model=project.model,
        commit=head.stdout.strip() or None,
        uncommitted=tuple(line[3:] for line in dirty.split("\0") if line[2:3] == " "),
        holds=tuple(sorted(choices)),
        records=facts_of_copy(copies.records),
        tracking=None if tracking is None else facts_of_copy(tracking),
        versions=copies.versions,
        stores=stored_log(project.predictions) if "log" in choices else (),
    )


def _add_databases(archive: ArchiveWriter, copies: _Copies) -> None:
    for name, copy in (("records", copies.records), ("mlflow", copies.tracking)):
        for file, path in copy.files.items() if copy else ():
            archive.add_file(f"{name}/{file}", path)


def _add_artifacts(
    archive: ArchiveWriter, store: ArtifactStore, copies: _Copies, *, whole: bool, tell: Tell
) -> None:
    folders = [each.folder for each in copies.versions if each.folder]
    wanted = [""] if whole and copies.tracking else sorted({*folders, *copies.runs})
    found = {path: size for folder in wanted for path, size in store.files(folder).items()}
    for each in copies.versions:
        if each.folder and not any(path.startswith(f"{each.folder}/") for path in found):
            raise StateError(
                f"version {each.version} of {each.model} has no files at {store.address}/{each.folder}",
                hint="say where MLflow's server keeps files: --artifacts DIR or s3://…",
            )
    for number, (path, size) in enumerate(sorted(found.items())):
        tell("artifacts", path, number, len(found))
        with store.open(path) as file:
            archive.add_stream(f"artifacts/{path}", file, size)


@contextmanager
def _log_at_rest(project: ProjectFolder, choices: Collection[str]) -> Iterator[None]:
    """Let nobody merge or delete files of the log meanwhile; predictions go on being written."""
    with ExitStack() as stack:
        if "log" in choices and project.predictions.is_dir():
            stack.enter_context(hold_maintenance_lock(project.predictions, project.model, _LOG_PATIENCE))
        yield


def _notes(project: ProjectFolder, facts: BackupFacts, choices: Collection[str]) -> Iterator[str]:
    if facts.commit is None:
        yield "the project has no commit: its files are in no backup; commit and push them"
    elif facts.uncommitted:
        names = ", ".join(facts.uncommitted[:3]) + ("…" if len(facts.uncommitted) > 3 else "")
        yield f"not committed, so neither here nor in git: {names}; commit and push"
    if "data" not in choices and dvc_remote(project):
        yield "the data's content is in DVC's remote in .tidemill/remote; --data adds it"
    if "keys" not in choices and (project.home / "privacy.key").exists():
        yield "privacy.key, without which pseudonyms cannot be made again, is not here; --keys adds it"
    elsewhere = [each for each in facts.versions if each.folder is None]
    if elsewhere:
        yield f"files of {len(elsewhere)} versions are elsewhere than --artifacts, and not here"
