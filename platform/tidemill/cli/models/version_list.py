"""Shows a list of versions, for people and as JSON."""

from typing import TYPE_CHECKING, Any

from tidemill.cli.listing import Listing, shorten
from tidemill.cli.output import format_moment
from tidemill.plurals import counted
from tidemill.tasks.natural_metric import metric_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

    from tidemill.registry.versions.registry_reader import ShownVersion

__all__ = ["render_versions", "said_holdout", "version_facts"]


def version_facts(version: "ShownVersion") -> dict[str, Any]:
    """Return what lists tell of a version, as JSON values."""
    names = ("model", "version", "aliases", "run_id", "metrics", "data_revision", "registered_at", "archived")
    return {name: getattr(version, name) for name in names}


def said_holdout(version: "ShownVersion", metric: str) -> str:
    """Return how good a version was on its hold-out, in one sentence."""
    rows, value = version.metrics.get("holdout_rows"), version.metrics.get(f"holdout_{metric}")
    if value is None:
        return (
            f"no {metric_of(metric).name} on a hold-out is on record: tidemill models show {version.version}"
        )
    beside = f" of {counted(int(rows), 'row')}" if rows else ""
    return f"{metric_of(metric).said(value)} on the hold-out{beside} ({metric_of(metric).better})"


def render_versions(
    console: "Console", versions: "Sequence[ShownVersion]", metric: str, nothing: str
) -> None:
    """Print a list of versions, with a metric by its name on record; ``nothing`` where it is empty."""
    table = Listing("version", "aliases", "hold-out", "data", "registered", "run")
    runs = shorten(v.run_id for v in versions)
    for v in versions:
        value = v.metrics.get(f"holdout_{metric}")
        table.add_row(
            v.version,
            ", ".join([*v.aliases, *(["archived"] if v.archived else [])]) or "–",
            "–" if value is None else metric_of(metric).said(value),
            (v.data_revision or "–")[:10],
            format_moment(v.registered_at),
            runs[v.run_id],
        )
    console.print(table if versions else nothing)
