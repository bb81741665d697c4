"""Defines the report of a validation: one report for each data set, one outcome for each check."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

__all__ = ["CheckOutcome", "SetReport"]

Kind = Literal[
    "structure", "column", "row", "unique", "reference", "freshness", "volume", "schema", "share of bad rows"
]
Outcome = Literal["passed", "rows fail", "failed", "skipped"]


@dataclass(frozen=True)
class CheckOutcome:
    """The outcome of one check."""

    check: str
    """Description of the check."""
    kind: Kind
    outcome: Outcome
    """``rows fail``: some rows are bad; ``failed``: the data set as a whole is."""
    failing: int = 0
    """Number of rows that break it."""
    observed: Mapping[str, Any] = field(default_factory=dict)
    """The numbers that it compared, and its limits."""
    detail: str = ""
    """A sentence that explains the numbers, where they need one."""


@dataclass(frozen=True)
class SetReport:
    """The results of validating one data set."""

    mode: Literal["off", "warn", "stop"]
    source: str
    rows: int
    accepted: int
    """Rows that pass: in mode ``stop`` those that break no rule, else all."""
    rejected: int
    """Rows that are set aside."""
    failing: int
    """Rows that break a rule: in mode ``stop`` those that are set aside."""
    broken: Mapping[str, int]
    """Rule → number of rows that break it; a row may break several."""
    checks: tuple[CheckOutcome, ...]
    bias: Mapping[str, Any] | None = None

    @property
    def failed(self) -> tuple[CheckOutcome, ...]:
        """Return the checks that the data set as a whole failed."""
        return tuple(check for check in self.checks if check.outcome == "failed")

    @property
    def stops(self) -> bool:
        """Return whether the data set must not be used."""
        return self.mode == "stop" and bool(self.failed)

    def as_dict(self) -> dict[str, Any]:
        """Return the report as JSON values."""
        plain: dict[str, Any] = {
            "mode": self.mode,
            "passed": not self.failed,
            "source": self.source,
            "rows": self.rows,
            "accepted": self.accepted,
            "rejected": self.rejected,
            "failing": self.failing,
            "rejected_share": round(self.rejected / self.rows, 6) if self.rows else 0.0,
            "broken": dict(self.broken),
            "checks": [_plain(check) for check in self.checks],
        }
        return plain if self.bias is None else {**plain, "bias": dict(self.bias)}


def _plain(check: CheckOutcome) -> dict[str, Any]:
    """Return the facts of a check, without empty ones."""
    always: dict[str, Any] = {"check": check.check, "kind": check.kind, "outcome": check.outcome}
    if check.failing:
        always["failing"] = check.failing
    if check.observed:
        always["observed"] = dict(check.observed)
    if check.detail:
        always["detail"] = check.detail
    return always
