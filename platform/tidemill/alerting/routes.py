"""Reads who is told about which alerts, from ``monitoring/routes.yaml``. Imports no engine."""

import re
from collections.abc import Sequence
from datetime import datetime, time, timedelta
from typing import Annotated, Literal
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from tidemill.alerting.known_kinds import KINDS, SEVERITIES, unknown_kind, unknown_severity
from tidemill.clock import parse_duration
from tidemill.errors import ConfigError
from tidemill.files.declaration_files import Declaration, read_declaration
from tidemill.monitoring.monitor_config import Duration
from tidemill.project import ProjectFolder

__all__ = [
    "EXPLAINED_DRIFT",
    "Escalation",
    "Inhibition",
    "MuteTime",
    "Receiver",
    "Route",
    "Routes",
    "load_routes",
]

Day = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
_HINT = "docs/alerting.md describes every field"
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_DAYS: tuple[Day, ...] = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


def _known_kinds(matchers: dict[str, str | tuple[str, ...]]) -> dict[str, str | tuple[str, ...]]:
    if (wrong := unknown_kind(matchers.get("kind", ()))) is not None:
        raise ValueError(f"{wrong!r} is no kind of alert, which are {', '.join(KINDS)}")
    if (wrong := unknown_severity(matchers.get("severity", ()))) is not None:
        raise ValueError(f"{wrong!r} is no severity of an alert, which are {', '.join(SEVERITIES)}")
    return matchers


def _known_zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError) as error:
        raise ValueError(f"{name!r} is no time zone, such as UTC or Europe/Berlin") from error
    return name


def _time_of_day(given: object) -> object:
    try:
        return time.fromisoformat(given) if isinstance(given, str) and ":" in given else time(hour=-1)
    except ValueError as error:
        raise ValueError(f'{given!r} is no time of day: write it in quotes, as in "22:00"') from error


def _patterns(given: object) -> object:
    """Take whole numbers as text: versions are numbers to whoever writes them."""
    listed = given if isinstance(given, list | tuple) else [given]
    texts = [str(each) if isinstance(each, int) and not isinstance(each, bool) else each for each in listed]
    if wrong := [each for each in texts if not isinstance(each, str)]:
        raise ValueError(f'{wrong[0]!r} is neither text nor a list of texts: write it in quotes, as in "on"')
    return texts if isinstance(given, list | tuple) else texts[0]


def _variable(given: object) -> object:
    # What stands here instead of a name may be the address, which is a secret: no message repeats it.
    if isinstance(given, str) and not _VARIABLE.fullmatch(given):
        raise ValueError(
            "is no name of a variable of the environment, such as TEAM_ALERTS, which holds the address"
        )
    return given


Patterns = Annotated[str | tuple[str, ...], BeforeValidator(_patterns)]
Labels = Annotated[dict[str, Patterns], AfterValidator(_known_kinds)]
"""By the names of labels, any that an alert has or that one from elsewhere may bring."""
TimeOfDay = Annotated[time, BeforeValidator(_time_of_day)]
Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]*$")]
Label = Annotated[str, Field(min_length=1)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Receiver(_Section):
    """Somebody who can be told. The address is a secret, so it is never in the file itself."""

    name: Name
    url_env: Annotated[str | None, BeforeValidator(_variable)] = None
    """The variable of the environment with the address."""
    url_file: str | None = None
    """The file with the address; relative to the project's folder."""
    kind: Literal["apprise", "alertmanager"] = "apprise"
    """Whose address it is: one of Apprise's (mail, chat, pager, webhook), or Alertmanager's own."""

    @model_validator(mode="after")
    def _one_address(self) -> "Receiver":
        if (self.url_env is None) == (self.url_file is None):
            raise ValueError("set either url_env or url_file: where its address is")
        return self


class Escalation(_Section):
    """Who else is told when nobody has acknowledged an alert."""

    after: Duration
    receivers: tuple[str, ...] = Field(min_length=1)


class Route(_Section):
    """Who is told about the alerts that match, and how often. The first route that matches decides."""

    match: Labels = Field(default_factory=dict)
    """No labels: every alert."""
    receivers: tuple[str, ...] = ()
    """None: nobody is told, and that is on record."""
    group_by: tuple[Label, ...] = ()
    """Alerts that are alike in these labels, and are due at once, come in one message."""
    repeat_every: Annotated[timedelta, BeforeValidator(parse_duration)] = timedelta(days=1)
    """How often an alert that nobody has acknowledged is told again."""
    mute: tuple[str, ...] = ()
    """Mute times."""
    escalate: tuple[Escalation, ...] = ()


class MuteTime(_Section):
    """A part of the week in which nothing is sent; what is still so at its end is sent then."""

    name: Name
    days: tuple[Day, ...] = Field(default=_DAYS, min_length=1)
    """The days on which it begins."""
    start: TimeOfDay = time(0)
    end: TimeOfDay = time(0)
    """On the next day, if it is not after ``start``."""
    zone: Annotated[str, AfterValidator(_known_zone)] = "UTC"

    def covers(self, moment: datetime) -> bool:
        """Return whether a moment lies in it.

        >>> from datetime import UTC
        >>> nights = MuteTime.model_validate({"name": "nights", "start": "22:00", "end": "07:00"})
        >>> [nights.covers(datetime(2013, 4, 1, hour, tzinfo=UTC)) for hour in (6, 7, 21, 22)]
        [True, False, False, True]
        """
        local = moment.astimezone(ZoneInfo(self.zone))
        today, before = _DAYS[local.weekday()], _DAYS[local.weekday() - 1]
        clock = local.time()
        if self.start < self.end:
            return today in self.days and self.start <= clock < self.end
        return (today in self.days and clock >= self.start) or (before in self.days and clock < self.end)


class Inhibition(_Section):
    """While an alert matches ``when``, those that match ``mute`` are not sent: it explains them."""

    when: Labels = Field(min_length=1)
    mute: Labels = Field(min_length=1)
    same: tuple[Label, ...] = ("model",)
    """Labels that both must have, and in which they must be alike."""


EXPLAINED_DRIFT = Inhibition(
    when={"kind": ("feature_drift", "feature_skew", "data_quality", "staleness", "health")},
    mute={"kind": ("data_drift", "prediction_drift", "multivariate_drift", "slice_drift")},
    same=("model", "version"),
)
"""Features that are broken, late or away explain the drift of inputs and answers; quality is told anyway."""


class Routes(_Section):
    """The whole file."""

    receivers: tuple[Receiver, ...] = ()
    routes: tuple[Route, ...] = ()
    mute_times: tuple[MuteTime, ...] = ()
    inhibit: tuple[Inhibition, ...] = (EXPLAINED_DRIFT,)
    """None of them: ``inhibit: []``."""

    def receiver(self, name: str) -> Receiver | None:
        """Return a receiver by its name, or None."""
        return next((each for each in self.receivers if each.name == name), None)

    def muted_by(self, route: Route, moment: datetime) -> str | None:
        """Return the mute time of a route that covers a moment, or None."""
        return next((m.name for m in self.mute_times if m.name in route.mute and m.covers(moment)), None)


def load_routes(project: ProjectFolder) -> Routes | None:
    """Read ``monitoring/routes.yaml``; None for a project without that file, which tells nobody.

    Raises:
        ConfigError: the file is wrong; the message names file, line, field, and what is expected.
    """
    file = read_declaration(project.root / "monitoring" / "routes.yaml")
    if file is None:
        return None
    routes = file.as_model(Routes, _HINT)
    for kind in ("receivers", "mute_times"):
        file.refuse_doubled(kind, [each.name for each in getattr(routes, kind)], _HINT)
    receivers = [each.name for each in routes.receivers]
    mutes = [each.name for each in routes.mute_times]
    for number, route in enumerate(routes.routes):
        _check(file, ["routes", number, "receivers"], route.receivers, receivers)
        _check(file, ["routes", number, "mute"], route.mute, mutes)
        for step, each in enumerate(route.escalate):
            _check(file, ["routes", number, "escalate", step, "receivers"], each.receivers, receivers)
    return routes


def _check(file: Declaration, keys: list[int | str], names: Sequence[str], known: Sequence[str]) -> None:
    for name in names:
        if name not in known:
            declared = ", ".join(known) or "none"
            raise _wrong(file, keys, f"{name!r} is not declared (declared: {declared})")


def _wrong(file: Declaration, keys: list[int | str], message: str) -> ConfigError:
    place = ".".join(map(str, keys))
    return ConfigError(f"{file.path} is wrong: {place}: {message}{file.line_note(keys)}", hint=_HINT)
