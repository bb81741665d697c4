"""Computes what many models with much traffic ask for, from what one machine was measured to do.

All of it is arithmetic: `needs` says for each part of an installation how much is asked of one piece of it,
how much one piece can do, and so which part breaks first.
"""

from dataclasses import dataclass

__all__ = ["Costs", "Need", "Target", "needs"]

MIB, DAY = 1 << 20, 86_400


@dataclass(frozen=True)
class Target:
    """What is asked for."""

    models: int = 100
    rate: float = 10_000.0
    """Predictions a second of each model."""
    poll_seconds: float = 0.5
    """``serve.poll_seconds``: how often a replica asks who serves."""
    views: int = 6
    """Feature views that a prediction reads."""
    cached: float = 0.0
    """Share of the lookups that replicas answer from their cache."""
    rows: float | None = None
    """Predictions that a monitor joins with labels (``window: {rows: …}``); None: those of a day."""
    round_seconds: float = 60.0
    """``controller.intervalSeconds``."""
    apart: bool = False
    """Whether each model has records and an MLflow of its own: a release each."""
    busy: float = 0.6
    """Share of a core that is planned to be used: the rest is for peaks and for a replica that is away."""


@dataclass(frozen=True)
class Costs:
    """What one machine was measured to do; the fields say where the number comes from."""

    prediction: float = 88e-6
    """CPU seconds of a prediction in batches, in the replica (docs/serving.md)."""
    proxied: float = 6.6e-3
    """CPU seconds of one of Ray's own proxies, which has one thread, a request (this benchmark)."""
    lookup: float = 0.09e-3 / 6
    """Seconds of one view in Redis, of one client (docs/online-features.md)."""
    line: float = 1_700.0
    """Bytes of a logged prediction of 30 features (docs/prediction-log.md)."""
    compacted: float = 90.0
    """The same in parquet."""
    compaction: float = 410 / 10e6
    """Seconds of compacting a prediction (docs/prediction-log.md)."""
    compaction_cpu: float = 205 / 10e6
    """CPU seconds of it."""
    compaction_budget: float = 20.0
    """Seconds that a round of the controller compacts."""
    transaction: float = 0.42e-3
    """CPU seconds of PostgreSQL for a transaction of a replica; they run one at a time (this benchmark)."""
    round_trip: float = 0.5e-3
    """Seconds between a pod and PostgreSQL, there and back; the lock is held for three of them (assumed)."""
    alias: float = 5.8e-3
    """CPU seconds of a worker of MLflow's server for the question who serves (this benchmark)."""
    joined: float = 33 * 8
    """Bytes in memory of a prediction that is joined with its label: 30 features, score, label and moment."""
    memory: float = 8e9
    """Bytes of memory of a controller."""
    core_hour: float = 0.04
    """Price of a core for an hour."""
    gigabyte_month: float = 0.023
    """Price of a GB for a month in an object store."""


@dataclass(frozen=True)
class Need:
    """What is asked of one part of an installation."""

    part: str
    asked: float
    """Of all pieces together."""
    can: float
    """What one piece can do."""
    unit: str
    pieces: str
    """What a piece is."""
    grows: bool
    """Whether more pieces can be had by a value of the chart."""
    turn: str
    """What to turn when it breaks."""

    @property
    def load(self) -> float:
        """How many pieces it takes; beyond one, what cannot grow has broken."""
        return self.asked / self.can


def replicas(target: Target, costs: Costs) -> int:
    """Return how many replicas a model needs, each with one core.

    >>> replicas(Target(), Costs())
    2
    """
    return max(1, -(-int(target.rate * costs.prediction / target.busy * 1000) // 1000))


def needs(target: Target, costs: Costs) -> list[Need]:
    """Return the needs of all parts; first those that cannot grow and are asked for the most."""
    each = replicas(target, costs)
    together = 1 if target.apart else target.models
    rows = target.models * target.rate
    heard = together * each
    # Of a replica: who is deployed at each poll, a heartbeat in 5 s, keys and replicas every 2 s.
    transactions = heard * (1 / target.poll_seconds + 1 / 5 + 2 / 2)
    round_seconds = target.round_seconds + costs.compaction_budget
    found = [
        Need("Ray's own proxies", rows, 1 / costs.proxied, "requests/s", "proxy", True,
             "workers of the RayService: one proxy a node; HAProxy in front needs none"),
        Need("replicas", rows * costs.prediction / target.busy, 1.0, "cores", "replica", True,
             "serve.replicas, serving.workers"),
        Need("records (one lock)", transactions, 1 / (costs.transaction + 3 * costs.round_trip),
             "transactions/s", "database", False,
             "a release a team, each with its own database; serve.poll_seconds"),
        Need("MLflow: who serves", heard / target.poll_seconds, 1 / costs.alias, "requests/s", "worker", True,
             "mlflow.replicas; serve.poll_seconds; a release a team"),
        Need("online store", rows * target.views * (1 - target.cached) * costs.lookup, 1.0, "Redis threads",
             "Redis", True, "cache_seconds of the views; a Redis a project"),
        Need("compaction of a model, by its controller", target.rate * costs.compaction,
             costs.compaction_budget / round_seconds, "s/s", "controller", False,
             "controller.intervalSeconds: 10; the CronJob (compaction.enabled)"),
        Need("monitors with labels, a model", (target.rows or target.rate * DAY) * costs.joined / 1e9,
             costs.memory / 1e9, "GB", "controller", False, "window: {rows: 1000000}, or shorter windows"),
        Need("volume of a model's log", target.rate * costs.line / MIB, 100.0, "MiB/s", "volume", False,
             "a volume a project; fewer features in the log"),
    ]  # fmt: skip
    return sorted(found, key=lambda need: (need.grows, -need.load))


def daily(target: Target, costs: Costs) -> dict[str, float]:
    """Return what a day brings: GB of lines, GB of parquet, parts of a model, and the bill of a month.

    >>> {name: round(value) for name, value in daily(Target(models=1), Costs()).items()}
    {'lines': 1469, 'parquet': 78, 'parts': 3456, 'cores': 68, 'month': 1976}
    """
    rows = target.models * target.rate * DAY
    one = costs.prediction / target.busy + costs.compaction_cpu + costs.proxied
    cores = target.models * target.rate * one
    parquet = rows * costs.compacted / 1e9
    return {
        "lines": rows * costs.line / 1e9,
        "parquet": parquet,
        "parts": target.rate * DAY / 250_000,
        "cores": cores,
        "month": cores * 24 * 30 * costs.core_hour + parquet * 30 * costs.gigabyte_month / 2,
    }
