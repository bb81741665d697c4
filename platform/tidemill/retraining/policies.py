"""Reads the policies that a project declares in ``monitoring/policies.yaml``. Imports no engine."""

import math
import re
from collections.abc import Mapping
from datetime import time, timedelta
from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from tidemill.files.declaration_files import read_declaration
from tidemill.monitoring.monitor_config import Duration, Kind
from tidemill.plurals import counted, said_days
from tidemill.project import ProjectFolder
from tidemill.retraining.recipes import Action, Ask, Recipe
from tidemill.retraining.triggers.cron import check_cron

__all__ = ["Budget", "Condition", "Policy", "QuietHours", "load_policies"]

_KINDS: tuple[str, ...] = get_args(Kind)
_SHARE = re.compile(r"(\d+(?:\.\d+)?) ?%")
_HOURS = re.compile(r"([01]\d|2[0-3]):([0-5]\d)-([01]\d|2[0-3]):([0-5]\d)")


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


def _count_or_share(given: object) -> object:
    """Return a number of labels as it is, and a share in one form."""
    if given is None or (isinstance(given, int) and not isinstance(given, bool) and given > 0):
        return given
    if isinstance(given, str) and given.isdecimal() and int(given):
        return int(given)
    found = _SHARE.fullmatch(given.strip()) if isinstance(given, str) else None
    if found is None or not float(found[1]):
        raise ValueError(f"{given!r} is neither a number of labels, as 5000, nor a share, as 25%")
    return f"{float(found[1]):g}%"


class Condition(_Section):
    """One thing that may ask for a turn; exactly one field is set.

    >>> Condition.model_validate("quality").alert, Condition.model_validate({"age": "90d"}).age.days
    ('quality', 90)
    """

    alert: Kind | None = None
    """A kind of alert; also written as its name alone."""
    new_labels: Annotated[
        int | str | None,
        BeforeValidator(_count_or_share),
    ] = None
    """So many labels or more became known since the last turn; ``25%``: of those known when the champion was
    made."""
    age: Duration | None = None
    """The turn that made the champion read what was known this long ago, or longer."""
    cron: str | None = None
    """A moment of this schedule has passed since the last turn: minute, hour, day, month, day of the week."""
    zone: str = "UTC"
    """Time zone of ``cron``."""
    data_version: Literal[True] | None = None
    """The data have another version than the last turn had."""
    webhook: str | None = Field(default=None, min_length=1)
    """An alert of this name that began after the last turn, told by something else (``POST /alerts``)."""

    def __str__(self) -> str:
        """Return it in words."""
        if self.alert is not None:
            return self.alert
        if self.cron is not None:
            return f'cron "{self.cron}" ({self.zone})'
        if self.data_version:
            return "a new data version"
        if self.webhook is not None:
            return f"webhook {self.webhook}"
        if isinstance(self.new_labels, str):
            return f"{self.new_labels} more labels"
        if self.new_labels is not None:
            return counted(self.new_labels, "new label")
        assert self.age is not None
        return f"data older than {said_days(self.age)}"

    def labels_needed(self, learnt: int | None) -> int | None:
        """Return how many new labels ask for a turn, after one that knew ``learnt``; None if that is unknown.

        >>> Condition(new_labels="25%").labels_needed(1000), Condition(new_labels=5000).labels_needed(1000)
        (250, 5000)
        """
        if not isinstance(self.new_labels, str):
            return self.new_labels
        return math.ceil(float(self.new_labels[:-1]) / 100 * learnt) if learnt else None

    @model_validator(mode="before")
    @classmethod
    def _name_alone(cls, given: Any) -> Any:
        return {"alert": given} if isinstance(given, str) else given

    @model_validator(mode="after")
    def _exactly_one(self) -> "Condition":
        kinds = [name for name in type(self).model_fields if name != "zone"]
        if len([name for name in kinds if getattr(self, name)]) != 1:
            raise ValueError(f"set one of {', '.join(kinds)}; write others as their own items")
        if self.cron is not None:
            check_cron(self.cron, self.zone)
        elif "zone" in self.model_fields_set:
            raise ValueError("zone belongs to cron: remove it, or set cron beside it")
        return self


class Budget(_Section):
    """What a project's policies may spend in a period: turns, CPU time, or both."""

    turns: int | None = Field(default=None, ge=1)
    """The most turns that may begin; those that failed or found nothing new to learn do not count."""
    cpu_hours: float | None = Field(default=None, gt=0)
    """No turn begins once those of the period took this much CPU time."""
    period: Duration

    @model_validator(mode="after")
    def _limits_something(self) -> "Budget":
        if self.turns is None and self.cpu_hours is None:
            raise ValueError("a budget limits nothing: set turns, cpu_hours or both")
        return self


class QuietHours(_Section):
    """A time of day (UTC) in which no turn begins; it may go over midnight."""

    start: time
    end: time

    @model_validator(mode="before")
    @classmethod
    def _of_text(cls, given: Any) -> Any:
        if isinstance(given, Mapping):
            return given
        found = _HOURS.fullmatch(given) if isinstance(given, str) else None
        if found is None:
            raise ValueError(
                f'{given!r} is not a span of hours: write it in quotes, as in "22:00-06:00" (UTC)'
            )
        one, two, three, four = (int(part) for part in found.groups())
        if (one, two) == (three, four):
            raise ValueError(f"{given!r} begins and ends at the same time: it holds no hour")
        return {"start": time(one, two), "end": time(three, four)}

    def holds(self, moment: time) -> bool:
        """Return whether a time of day lies in it.

        >>> night = QuietHours.model_validate("22:00-06:00")
        >>> night.holds(time(23)), night.holds(time(5, 59)), night.holds(time(6))
        (True, True, False)
        """
        if self.start <= self.end:
            return self.start <= moment < self.end
        return moment >= self.start or moment < self.end


def _listed(value: object) -> object:
    return [value] if isinstance(value, str | Mapping) else value


class Policy(_Section):
    """One rule of ``monitoring/policies.yaml``.

    It asks for a turn for one of its ``alerts``, when one of ``any`` holds, or every one of ``all`` does.

    >>> Policy.model_validate({"name": "decay", "alerts": ["quality"], "cooldown": "28d"}).cooldown.days
    28
    """

    name: str = Field(min_length=1)
    alerts: tuple[Kind, ...] | None = Field(default=None, min_length=1)
    """Kinds of alert that ask for a turn, the most telling first.

    Feature skew seldom belongs here: a person must correct what serves or what trains, as a new model would
    be served the same wrong values.
    """
    any: tuple[Condition, ...] | None = Field(default=None, min_length=1)
    """Conditions of which one is enough, in the order of their weight."""
    all: tuple[Condition, ...] | None = Field(default=None, min_length=1)
    """Conditions that must hold together."""
    monitors: tuple[str, ...] | None = None
    """Names of the monitors whose alerts count; default: all."""
    cooldown: Duration = timedelta(days=7)
    """How long after the last turn that did not fail, whoever began it, the next one may begin."""
    retry_after: Duration = timedelta(days=1)
    """The same after a turn that failed."""
    max_age: Duration = timedelta(days=14)
    """An alert that no monitor has confirmed for this long does not count."""
    params: dict[str, Any] = Field(default_factory=dict)
    """Parameters of params.yaml that its turns set, by dotted name."""
    recipe: Recipe = Recipe()
    """How its turns make a model."""
    action: Action | None = None
    """What becomes of a version that passes the gate.

    The default is a rollout where replicas serve and have the traffic for one, else a promotion.
    """
    ask: Ask = Ask()
    """Of the action ``ask``: how long it waits for an answer, and what happens then."""
    quiet_hours: Annotated[tuple[QuietHours, ...], BeforeValidator(_listed)] = ()
    """Times of day (UTC) in which no turn begins."""
    budget: Budget | None = None
    """What the turns of all policies may spend in a period; turns by hand do not count."""
    refused_in_a_row: int = Field(default=3, ge=1)
    """After so many refused candidates in a row it waits for other data, other code, or a person."""
    min_new_labels: int = Field(default=0, ge=0)
    """No turn begins before so many labels became known since the last turn."""

    @property
    def conditions(self) -> tuple[Condition, ...]:
        """The conditions of which one is enough."""
        return (*(Condition(alert=kind) for kind in self.alerts or ()), *(self.any or ()))

    @property
    def asks_when(self) -> str:
        """When it asks for a turn, in words.

        >>> Policy(name="decay", alerts=("quality", "data_drift"), all=({"age": "90d"}, "quality")).asks_when
        'quality, or data_drift, or data older than 90 days and quality together'
        """
        parts = [str(each) for each in self.conditions]
        if self.all:
            parts.append(" and ".join(str(each) for each in self.all) + " together" * (len(self.all) > 1))
        return ", or ".join(parts)

    @property
    def mentioned(self) -> tuple[Condition, ...]:
        """Every condition, of ``alerts``, ``any`` and ``all``."""
        return (*self.conditions, *(self.all or ()))

    @property
    def may_roll_out(self) -> bool:
        """Whether a version that passes the gate is rolled out, at least where there is traffic for that."""
        return self.action in (None, "rollout")

    @property
    def counts_labels(self) -> bool:
        """Whether the number of new labels matters."""
        return self.min_new_labels > 0 or any(each.new_labels for each in self.mentioned)

    @model_validator(mode="after")
    def _asks_for_something(self) -> "Policy":
        if not self.conditions and not self.all:
            raise ValueError(
                f"it never asks for a turn: set alerts (some of {', '.join(_KINDS)}), any or all"
            )
        return self


class _PoliciesFile(BaseModel):
    model_config = ConfigDict(extra="forbid")

    policies: tuple[Policy, ...]


def load_policies(project: ProjectFolder) -> tuple[Policy, ...]:
    """Read ``monitoring/policies.yaml``; a project without that file has no policies.

    Raises:
        ConfigError: it is wrong; the message names file and field.
    """
    path = project.root / "monitoring" / "policies.yaml"
    file = read_declaration(path)
    if file is None:
        return ()
    hint = "docs/project.md describes every field"
    policies = file.as_model(_PoliciesFile, hint, item="policy").policies
    file.refuse_doubled("policies", [policy.name for policy in policies], hint)
    return policies
