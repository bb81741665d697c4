"""Sums the CPU time of turns by version and for the whole project, and prices it by ``cost`` of params.yaml.

What is counted: the steps of a turn with the processes that they started, and its search. What serves is not.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, NamedTuple

from tidemill.errors import ConfigError
from tidemill.state.record_reader import Records, Row

__all__ = ["Cost", "Prices", "ProjectCost", "project_cost", "read_prices"]

_HOUR = 3600.0


class Prices(NamedTuple):
    """What an hour costs."""

    cpu_hour: float | None
    currency: str

    def of(self, cpu_seconds: float) -> float | None:
        """Return the price of so much CPU time; None without a price.

        >>> Prices(0.05, "EUR").of(7200), Prices(None, "").of(7200)
        (0.1, None)
        """
        return None if self.cpu_hour is None else round(cpu_seconds / _HOUR * self.cpu_hour, 4)


class Cost(NamedTuple):
    """What one turn, or all turns of a version, took."""

    name: str
    """Id of the turn, or number of the version."""
    version: str | None
    status: str
    at: datetime
    cpu_seconds: float
    price: float | None


class ProjectCost(NamedTuple):
    """What all turns of a project took."""

    turns: list[Cost]
    """The latest first."""
    versions: list[Cost]
    cpu_seconds: float
    price: float | None
    unmeasured: int
    """Turns whose time was not recorded: those of earlier releases, and those that run."""


def read_prices(params: Mapping[str, Any]) -> Prices:
    """Return the prices that ``params.yaml`` declares; none if it declares none.

    Raises:
        ConfigError: they are no numbers, or below 0.

    >>> read_prices({"cost": {"prices": {"cpu_hour": 0.04}, "currency": "EUR"}})
    Prices(cpu_hour=0.04, currency='EUR')
    """
    section = params.get("cost") or {}
    try:
        prices = dict(section.get("prices") or {})
        price, currency = prices.pop("cpu_hour", None), str(section.get("currency") or "")
        if prices or (price is not None and not float(price) >= 0):
            raise ValueError(f"it is {section['prices']}")
        return Prices(None if price is None else float(price), currency)
    except (AttributeError, TypeError, ValueError) as error:
        raise ConfigError(
            f"cost.prices in params.yaml cannot be read: {error}",
            hint="write it like `cost: {currency: EUR, prices: {cpu_hour: 0.04}}`",
        ) from error


def project_cost(records: Records, model: str, prices: Prices) -> ProjectCost:
    """Return what the turns of a model took.

    Raises:
        TidemillError: the records cannot be read.
    """
    rows = records.select("turns", "model = ?", model, order="requested_at DESC, id DESC")
    measured = [row for row in rows if row.cpu_seconds is not None]
    total = sum(row.cpu_seconds for row in measured)
    return ProjectCost(
        [_cost(row.id, [row], prices) for row in measured],
        [_cost(version, found, prices) for version, found in _by_version(measured).items()],
        round(total, 1),
        prices.of(total),
        len(rows) - len(measured),
    )


def _by_version(rows: Iterable[Row]) -> dict[str, list[Row]]:
    found: dict[str, list[Row]] = {}
    for row in rows:
        if row.version is not None:
            found.setdefault(row.version, []).append(row)
    return found


def _cost(name: str, rows: list[Row], prices: Prices) -> Cost:
    spent = sum(row.cpu_seconds for row in rows)
    latest = rows[0]
    return Cost(name, latest.version, latest.status, latest.requested_at, round(spent, 1), prices.of(spent))
