"""Shows what ``tidemill monitor explain`` says of each monitor's last run."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from tidemill.cli.output import format_moment, print_indented

if TYPE_CHECKING:
    from datetime import datetime
    from pathlib import Path

    from rich.console import Console

    from tidemill.state.record_reader import Records

__all__ = ["declared_monitors", "is_about", "noise_said", "show_explained"]


def declared_monitors(file: "Path") -> set[str] | None:
    """Return the names of the declared monitors; None if the file cannot tell: `tidemill status` says why."""
    from tidemill.files.yaml_reading import YamlError, parse_yaml  # pydantic would take longer than the rest

    try:
        return {str(each["name"]) for each in parse_yaml(file.read_bytes())["monitors"]}
    except (OSError, YamlError, KeyError, TypeError):
        return None


def is_about(alert: Any, run: Any, until: "datetime | None") -> bool:
    """Return whether an alert is of a run's monitor and version, and was open at a moment (None: now).

    >>> from types import SimpleNamespace as Row
    >>> alert = Row(monitor="weekly", version="2", kind="quality", raised_at=5, resolved_at=8)
    >>> [is_about(alert, Row(monitor="weekly", version="2"), moment) for moment in (4, 7, 8)]
    [False, True, False]
    >>> is_about(alert, Row(monitor="weekly", version="1"), 7)
    False
    """
    if alert.monitor != run.monitor or (alert.version != run.version and alert.kind != "no_run"):
        return False
    over = alert.resolved_at
    return until is None or (alert.raised_at <= until and (over is None or over > until))


def noise_said(records: "Records", model: str, run: Any) -> list[str]:
    """Return what alerts of this monitor that were marked as noise propose."""
    from tidemill.monitoring.noise_feedback import marks_of, proposals_of
    from tidemill.state.alert_queries import alarming_runs, noise_marks

    marks = noise_marks(records, model, run.monitor)
    found = marks_of(marks, alarming_runs(records, model, run.monitor, marks))
    return [each.said for each in proposals_of(found, run.results)]


def show_explained(console: "Console", facts: Sequence[dict[str, Any]], none: str) -> None:
    """Print the facts of the runs; ``none`` is said where there are no runs."""
    now = "now " if "up to" in none else ""
    for one in facts:
        ends = " … ".join(map(format_moment, one["window"]))
        console.print(f"{one['monitor']}  {one['verdict']} · version {one['version']} · {ends}")
        if not one["declared"]:
            print_indented(console, "monitoring/monitors.yaml declares it no more: this was its last run")
        for kind, said in one["kinds"].items():
            print_indented(console, f"{kind.replace('_', ' ')}: {said}")
        for said in (*one["noise"], *one["warnings"]):
            print_indented(console, said)
        for each in one["alerts"]:
            print_indented(console, f"alert, {now}{each['status']}: tidemill alerts show {each['id']}")
    if not facts:
        console.print(f"{none}: tidemill monitor run{' --as-of' if 'up to' in none else ''}")
