"""Searches all stores of a project for one subject, without changing anything."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from tidemill.features.feast_session import has_repository, open_store
from tidemill.privacy.stores.earlier_versions import earlier_versions, open_contents
from tidemill.privacy.stores.job_subjects import find_jobs
from tidemill.privacy.stores.log_subjects import find_in_log
from tidemill.privacy.stores.model_subjects import trained_on
from tidemill.privacy.stores.online_subjects import count_online
from tidemill.privacy.stores.row_places import count_in, find_places, subject_by_place
from tidemill.privacy.stores.schedule_outputs import outputs_elsewhere
from tidemill.privacy.stores.texts import count_in_text
from tidemill.privacy.stores.tracked_files import count_tracked
from tidemill.privacy.subject import Subject
from tidemill.project import Project

__all__ = [
    "SubjectFindings",
    "Tell",
    "search_changeable_stores",
    "search_stores",
    "texts",
    "upstream_addresses",
]

Tell = Callable[[str, str], None]
"""A callback for progress, called with step and message."""

_TEXTS = {".log", ".out", ".err", ".txt", ".html", ".json", ".jsonl", ".ndjson", ".yaml", ".yml"}
_NOT_TEXTS = {"predictions", "erasures", "remote", "jobs"}


@dataclass(frozen=True)
class SubjectFindings:
    """What the stores contain of a subject: names of files and counts, never its value."""

    online: Mapping[str, int]
    """Table of the online store → keys."""
    predictions: int
    labels: int
    jobs: tuple[Mapping[str, Any], ...]
    """A `tidemill.privacy.stores.job_subjects.NamingJob` for each job that names it."""
    texts: Mapping[str, int]
    """Server log or report → number of mentions."""
    places: tuple[Mapping[str, Any], ...]
    """Files with its rows: ``name``, ``kind``, ``what``, ``rows``; of kind ``tracked`` these are mentions."""
    models: tuple[Mapping[str, Any], ...]
    """`tidemill.privacy.stores.model_subjects.ModelKnowledge` of each version."""
    versions: tuple[Mapping[str, Any], ...]
    """Earlier data versions: ``revision``, ``time``, ``message``, ``files``, ``unknown``."""
    elsewhere: tuple[Mapping[str, Any], ...]
    """Outputs of schedules outside the project, not searched: ``schedule``, ``output``, ``rows``."""
    upstream: tuple[str, ...] = ()
    """Addresses that the rows are read from, not searched: a database's table, an object store."""

    @property
    def rows(self) -> int:
        """Return the number of its rows in current files."""
        return sum(int(place["rows"]) for place in self.places)

    def as_dict(self) -> dict[str, Any]:
        """Return the findings as JSON values."""
        return asdict(self)


def search_stores(project: Project, subject: Subject, tell: Tell) -> SubjectFindings:
    """Search every store for the subject.

    Raises:
        TidemillError: a store cannot be searched; the message names it.
    """
    now = search_changeable_stores(project, subject, tell)
    tell("look", "earlier data versions and models")
    with open_contents(project.root, subject_by_place(subject, find_places(project))) as contents:
        earlier = earlier_versions(project.root, contents) if contents else []
        models = trained_on(project, subject, contents)
    return SubjectFindings(
        **now,
        models=tuple(asdict(model) for model in models),
        versions=tuple(
            {
                "revision": version.revision,
                "time": version.time.isoformat(),
                "message": version.message,
                "files": [subject.hidden_in(name) for name in version.files],
                "unknown": list(version.unknown),
            }
            for version in earlier
        ),
        elsewhere=tuple(outputs_elsewhere(project, subject)),
        upstream=upstream_addresses(project.params.get("data")),
    )


def upstream_addresses(data: object) -> tuple[str, ...]:
    """Return the address that ``data.source`` of ``params.yaml`` names; none where it is a path.

    >>> upstream_addresses({"source": "sqlite:////srv/shop.db::orders"}), upstream_addresses({})
    (('sqlite:////srv/shop.db::orders',), ())
    """
    source = data.get("source") if isinstance(data, dict) else None
    return (source,) if isinstance(source, str) and "://" in source else ()


def search_changeable_stores(
    project: Project, subject: Subject, tell: Tell, before: datetime | None = None
) -> dict[str, Any]:
    """Search the stores that can change, and return the result as keyword arguments of `SubjectFindings`.

    Args:
        project: the project.
        subject: the subject.
        tell: the callback for progress.
        before: only predictions served and jobs submitted before this moment count.
    """
    tell("look", "online store")
    online = count_online(open_store(project), subject) if has_repository(project) else {}
    tell("look", "prediction log")
    logged = find_in_log(project.predictions, subject, before)
    tell("look", "slow predictions")
    jobs = find_jobs(project, subject, logged.prediction_ids, before)
    tell("look", "logs and reports")
    mentions = {_name(project, path): count_in_text(path, subject) for path in texts(project)}
    places, known = [], find_places(project)
    for place in known:
        tell("look", subject.hidden_in(place.name))
        rows = count_in(place, subject)
        if rows:
            name = subject.hidden_in(place.name)
            places.append({"name": name, "kind": place.kind, "what": place.what, "rows": rows})
    tell("look", "files that git tracks")
    declared = [place.path for place in known if place.path is not None]
    for name, rows in count_tracked(project.root, subject, declared).items():
        name = subject.hidden_in(name)
        places.append({"name": name, "kind": "tracked", "what": "tracked by git", "rows": rows})
    return {
        "online": online,
        "predictions": logged.predictions,
        "labels": logged.labels,
        "jobs": tuple(asdict(job) for job in jobs),
        "texts": {name: count for name, count in mentions.items() if count},
        "places": tuple(places),
    }


def texts(project: Project) -> list[Path]:
    """Return the servers' logs, the reports, and other text files in ``.tidemill``."""
    return [
        path
        for path in sorted(project.home.rglob("*"))
        if path.suffix in _TEXTS
        and path.relative_to(project.home).parts[0] not in _NOT_TEXTS
        and path.is_file()
    ]


def _name(project: Project, path: Path) -> str:
    return str(path.relative_to(project.root))
