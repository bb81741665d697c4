"""Reads the scenario of ``tidemill demo`` from the ``demo`` section of ``params.yaml``."""

from datetime import datetime
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from tidemill.clock import utc
from tidemill.errors import ConfigError
from tidemill.files.field_problems import field_problems
from tidemill.project import Project

__all__ = ["LaterScene", "Scenario", "load_scenario"]


class LaterScene(BaseModel):
    """A second period of history: a new champion, and a challenger that must prove that it is better."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    start: datetime
    """The champion is trained on everything known by then; the replay goes on from here."""
    end: datetime
    """The challenger is trained then, and compared with the champion."""
    champion_reason: str
    """Reason for the new champion."""
    champion_params: dict[str, Any] = Field(default_factory=dict)
    """Values of params.yaml for the champion's turn, by dotted name."""
    challenger_params: dict[str, Any] = Field(default_factory=dict)
    """The same for the challenger's."""
    challenger_reason: str
    """Reason for the challenger."""

    _in_utc = field_validator("start", "end")(utc)


class Scenario(BaseModel):
    """First training, replay, and a later scene."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    start: datetime
    """The first champion is trained on what is known by then; the replay begins here."""
    end: datetime
    """The replay ends here."""
    requests_per_day: int = Field(default=60, ge=1)
    seed: int = 0
    clients: int = Field(default=8, ge=1, le=256)
    """Requests at once."""
    later: LaterScene | None = None

    _in_utc = field_validator("start", "end")(utc)

    @model_validator(mode="after")
    def _in_order(self) -> "Scenario":
        moments = [self.start, self.end] + ([self.later.start, self.later.end] if self.later else [])
        if moments != sorted(moments):
            raise ValueError("start, end, later.start and later.end must follow each other in time")
        return self


def load_scenario(project: Project) -> Scenario:
    """Read the scenario of a project.

    Raises:
        ConfigError: the project has no scenario, or the scenario is wrong.
    """
    path = project.root / "params.yaml"
    if "demo" not in project.params or project.config.project.replay is None:
        raise ConfigError(
            f"{path} has no demo section, or no project.replay",
            hint="a demo needs history to replay; the reference project shows how it is declared",
        )
    try:
        return Scenario.model_validate(project.params["demo"])
    except ValidationError as error:
        found = field_problems(error.errors(), Scenario)
        wrong = "; ".join(f"demo.{'.'.join(map(str, keys))}: {said}" for keys, said in found)
        raise ConfigError(
            f"{path} is wrong: {wrong}", hint="docs/project.md describes every field"
        ) from error
