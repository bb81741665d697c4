"""Reads the latest backtest of a model's policies for their page."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from markupsafe import Markup

from tidemill.dashboard.charts.lines_by_month import lines_by_month
from tidemill.state.record_reader import Records
from tidemill.tasks.natural_metric import metric_of

__all__ = ["PlayedStrategy", "ShownBacktest", "latest_backtest"]


@dataclass(frozen=True)
class PlayedStrategy:
    """What a strategy would have come to."""

    name: str
    mean: float | None
    """Of the months' metric."""
    retrainings: int
    promoted: int
    wrong_promotions: int
    surely_wrong: int
    expected_worse: float | None
    """How many promotions were truly worse, as far as can be told; None in results of earlier versions."""
    worse_interval: tuple[int, int] | None
    """Its 90 % interval."""
    cpu_seconds: float
    months: Sequence[float | None]
    """The metric of each month, in their order."""


@dataclass(frozen=True)
class ShownBacktest:
    """A backtest of policies: each of them beside never, always and an oracle."""

    id: str
    made_at: datetime
    """By the clock of the machine."""
    actor: str
    metric: str
    better: str
    family: str
    fits: int
    played_from: datetime
    played_until: datetime
    months: Sequence[str]
    strategies: Sequence[PlayedStrategy]
    notes: Sequence[str]
    conclusion: Sequence[str]
    """What they say about the policies; empty in results of earlier versions."""

    @property
    def picture(self) -> Markup:
        """The metric of each strategy by month."""
        lines = {each.name: each.months for each in self.strategies}
        return lines_by_month(f"{self.metric} by month", f"{self.metric}, {self.better}", self.months, lines)


def latest_backtest(records: Records, model: str) -> ShownBacktest | None:
    """Return the latest backtest of a model's policies; None if none is on record."""
    order = "made_at DESC, id DESC"
    found = records.select("policy_backtests", "model = ?", model, order=order, limit=1)
    if not found:
        return None
    results: Mapping[str, Any] = found[0].results
    metric = metric_of(str(results["metric"]))
    months = list(dict.fromkeys(month for each in results["strategies"] for month in each["periods"]))

    def strategy(given: Mapping[str, Any]) -> PlayedStrategy:
        return PlayedStrategy(
            str(given["name"]),
            metric.shown(given["mean"]),
            int(given["retrainings"]),
            int(given["promoted"]),
            int(given["wrong_promotions"]),
            int(given["surely_wrong"]),
            worse["mean"] if (worse := given.get("expected_worse")) else None,
            (worse["low"], worse["high"]) if worse else None,
            float(given["cpu_seconds"]),
            [metric.shown(given["periods"].get(month)) for month in months],
        )

    return ShownBacktest(
        found[0].id,
        found[0].made_at,
        found[0].actor,
        metric.name,
        metric.better,
        str(results["family"]),
        int(results["fits"]),
        datetime.fromisoformat(results["start"]),
        datetime.fromisoformat(results["end"]),
        months,
        [strategy(each) for each in results["strategies"]],
        [str(note) for note in results["notes"]],
        [str(said) for said in results.get("conclusion", ())],
    )
