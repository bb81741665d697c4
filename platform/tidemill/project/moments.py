"""Reads the as-of moment from a project's ``params.yaml``."""

from datetime import UTC, datetime, timedelta
from typing import Any

from tidemill.clock import utc
from tidemill.errors import ConfigError
from tidemill.project.project import Project

__all__ = ["declared_moment"]


def declared_moment(project: Project) -> datetime:
    """Return the as-of moment that ``params.yaml`` declares: ``as_of``, or the end of its last month (UTC).

    Raises:
        ConfigError: it declares neither, or the form is wrong.
    """
    dataset = project.config.dataset
    declared, last = (_parameter(project, name) for name in (dataset.as_of, dataset.last_month))
    try:
        if declared is not None:
            return utc(datetime.fromisoformat(str(declared)))
        month = datetime.strptime(str(last), "%Y-%m").replace(tzinfo=UTC)
    except ValueError as error:
        raise ConfigError(
            f"{project.root / 'params.yaml'}: {dataset.as_of} or {dataset.last_month} is wrong: {error}",
            hint='write a moment like "2013-04-01T00:00:00+00:00", a month like "2013-03"',
        ) from error
    return (month + timedelta(days=32)).replace(day=1)


def _parameter(project: Project, name: str) -> object:
    value: Any = project.params
    for part in name.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    return value
