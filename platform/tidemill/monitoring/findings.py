"""What a monitor run found, and what each kind of monitor says of its window. Imports no engine."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal, get_args

from tidemill.monitoring.monitor_config import Kind

if TYPE_CHECKING:
    from tidemill.monitoring.drift.drift_columns import ColumnDrift

__all__ = ["KINDS", "NO_RUN", "Finding", "Findings", "Judged"]

KINDS: tuple[Kind, ...] = get_args(Kind)
NO_RUN: Final = "no_run"
"""The kind of an alert about a monitor that did not run."""


@dataclass(frozen=True)
class Finding:
    """Something alarming."""

    kind: Kind | Literal["no_run"]
    message: str
    """One sentence with its numbers."""
    details: Mapping[str, Any] = field(default_factory=dict)
    """The numbers, for machines."""


@dataclass(frozen=True)
class Judged:
    """What one kind of monitor says of a window."""

    found: tuple[Finding, ...] = ()
    unjudged: str | None = None
    """Why it could not be judged; None if it was."""
    results: Mapping[str, Any] = field(default_factory=dict)
    """What is put on record, as JSON values."""
    said: str | None = None
    """Its figure beside its limit, in words, for kinds whose results `run_explanation` does not read."""
    examples: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """Ids of predictions that show what was found, by kind."""
    warnings: tuple[str, ...] = ()
    """What is wrong in the declaration."""
    notes: tuple[str, ...] = ()
    """Lines for the report, in Markdown."""
    columns: "tuple[ColumnDrift, ...]" = ()
    """Drift that the report draws."""


@dataclass(frozen=True)
class Findings:
    """The results of a monitor run."""

    found: tuple[Finding, ...]
    judged: frozenset[Kind]
    """The kinds that could be judged. Only for these does the absence of a finding mean that all is well."""
    unjudged: Mapping[Kind, str]
    """The kinds that could not be judged, and why."""
