"""Keep the addresses of a project's runs and models in its own folder, also after it was moved or copied.

MLflow records absolute addresses of files. A project in another folder than they say rewrites them when it
opens its store; a store that several projects may share is changed only if the recorded folder is gone.
"""

import contextlib
from pathlib import Path

from sqlalchemy import create_engine, func, literal, select, update

from tidemill.project import Project
from tidemill.training.tracking.private_mlflow import address_columns, local_path

__all__ = ["artifact_location", "move_addresses"]

_ENDING = "/.tidemill/artifacts"
_DEFAULT = 0  # number of the experiment "Default", which MLflow makes, with files wherever it was started


def artifact_location(project: Project) -> str | None:
    """Return the address of new runs and models; None where a server decides it."""
    if project.tracking_uri.startswith("http"):
        return None
    return (project.home / "artifacts").resolve().as_uri()


def move_addresses(uri: str, home: Path, experiment: str, *, own: bool) -> None:
    """Update the file addresses in MLflow's records to the project's present folder.

    Args:
        uri: of MLflow's database.
        home: the project's folder ``.tidemill``.
        experiment: name of the project's experiment.
        own: whether no other project can have its records there.
    """
    here = (home / "artifacts").resolve()
    first, *others = address_columns()
    engine = create_engine(uri)
    try:
        with engine.begin() as connection:
            if own:
                elsewhere = ~first.endswith(_ENDING, autoescape=True) & (
                    first.class_.experiment_id == _DEFAULT
                )
                connection.execute(update(first.class_).where(elsewhere).values({first.key: here.as_uri()}))
            recorded = select(first).where(first.endswith(_ENDING, autoescape=True), first != here.as_uri())
            if not own:
                recorded = recorded.where(first.class_.name == experiment)
            for old in set(connection.execute(recorded).scalars()):
                place = local_path(old)
                if _is_same(place, here) or (place.exists() and not own):
                    continue
                for column in (first, *others):
                    inside = column.startswith(f"{old}/", autoescape=True) | (column == old)
                    moved = literal(here.as_uri()) + func.substr(column, len(old) + 1)
                    connection.execute(
                        update(column.class_).where(inside).values({column.key: moved}),
                        execution_options={"synchronize_session": False},
                    )
    finally:
        engine.dispose()


def _is_same(one: Path, other: Path) -> bool:
    with contextlib.suppress(OSError):  # one of them is not there
        return one.samefile(other)
    return False
