"""The data versions of a project: the list, the latest first."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from fastapi import FastAPI

from tidemill.dashboard.page import PageNumber, add_page
from tidemill.dashboard.records.data_reading import read_log
from tidemill.dashboard.records.list_part import require_page
from tidemill.dashboard.visit import Here

__all__ = ["DataVersions", "add_to", "data_versions"]

_SIZE = 20


@dataclass(frozen=True)
class ChangedParam:
    """A parameter that differs from the version before."""

    name: str
    before: str
    after: str


@dataclass(frozen=True)
class ListedData:
    """A data version in the list."""

    revision: str
    time: datetime
    message: str
    added: Sequence[str]
    removed: Sequence[str]
    changed: Sequence[str]
    params: Sequence[ChangedParam]
    models: Sequence[str]
    """Versions of models that were trained on it."""
    before: str | None
    """The version before it."""


@dataclass(frozen=True)
class DataVersions:
    """A page of the data versions, the latest first."""

    model: str
    versions: Sequence[ListedData]
    number: int
    more: bool
    """Whether there are earlier ones."""
    trouble: str | None
    """Why it is not known what was trained on them."""


def data_versions(visit: Here, model: str, page: PageNumber = 1) -> DataVersions:
    """Return a page of the data versions of a model's project."""
    project = visit.installation.load(visit.project(model))
    entries, trouble = read_log(project, min(page, 500) * _SIZE + 1)
    require_page(page, _SIZE, len(entries))
    begin = (page - 1) * _SIZE
    listed = [
        ListedData(
            one.revision,
            one.time,
            one.message,
            list(one.added),
            list(one.removed),
            list(one.changed),
            [ChangedParam(name, str(old), str(new)) for name, (old, new) in one.params.items()],
            list(one.models),
            entries[place + 1].revision if place + 1 < len(entries) else None,
        )
        for place, one in list(enumerate(entries))[begin : begin + _SIZE]
    ]
    return DataVersions(model, listed, page, len(entries) > begin + _SIZE, trouble)


def add_to(app: FastAPI) -> None:
    """Add the page."""
    of = "/models/{model}/data"
    add_page(
        app, of, data_versions, template="data_versions.html", needs=("read", "data"), title="Data versions"
    )
