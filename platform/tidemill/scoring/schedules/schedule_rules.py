"""The schedules of batch scoring (``monitoring/schedules.yaml``). No engine."""

import re
from datetime import datetime, timedelta
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from tidemill.clock import parse_duration
from tidemill.errors import ConfigError
from tidemill.files.declaration_files import read_declaration
from tidemill.project import ProjectFolder
from tidemill.scoring.schedules.slots import ORIGIN

__all__ = ["Schedule", "find_schedule", "load_schedules", "pinned_versions"]

Duration = Annotated[timedelta, BeforeValidator(parse_duration)]


def _time_of_day(value: object) -> timedelta:
    match = re.fullmatch(r"([01]\d|2[0-3]):([0-5]\d)", value) if isinstance(value, str) else None
    if match is None:
        raise ValueError(f'{value!r} is not a time of day: write it in quotes, as in "04:00"')
    return timedelta(hours=int(match[1]), minutes=int(match[2]))


class Schedule(BaseModel):
    """One entry of ``monitoring/schedules.yaml``.

    >>> schedule = Schedule.model_validate({
    ...     "name": "tomorrow", "input": "data/{slot:%Y-%m-%d}.parquet", "output": "scores/{slot:%Y-%m-%d}",
    ...     "every": "1d", "at": "04:00"})
    >>> schedule.filled(schedule.output, datetime(2013, 4, 1, 4))
    'scores/2013-04-01'
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9-]*$")
    input: tuple[str, ...] = Field(min_length=1)
    """Files, folders, patterns or addresses, relative to the project; ``{slot:%Y-%m-%d}`` is its moment."""
    output: str
    """A folder or file, likewise."""
    every: Duration
    """The interval; slots are its whole multiples since Monday, 5 January 1970, UTC."""
    at: Annotated[timedelta, BeforeValidator(_time_of_day)] = timedelta(0)
    """Offset from these multiples, as hours and minutes."""
    missed: Literal["latest", "all", "none"] = "latest"
    """Which slots that passed while nothing ran are scored later: the latest, or all, the oldest
    first, or none that is older than ``grace``."""
    grace: Duration = timedelta(hours=1)
    """With ``missed: none``: how late a slot may begin."""
    tries: int = Field(default=3, ge=1)
    """How often a failing slot is tried."""
    retry_after: Duration = timedelta(minutes=10)
    """How long to wait before the next try."""
    model_version: str = "champion"
    features: Literal["columns", "keys", "online"] | None = None
    """Where features come from; none: columns if the input has them all, else keys."""
    at_column: str | None = None
    keep: tuple[str, ...] | None = None
    rename: dict[str, str] = Field(default_factory=dict)
    decide: bool | None = None
    format: Literal["parquet", "csv"] | None = None
    max_rejected: int = Field(default=0, ge=0)
    overwrite: bool = False
    """Whether the output of the slot before is replaced, where the output does not name the slot."""
    workers: int | None = Field(default=None, ge=0)
    log: bool = False

    @model_validator(mode="before")
    @classmethod
    def _one_input_is_a_list_of_one(cls, values: Any) -> Any:
        if isinstance(values, dict) and isinstance(values.get("input"), str):
            return {**values, "input": (values["input"],)}
        return values

    @model_validator(mode="after")
    def _fits_together(self) -> "Schedule":
        if self.at >= self.every:
            raise ValueError("at must be less than every: it says how much later than the grid")
        slots = [ORIGIN, ORIGIN + self.every]
        for text in (*self.input, self.output):
            self.filled(text, ORIGIN)
        if not self.overwrite and len({self.filled(self.output, slot) for slot in slots}) < len(slots):
            raise ValueError(
                "output is the same for every slot: put {slot:%Y-%m-%dT%H%M} into it, or set overwrite"
            )
        return self

    def filled(self, text: str, slot: datetime) -> str:
        """Return ``text`` with the slot's moment (UTC) in place of ``{slot:…}``.

        Raises:
            ValueError: it has other braces.
        """
        try:
            return text.format(slot=slot)
        except (KeyError, IndexError, ValueError) as error:
            raise ValueError(
                f"{text!r}: only {{slot:…}} can be filled in, as in {{slot:%Y-%m-%d}}"
            ) from error


class _SchedulesFile(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    schedules: tuple[Schedule, ...] = ()

    @model_validator(mode="after")
    def _names_are_unique(self) -> "_SchedulesFile":
        names = [schedule.name for schedule in self.schedules]
        if doubled := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"{doubled[0]!r} is declared twice: rename one")
        return self


def load_schedules(project: ProjectFolder) -> tuple[Schedule, ...]:
    """Read ``monitoring/schedules.yaml``; a project without that file has no schedules.

    Raises:
        ConfigError: it is wrong; the message names file and field.
    """
    path = project.root / "monitoring" / "schedules.yaml"
    file = read_declaration(path)
    if file is None:
        return ()
    return file.as_model(_SchedulesFile, "docs/batch-scoring.md describes every field").schedules


def find_schedule(project: ProjectFolder, name: str) -> Schedule:
    """Return the schedule called ``name``.

    Raises:
        ConfigError: ``schedules.yaml`` declares none of that name, or is wrong.
    """
    schedules = load_schedules(project)
    for schedule in schedules:
        if schedule.name == name:
            return schedule
    declared = ", ".join(schedule.name for schedule in schedules) or "none"
    path = project.root / "monitoring" / "schedules.yaml"
    raise ConfigError(f"{path} declares no schedule {name!r}", hint=f"it declares: {declared}")


def pinned_versions(project: ProjectFolder) -> list[tuple[str, str]]:
    """Return the versions that schedules name by number or alias, and which schedule does, in words.

    Raises:
        ConfigError: ``schedules.yaml`` is wrong.
    """
    return [
        (each.model_version, f"the schedule {each.name} scores with it") for each in load_schedules(project)
    ]
