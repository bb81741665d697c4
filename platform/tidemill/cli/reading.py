"""Opens the project's folder and its records for reading commands, without any engine."""

from pathlib import Path

from tidemill.project import ProjectFolder, open_folder
from tidemill.state.record_reader import Records, open_records

__all__ = ["open_reading"]


def open_reading(start: Path | None) -> tuple[ProjectFolder, Records]:
    """Return the project at ``start`` or above it, and its records.

    Raises:
        ProjectNotFound: no folder there has a project's ``params.yaml``.
        TidemillError: the records cannot be read.
    """
    folder = open_folder(start)
    return folder, open_records(folder.state_url)
