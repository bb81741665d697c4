"""``tidemill features skew``."""

from datetime import UTC, datetime, time, timedelta
from typing import TYPE_CHECKING, Annotated

import typer

from tidemill.cli.listing import Listing
from tidemill.cli.options import AsJson, ProjectDir, moment
from tidemill.cli.output import emit, format_moment
from tidemill.cli.progress_lines import progress
from tidemill.errors import SkewFound, UsageError
from tidemill.plurals import counted

if TYPE_CHECKING:
    from rich.console import Console

    from tidemill.features.skew.skew_report import FeatureSkew, SkewReport
    from tidemill.project import Project

__all__ = ["add_to"]

_DAYS = 14
_DAY = timedelta(days=1)


def add_to(app: typer.Typer) -> None:
    """Add the commands."""
    app.command(
        epilog="Examples: tidemill features skew   ·   tidemill features skew --since 2013-04-01"
        "   ·   tidemill features skew --days 90 --feature wind_speed --json   ·   "
        "Exit codes: 0 below the threshold, 1 past it"
    )(skew)


_Since = Annotated[
    str | None,
    typer.Option(metavar="WHEN", help="First moment of the predictions (ISO 8601).", show_default=False),
]
_Until = Annotated[
    str | None,
    typer.Option(
        metavar="WHEN", help="End, itself not in it (default: all that is logged).", show_default=False
    ),
]
_Days = Annotated[
    int | None,
    typer.Option(
        min=1,
        help=f"How many days before the end, in place of --since; {_DAYS} if neither is given.",
        show_default=False,
    ),
]
_Threshold = Annotated[
    float, typer.Option(min=0, max=1, help="Share of a feature's rows that may differ at most.")
]
_Tolerance = Annotated[float, typer.Option(min=0, help="Largest relative difference of two equal values.")]
_Version = Annotated[
    str | None, typer.Option(help="Predictions by this model version only.", show_default=False)
]
_Feature = Annotated[
    list[str] | None, typer.Option(help="This feature only; may be repeated.", show_default=False)
]


def skew(
    project: ProjectDir = None,
    since: _Since = None,
    until: _Until = None,
    days: _Days = None,
    threshold: _Threshold = 0.01,
    tolerance: _Tolerance = 1e-6,
    version: _Version = None,
    feature: _Feature = None,
    test: Annotated[bool, typer.Option("--test", help="Test traffic, too.")] = False,
    json: AsJson = False,
) -> None:
    """Compare served features with those of a training set."""
    from tidemill.project import load_project

    if since and days:
        raise UsageError("--since and --days exclude each other", hint="give one of them")
    loaded = load_project(project)
    if not loaded.has_store:
        from tidemill.monitoring.quality.skew_monitor import require_comparable

        require_comparable(loaded)
    start, end = _span(loaded, since, until, days)
    with progress() as tell:
        tell("skew", "loading the feature store", 0, None)
        from tidemill.monitoring.quality.skew_monitor import LogSlice, measure_skew

        wanted = LogSlice(start, end, version, frozenset(feature) if feature else None, test)
        report = measure_skew(
            loaded, wanted, threshold, tolerance, lambda done, total: tell("skew", "days", done, total)
        )
    emit(report.as_dict(), json, lambda console: _render(report, console))
    if report.skewed:
        raise SkewFound(
            f"{len(report.skewed)} of {len(report.features)} features were served with other values than a "
            f"training set has, in {threshold:.2%} of the rows or more",
            hint="docs/skew.md says what to do about each cause",
        )


def _span(
    project: "Project", since: str | None, until: str | None, days: int | None
) -> tuple[datetime, datetime]:
    """Return the span that is meant: it ends with the log, and begins some days before that."""
    from tidemill.prediction_log.prediction_log import logged_days

    logged = logged_days(project.predictions, project.model)
    if not logged:
        raise UsageError(
            f"the log of {project.model} has no predictions yet: {project.predictions}",
            hint="`tidemill up` serves the model, and logs what it answers",
        )
    end = moment(until) if until else datetime.combine(logged[-1] + _DAY, time(), UTC)
    start = moment(since) if since else end - (days or _DAYS) * _DAY
    if start >= end:
        raise UsageError(
            f"the span is empty: it begins {format_moment(start)} and ends {format_moment(end)}",
            hint="give a --since that is earlier than --until",
        )
    return start, end


def _render(report: "SkewReport", console: "Console") -> None:
    differing = [each for each in report.features if each.differing]
    if differing:
        table = Listing("feature", "rows", "differ", "since", "likely cause")
        for each in differing:
            causes = "\n".join(f"{cause.name} ({cause.rows:,})" for cause in each.causes)
            table.add_row(each.feature, f"{each.rows:,}", f"{each.share:.2%}", _stretch(each), causes)
        console.print(table)
        for each in differing:
            console.print(f"{each.feature} of {each.view}: {_how(each)}; for example {each.examples[0]}")
        found = [cause for each in reversed(differing) for cause in reversed(each.causes)]
        for cause in {(cause.name, cause.view): cause for cause in found}.values():
            console.print(f"· {cause.evidence}")
    for line in _notes(report):
        console.print(line)


def _stretch(skew: "FeatureSkew") -> str:
    earlier = " or earlier" if skew.or_earlier else ""
    return f"{format_moment(skew.since)}{earlier}{'' if skew.ongoing else f' … {format_moment(skew.until)}'}"


def _how(skew: "FeatureSkew") -> str:
    apart = f"mean difference {skew.mean_difference:.4g}" if skew.mean_difference is not None else ""
    absent = f"nothing served in {counted(skew.served_null, 'row')}" if skew.served_null else ""
    surplus = f"nothing expected in {counted(skew.expected_null, 'row')}" if skew.expected_null else ""
    return ", ".join(filter(None, (apart, absent, surplus)))


def _reach(report: "SkewReport", view: str) -> str:
    newest = report.reaches.get(view)
    return f"up to {format_moment(newest)}" if newest else "by what it reads"


def _notes(report: "SkewReport") -> list[str]:
    differing = sum(each.differing > 0 for each in report.features)
    brought = [each.feature for each in report.features if each.brought and not each.rows]
    without = sum(each.rows == 0 for each in report.features) - len(brought)
    few = sum(0 < each.rows < report.least and not each.differing for each in report.features)
    agreeing = len(report.features) - differing - without - few - len(brought)
    early = {each.view: each.not_comparable_yet for each in report.features if each.not_comparable_yet}
    unresolved = {each.view: each.unresolved for each in report.features if each.unresolved}
    lines = [
        f"{report.compared:,} of {report.predictions:,} predictions compared, from "
        f"{format_moment(report.start)} to {format_moment(report.end)} UTC; "
        f"of {len(report.features)} features {agreeing} agree in all rows compared, {differing} differ, "
        f"{without} could not be compared"
        + (f", {few} are not judged (fewer than {report.least} rows compared)" if few else "")
    ]
    if brought:
        lines.append(
            f"not compared, as it comes in the request or is computed from what does: {', '.join(brought)}"
        )
    if early:
        listed = ", ".join(f"{view} {count:,} ({_reach(report, view)})" for view, count in early.items())
        lines.append(f"not comparable yet, later than what the offline store has of a view: {listed}")
    if unresolved:
        listed = ", ".join(f"{view} {count:,}" for view, count in unresolved.items())
        lines.append(f"unresolved, with a pseudonym that no key of the view has: {listed}")
    if report.without_keys:
        predictions = counted(report.without_keys, "prediction")
        lines.append(f"without keys, logged by an earlier release: {predictions}")
    if report.not_logged:
        lines.append(f"personal, so not in the log: {', '.join(report.not_logged)}")
    few_compared = f"– not judged: {report.compared:,} of {report.predictions:,} predictions compared"
    mark = {"ok": "✓ no skew", "skew": "✗ skew", "too few to compare": few_compared}.get(
        report.verdict, report.verdict
    )
    return [*lines, f"{mark} (threshold {report.threshold:.2%} of a feature's rows)"]
