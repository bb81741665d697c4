"""Selects the answers of two versions that may be compared: those of the same periods, weighted alike.

Keys are divided at random, so both versions meet the same world, but only for as long as the shares stand.
While a canary grows, most of the champion's answers are early ones and most of the canary's late ones: taken
together, they differ by the hour (Simpson's paradox in ramps: Kohavi, Tang, Xu, Trustworthy Online Controlled
Experiments, 2020, chapter 3).
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np
import polars as pl
from sqlalchemy import select

from tidemill.project import Project
from tidemill.state import State
from tidemill.state.tables import Deployment, Promotion

__all__ = ["Periods", "read_periods"]

_LEAST = 0.01
"""With fewer champion's answers than this for each of the version's, a period is left out."""
_MOMENT = pl.Datetime("us", "UTC")


@dataclass(frozen=True)
class Periods:
    """Wall-clock periods in which the split of the traffic did not change."""

    changes: tuple[datetime, ...] = ()
    """The moments at which it changed, in order."""
    lag: timedelta = timedelta(0)
    """Time that replicas need to follow a change; answers within it belong to no period."""

    @property
    def settled_at(self) -> datetime | None:
        """Return when all replicas have followed the last change."""
        return self.changes[-1] + self.lag if self.changes else None

    def balanced(self, ours: pl.DataFrame, theirs: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
        """Return the answers of the periods in which both versions answered, with a column ``weight``.

        Args:
            ours: answers of a version, with ``served_at``.
            theirs: of the champion: each period gets the weight that it has in ``ours``.

        >>> from datetime import UTC
        >>> hours = pl.datetime_range(datetime(2013, 4, 1), datetime(2013, 4, 1, 3), "1h", eager=True)
        >>> frame = pl.DataFrame({"served_at": hours.dt.replace_time_zone("UTC")})
        >>> noon = Periods((hours[1].replace(tzinfo=UTC), hours[3].replace(tzinfo=UTC)))
        >>> [one["weight"].to_list() for one in noon.balanced(frame[:2], frame)]
        [[1.0, 1.0], [1.0, 0.5, 0.5]]
        """
        ours, theirs = self._numbered(ours), self._numbered(theirs)
        both = ours.group_by("period").len("ours")
        both = both.join(theirs.group_by("period").len("theirs"), on="period")
        both = both.filter(pl.col("theirs") >= _LEAST * pl.col("ours"))
        weights = pl.lit(1.0), pl.col("ours") / pl.col("theirs")
        first, second = (
            frame.join(
                both.select("period", weight.alias("weight")), on="period", maintain_order="left"
            ).drop("period")
            for frame, weight in zip((ours, theirs), weights, strict=True)
        )
        return first, second

    def _numbered(self, answers: pl.DataFrame) -> pl.DataFrame:
        if not self.changes:
            return answers.with_columns(period=pl.lit(0))
        moments = pl.Series(self.changes, dtype=_MOMENT)
        served = answers["served_at"].cast(_MOMENT)
        place = np.searchsorted(moments.to_physical().to_numpy(), served.to_physical().to_numpy(), "right")
        began = moments.gather(np.maximum(place - 1, 0))
        followed = (pl.Series(place) == 0) | (served >= began + self.lag)
        return answers.with_columns(period=pl.Series(place)).filter(followed)


def read_periods(project: Project, state: State) -> Periods:
    """Return when deployments or the champion changed, from the records."""
    with state.transaction() as session:
        deployments = session.execute(
            select(Deployment.live_at, Deployment.ended_at).where(
                Deployment.model == project.model,
                Deployment.kind.in_(("canary", "ab")),
                Deployment.live_at.is_not(None),
            )
        ).all()
        moves = session.scalars(
            select(Promotion.requested_at).where(Promotion.model == project.model, Promotion.status == "done")
        ).all()
    moments = {moment for deployment in deployments for moment in deployment if moment is not None}
    # Replicas follow within two looks.
    lag = timedelta(seconds=2 * project.config.serve.poll_seconds)
    return Periods(tuple(sorted(moments | set(moves))), lag)
