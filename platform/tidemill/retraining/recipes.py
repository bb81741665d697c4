"""Defines how the turns of a policy make a model, and what becomes of it. Imports no engine."""

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, Literal, get_args

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    ValidationError,
    model_validator,
)

from tidemill.monitoring.monitor_config import Duration
from tidemill.training.candidate_windows import ALL, Window, parse_window

__all__ = ["Action", "Ask", "Recipe", "question_of", "unknown_part"]

Action = Literal["record", "shadow", "ask", "promote", "rollout"]
"""What a turn does with a version that the gate passed."""


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Recipe(_Section):
    """How the turns of a policy make a model.

    >>> Recipe.model_validate({"search": "same", "windows": ["all", {"last": "90d"}]}).recorded
    {'search': 'same', 'windows': ['all', {'last': '90d'}]}
    """

    search: Literal["full", "narrow", "same", "warm"] = "full"
    """``full``: as ``train`` in params.yaml says; ``narrow``: around the champion's parameters, with a third
    of the trials, each model made anew; ``same``: the champion's family and parameters, without a search;
    ``warm``: goes on from the champion itself, with the rows that are new to it."""
    windows: tuple[
        Annotated[
            Window,
            BeforeValidator(parse_window),
            PlainSerializer(lambda window: window.declared, return_type=Any),
        ],
        ...,
    ] = Field(default=(ALL,), min_length=1)
    """Candidate windows of the training rows; the first stands unless another one is surely better."""

    @model_validator(mode="after")
    def _warm_takes_new_rows(self) -> "Recipe":
        if self.search == "warm" and self.windows != (ALL,):
            raise ValueError("search: warm learns from the rows that are new to the champion: remove windows")
        return self

    @property
    def recorded(self) -> dict[str, Any]:
        """Return it as JSON values, from which it can be read."""
        return self.model_dump(mode="json")


class Ask(_Section):
    """How long the action ``ask`` waits for a person, and what happens then."""

    within: Duration = Field(default="3d", validate_default=True)
    default: Literal["refuse", "promote", "rollout"] = "refuse"


def question_of(ask: Ask, as_of: datetime) -> dict[str, Any]:
    """Return the record of a question that a turn as of a moment is to put.

    >>> from datetime import UTC
    >>> question_of(Ask(), datetime(2013, 4, 1, tzinfo=UTC))
    {'until': '2013-04-04T00:00:00+00:00', 'default': 'refuse'}
    """
    return {"until": (as_of + ask.within).isoformat(), "default": ask.default}


def unknown_part(action: str | None, recipe: Mapping[str, Any] | None) -> str | None:
    """Return what of a turn's record only a newer version of Tidemill knows, in words; None if nothing.

    >>> unknown_part("rollout", {"search": "same"}), unknown_part(None, None)
    (None, None)
    >>> unknown_part("canary", None), unknown_part("ask", {"search": "wide"})
    ("action 'canary'", "recipe {'search': 'wide'}")
    """
    if action is not None and action not in get_args(Action):
        return f"action {action!r}"
    try:
        Recipe.model_validate(recipe or {})
    except ValidationError:
        return f"recipe {recipe}"
    return None
