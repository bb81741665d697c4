"""Keep the addresses of a project's runs and models in its own folder, also after it was moved or copied.

MLflow records absolute addresses of files. A project in another folder than they say rewrites them when it
opens its store; a store that several projects may share is changed only if the recorded folder is gone.
"""

import contextlib
from functools import cache
from pathlib import Path

from sqlalchemy import Integer, String, Update, bindparam, create_engine, func, select, update

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
    first, *_ = address_columns()
    number, name = first.class_.experiment_id, first.class_.name
    engine = create_engine(uri)
    try:
        with engine.begin() as connection:
            asked = select(number, first).where(first.is_not(None))
            recorded = connection.execute(asked if own else asked.where(name == experiment)).all()
            inside = {address for _, address in recorded if address.endswith(_ENDING)}
            if own and any(found == _DEFAULT and address not in inside for found, address in recorded):
                elsewhere = update(first.class_).where(number == _DEFAULT)
                connection.execute(elsewhere.values({first.key: here.as_uri()}))
            for old in inside - {here.as_uri()}:
                place = local_path(old)
                if _is_same(place, here) or (place.exists() and not own):
                    continue
                words = {"old": old, "below": f"{old}/", "new": here.as_uri()}
                for rewritten in _rewriting():
                    connection.execute(rewritten, {**words, "ending": len(old) + 1})
    finally:
        engine.dispose()


@cache
def _rewriting() -> tuple[Update, ...]:
    """Statements that put ``new`` for ``old`` in each column of addresses."""
    old, below, new = (bindparam(name, type_=String()) for name in ("old", "below", "new"))
    ending = bindparam("ending", type_=Integer())
    return tuple(
        update(column.class_)
        .where((column == old) | (func.substr(column, 1, ending) == below))
        .values({column.key: new + func.substr(column, ending)})
        .execution_options(synchronize_session=False)
        for column in address_columns()
    )


def _is_same(one: Path, other: Path) -> bool:
    with contextlib.suppress(OSError):  # one of them is not there
        return one.samefile(other)
    return False
