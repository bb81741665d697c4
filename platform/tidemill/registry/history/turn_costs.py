"""Sums the CPU and GPU time of turns by version and for the project, and prices it as params.yaml says.

What is counted: the steps of a turn with the processes that they started, and its search. GPUs are
counted for as long as Ray gave them away. What serves is not counted.
"""

import math
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, NamedTuple

from tidemill.errors import ConfigError
from tidemill.state.record_queries import rollouts_of
from tidemill.state.record_reader import Records, Row

__all__ = ["Cost", "Prices", "ProjectCost", "project_cost", "read_prices"]

_HOUR = 3600.0


class Prices(NamedTuple):
    """What an hour costs."""

    cpu_hour: float | None
    gpu_hour: float | None
    currency: str

    def of(self, cpu_seconds: float, gpu_seconds: float = 0.0) -> float | None:
        """Return the price of so much time; None where something has none.

        >>> Prices(0.05, None, "EUR").of(7200), Prices(0.05, 2.0, "EUR").of(7200, 1800)
        (0.1, 1.1)
        >>> Prices(0.05, None, "EUR").of(7200, 1800), Prices(None, 2.0, "").of(7200)
        (None, None)
        """
        if self.cpu_hour is None or (gpu_seconds and self.gpu_hour is None):
            return None
        return round((cpu_seconds * self.cpu_hour + gpu_seconds * (self.gpu_hour or 0.0)) / _HOUR, 4)


class Cost(NamedTuple):
    """What one turn, or all turns of a version, took."""

    name: str
    """Id of the turn, or number of the version."""
    version: str | None
    status: str
    at: datetime
    cpu_seconds: float
    gpu_seconds: float
    price: float | None


class ProjectCost(NamedTuple):
    """What all turns of a project took."""

    turns: list[Cost]
    """The latest first."""
    versions: list[Cost]
    cpu_seconds: float
    gpu_seconds: float
    price: float | None
    unmeasured: int
    """Turns whose time was not recorded: those of earlier releases, and those that run."""


def read_prices(params: Mapping[str, Any]) -> Prices:
    """Return the prices that ``params.yaml`` declares; none if it declares none.

    Raises:
        ConfigError: they are no numbers, or below 0.

    >>> read_prices({"cost": {"prices": {"cpu_hour": 0.04}, "currency": "EUR"}})
    Prices(cpu_hour=0.04, gpu_hour=None, currency='EUR')
    """
    section = params.get("cost") or {}
    try:
        given = dict(section.get("prices") or {})
        hours = [given.pop(name, None) for name in ("cpu_hour", "gpu_hour")]
        if given or any(each is not None and not _is_price(each) for each in hours):
            raise ValueError(f"it is {section['prices']}")
        cpu, gpu = (None if each is None else float(each) for each in hours)
        return Prices(cpu, gpu, str(section.get("currency") or ""))
    except (AttributeError, TypeError, ValueError) as error:
        raise ConfigError(
            f"cost.prices in params.yaml cannot be read: {error}",
            hint="write it like `cost: {currency: EUR, prices: {cpu_hour: 0.04, gpu_hour: 2.5}}`",
        ) from error


def _is_price(given: Any) -> bool:
    """Whether it is a number that an hour can cost.

    >>> [_is_price(given) for given in (0, "0.04", True, float("nan"), float("inf"), -1)]
    [True, True, False, False, False, False]
    """
    return not isinstance(given, bool) and 0 <= float(given) < math.inf


def project_cost(records: Records, model: str, prices: Prices) -> ProjectCost:
    """Return what the turns of a model took.

    Raises:
        TidemillError: the records cannot be read.
    """
    rows = records.select("turns", "model = ?", model, order="requested_at DESC, id DESC")
    measured, rollouts = [row for row in rows if row.cpu_seconds is not None], rollouts_of(records, rows)
    total, gpus = sum(row.cpu_seconds for row in measured), _gpus(measured)
    return ProjectCost(
        [_cost(row.id, [row], prices, rollouts.get(row.id)) for row in measured],
        [_cost(version, found, prices) for version, found in _by_version(measured).items()],
        round(total, 1),
        round(gpus, 1),
        prices.of(total, gpus),
        len(rows) - len(measured),
    )


def _by_version(rows: Iterable[Row]) -> dict[str, list[Row]]:
    found: dict[str, list[Row]] = {}
    for row in rows:
        if row.version is not None:
            found.setdefault(row.version, []).append(row)
    return found


def _cost(name: str, rows: list[Row], prices: Prices, rollout: Row | None = None) -> Cost:
    spent, gpus, latest = sum(row.cpu_seconds for row in rows), _gpus(rows), rows[0]
    return Cost(
        name,
        latest.version,
        latest.status if rollout is None else f"rollout, {rollout.status.replace('_', ' ')}",
        latest.requested_at,
        round(spent, 1),
        round(gpus, 1),
        prices.of(spent, gpus),
    )


def _gpus(rows: Iterable[Row]) -> float:
    return sum((row.gpu_seconds or 0.0 for row in rows), 0.0)
