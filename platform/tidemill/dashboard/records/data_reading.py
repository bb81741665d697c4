"""Reads data versions for pages from git and DVC, for a bounded time: content may have to be fetched."""

from typing import TYPE_CHECKING

from tidemill.dashboard.records.bounded_reading import FOR_GOOD, READINGS
from tidemill.dashboard.records.tracking_stamp import kept_for, tracking_stamp
from tidemill.data.repository.revisions import resolve
from tidemill.data.versioning.show import Shown, show
from tidemill.data.versioning.version_log import LogEntry, Trained, log
from tidemill.errors import TidemillError
from tidemill.project import Project

if TYPE_CHECKING:
    from tidemill.data.versioning.diff import DataDiff

__all__ = ["read_comparison", "read_log", "read_version"]

_PATIENCE = 2.0
"""Seconds to wait for another process that holds DVC's lock."""


def read_log(project: Project, limit: int) -> tuple[list[LogEntry], str | None]:
    """Return the newest data versions, and why it is not known what was trained on them.

    Raises:
        DataError: the project is no git and DVC repository.
        BeingComputed: it takes long.
    """
    stamp = tracking_stamp(project)
    key = ("data log", str(project.root), limit, resolve(project, "HEAD"), stamp)
    what = "the list of data versions"
    return READINGS.read(what, key, lambda: _log(project, limit), keep=kept_for(stamp))


def _log(project: Project, limit: int) -> tuple[list[LogEntry], str | None]:
    trained, trouble = _trained(project)
    return log(project, limit, trained), trouble


def _trained(project: Project) -> tuple[tuple[Trained, ...], str | None]:
    from tidemill.registry.versions.registry_reader import read_registered
    from tidemill.training.tracking.run_reading import store_exists

    if not store_exists(project):
        return (), None
    try:
        versions = read_registered(project)
    except TidemillError as error:
        return (), str(error)
    return tuple(
        Trained(one.model, one.version, one.lineage["git_commit"], one.lineage["data"])
        for one in versions
        if one.lineage and "imported" not in one.lineage
    ), None


def read_version(project: Project, revision: str) -> Shown:
    """Return a data version with its files and report.

    Raises:
        VersionNotFound: there is no such version.
        BeingComputed: it takes long.
    """
    commit = resolve(project, revision)
    key = ("data version", str(project.root), commit)
    return READINGS.read(
        f"data version {commit[:10]}", key, lambda: show(project, commit, patience=_PATIENCE), keep=FOR_GOOD
    )


def read_comparison(project: Project, before: str, after: str) -> "DataDiff":
    """Return what changed from one data version to another, rows of tables included.

    Raises:
        VersionNotFound: there is no such version.
        DataError: content is in neither cache nor remote.
        BeingComputed: it takes long.
    """
    commits = resolve(project, before), resolve(project, after)
    key = ("data comparison", str(project.root), commits)
    what = f"the rows of data versions {commits[0][:10]} and {commits[1][:10]}"

    def compare() -> "DataDiff":
        from tidemill.data.versioning.diff import diff  # DVC takes seconds to import

        return diff(project, *commits, patience=_PATIENCE)

    return READINGS.read(what, key, compare, keep=FOR_GOOD)
