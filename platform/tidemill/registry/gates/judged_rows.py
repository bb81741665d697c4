"""What the checks of a gate look at: two versions, and what both answer to the same rows, scored once."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from tidemill.data.personal.pseudonyms import pseudonymisers_for
from tidemill.errors import DataError
from tidemill.project import Project
from tidemill.registry.versions.loaded_model import Scorer
from tidemill.registry.versions.version_record import ModelVersion
from tidemill.tasks.paired_bootstrap import Interval, gain_interval, metric_interval
from tidemill.tasks.task import Answers, Task
from tidemill.tasks.task_names import metric_name

__all__ = ["ROUNDING", "GateFinding", "GateRows", "Judged", "Measured"]

ROUNDING = 1e-12
"""By so much less a limit is reached: 0.73 - 0.72 is not 0.01 in floating point."""


@dataclass(frozen=True)
class GateFinding:
    """What one check of a gate found.

    >>> GateFinding(False, "the profit is 3.1 € a flight, at least 4 € is needed", {"profit": 3.1}).passed
    False
    """

    passed: bool
    said: str
    """One sentence with the numbers that decide."""
    numbers: dict[str, Any] = field(default_factory=dict)
    """All that was measured, as JSON values."""


@dataclass(frozen=True)
class Measured:
    """A metric of the candidate, beside the champion's."""

    candidate: float
    champion: float | None
    interval: Interval | None
    """Of the candidate's; 90 %."""
    gain_interval: Interval | None

    @property
    def gain(self) -> float | None:
        """What the candidate has more; None without a champion."""
        return None if self.champion is None else self.candidate - self.champion

    @property
    def gain_low(self) -> float:
        """The lower end of the gain's interval; minus infinity where it has none."""
        return self.gain_interval.low if self.gain_interval else -math.inf

    def gain_reaches(self, least: float, by: str) -> bool:
        """Return whether the gain, or all of its interval (``by="interval"``), is at least so much."""
        gain = 0.0 if self.gain is None else self.gain
        return math.isfinite(gain) and (self.gain_low if by == "interval" else gain) >= least - ROUNDING

    def facts(self) -> dict[str, Any]:
        """Return the numbers as JSON values; None where one is undefined."""
        numbers = {"candidate": self.candidate, "champion": self.champion, "gain": self.gain}
        found: dict[str, Any] = {
            name: value if value is not None and np.isfinite(value) else None
            for name, value in numbers.items()
        }
        for name in ("interval", "gain_interval"):
            of: Interval | None = getattr(self, name)
            found[name] = [of.low, of.high] if of else None
        return found


@dataclass(frozen=True)
class GateRows:
    """The hold-out, its labels, and the answers of candidate and champion; one entry a row in each."""

    task: Task
    rows: pl.DataFrame
    """Features, label, and time if rows have one."""
    truth: npt.NDArray[Any]
    answers: Answers
    """The candidate's (`tidemill.tasks.task.Answers`)."""
    champion_answers: Answers | None
    """None: there is no champion."""
    blocks: npt.NDArray[Any] = field(repr=False)
    """The day or group of each row; rows of one have much in common."""
    seed: int = 0

    def where(self, mask: npt.NDArray[np.bool_]) -> "GateRows":
        """Return the rows for which ``mask``, shape (rows,), is true."""
        theirs = None if self.champion_answers is None else self.champion_answers[mask]
        part = self.rows.filter(pl.Series(mask))
        return replace(
            self,
            rows=part,
            truth=self.truth[mask],
            answers=self.answers[mask],
            champion_answers=theirs,
            blocks=self.blocks[mask],
        )

    def measure(self, metric: str) -> Measured:
        """Return a metric of both versions, by its full name, with intervals."""
        task, theirs = replace(self.task, metric=metric), self.champion_answers
        before = None if theirs is None else task.evaluate(self.truth, theirs)[metric]
        mine = task.evaluate(self.truth, self.answers)[metric]
        if not np.isfinite(mine):
            return Measured(mine, before, None, None)
        own = metric_interval(task, self.truth, self.answers, self.blocks, self.seed)
        gain = None
        if theirs is not None:
            gain = gain_interval(task, self.truth, self.answers, theirs, self.blocks, self.seed)
        return Measured(mine, before, own, gain)


@dataclass(frozen=True)
class Judged:
    """A candidate, the champion, and their answers."""

    project: Project
    candidate: ModelVersion
    champion: ModelVersion | None
    now: datetime
    """Event time of the decision."""
    stages: Mapping[str, datetime] = field(default_factory=dict)
    """The stages that the candidate has passed, and when, event time."""
    rows: GateRows | None = None
    problem: str | None = None
    """Why there are no ``rows``."""
    scorer: Scorer | None = None
    """What was judged: the candidate, or its twin that did not learn from the hold-out."""
    served: Scorer | None = None
    """What would serve."""
    champion_served: Scorer | None = None

    def scored(self) -> GateRows:
        """Return the rows that both have answered.

        Raises:
            DataError: they could not.
        """
        if self.rows is None:
            raise DataError(f"not measured: {self.problem}", hint="the gate's other reasons say what to mend")
        return self.rows

    def column(self, name: str, edges: Sequence[float] = ()) -> pl.Series:
        """Return a column of the hold-out; those of a personal one as pseudonyms, unless edges hide them.

        Raises:
            DataError: there is none of that name, or the hold-out could not be scored.
        """
        rows = self.scored().rows
        if name not in rows.columns:
            raise DataError(
                f"the hold-out has no column {name!r}: its columns are {', '.join(rows.columns)}",
                hint="name one of these under gates in params.yaml; or, if the training set has it, train "
                "again: a version keeps the columns that gates name then",
            )
        from tidemill.features.personal_fields import declared_columns  # loads Feast, which few gates need

        if edges or name not in declared_columns(self.project):
            return rows[name]
        return pseudonymisers_for(self.project, [name])[name].hide_series(rows[name])

    def metric(self, given: str | None) -> str:
        """Return the full name of a metric that a check names; of the gate's where it names none."""
        gate = self.project.config.gate.metric
        return gate if given is None else metric_name(self.project.task.kind, given)
