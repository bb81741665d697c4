"""Reads and names the parameters by which a project's stages learn what is known."""

from collections.abc import Collection
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from tidemill.clock import Clock, SystemClock, parse_moment, utc
from tidemill.errors import ConfigError, UsageError
from tidemill.project.project import Project

__all__ = ["declared_moment", "moment_parameters", "turn_moment"]


def declared_moment(project: Project, clock: Clock | None = None) -> datetime:
    """Return the as-of moment that ``params.yaml`` declares: ``as_of``, else the end of its last month (UTC).

    Where it declares neither, or both are null, that is now.

    Raises:
        ConfigError: the form is wrong, or ``dataset`` names a parameter that does not exist.
    """
    as_of, last_month = _parameter(project, "as_of"), _parameter(project, "last_month")
    if as_of and as_of.value is not None:
        try:
            return parse_moment(str(as_of.value))
        except ValueError as error:
            raise _wrong(project, as_of, "a moment", "2013-04-01T00:00:00+00:00") from error
    if not last_month or last_month.value is None:
        return (clock or SystemClock()).now()
    try:
        month = datetime.strptime(str(last_month.value), "%Y-%m").replace(tzinfo=UTC)
    except ValueError as error:
        raise _wrong(project, last_month, "a month", "2013-03") from error
    return (month + timedelta(days=32)).replace(day=1)


def turn_moment(
    project: Project, given: datetime | None, turns: Collection[datetime] = (), clock: Clock | None = None
) -> datetime:
    """Return the moment of a turn made by hand: the one given, else the declared one, else now.

    An ``as_of`` that an earlier turn wrote is nobody's wish: then it is now too, except in a project that
    declares its last month, whose data is of the past by design.

    Args:
        project: the project.
        given: the moment that was asked for.
        turns: the moments of the model's earlier turns.
        clock: tells what now is.

    Raises:
        ConfigError: as `declared_moment` raises it.
        UsageError: a moment is given, and there is no parameter by which the stages would learn it.
    """
    if given is None:
        clock = clock or SystemClock()
        declared, last_month = declared_moment(project, clock), _parameter(project, "last_month")
        is_live = last_month is None or last_month.value is None
        return clock.now() if is_live and declared in turns else declared
    if not moment_parameters(project, given):
        name = project.config.dataset.as_of or "data.as_of"
        raise UsageError(
            f"--as-of: {project.root / 'params.yaml'} has no parameter {name}, by which the stages would "
            "learn the moment",
            hint=f"add {name} (null) to params.yaml and to the params of the stages in dvc.yaml, and leave "
            "out in the stages what became known later",
        )
    return given


def moment_parameters(project: Project, as_of: datetime) -> dict[str, str]:
    """Return the parameters that tell the stages what is known at ``as_of``; none if the project has none.

    Raises:
        ConfigError: ``dataset`` names a parameter that does not exist.
    """
    last_instant = utc(as_of) - datetime.resolution  # the month it falls in is the last one needed
    values = {"last_month": f"{last_instant:%Y-%m}", "as_of": utc(as_of).isoformat()}
    found = {field: _parameter(project, field) for field in values}
    return {parameter.name: values[field] for field, parameter in found.items() if parameter}


class _Parameter(NamedTuple):
    name: str
    value: object


def _parameter(project: Project, field: str) -> _Parameter | None:
    """Return the parameter that ``dataset.<field>`` names; None if there is none."""
    dataset = project.config.dataset
    name = getattr(dataset, field)
    if name is None:
        return None
    value: Any = project.params
    for part in name.split("."):
        if not isinstance(value, dict) or part not in value:
            break
        value = value[part]
    else:
        return _Parameter(name, value)
    if field in dataset.model_fields_set:
        raise ConfigError(
            f"{project.root / 'params.yaml'}: {name}, which dataset.{field} names, is not set",
            hint=f"add {name}, or set dataset.{field} to null",
        )
    return None


def _wrong(project: Project, parameter: _Parameter, kind: str, example: str) -> ConfigError:
    return ConfigError(
        f"{project.root / 'params.yaml'}: {parameter.name} is {parameter.value!r}, not {kind}",
        hint=f'write it like "{example}", or null',
    )
