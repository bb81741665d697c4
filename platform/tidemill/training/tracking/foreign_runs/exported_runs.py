"""Finds exported files of runs by their columns and names, and puts together what several say of a run."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from tidemill.errors import DataError, UsageError
from tidemill.training.tracking.foreign_runs.comet_exports import (
    is_comet_chart,
    is_metrics,
    read_comet_chart,
    read_metrics,
)
from tidemill.training.tracking.foreign_runs.exported_rows import (
    Export,
    columns_in,
    exported_files,
    read_export,
)
from tidemill.training.tracking.foreign_runs.foreign_run import ForeignRun, Point, digest_of
from tidemill.training.tracking.foreign_runs.run_tables import is_table, read_table, unused_patterns
from tidemill.training.tracking.foreign_runs.wandb_exports import (
    is_chart,
    is_history,
    is_project,
    read_chart,
    read_history,
    read_project,
)

__all__ = ["read_exports"]


def read_exports(place: Path, metrics: Sequence[str], besides: Sequence[Path] = ()) -> list[ForeignRun]:
    """Return the runs of exported files; those of charts and of tables with the same name are one.

    Args:
        place: a file, or a folder with files, of which those that are none are passed over.
        metrics: patterns for the columns of tables of runs that are metrics.
        besides: folders whose files are read elsewhere.

    Raises:
        DataError: a file cannot be read; the message has the row and the column.
        UsageError: a table does not say which columns are metrics, or a pattern is in none.
    """
    files = [place] if place.is_file() else exported_files(place)
    files = [file for file in files if not {*besides} & {*file.parents}]
    plots = [run for file in files if is_comet_chart(file) for run in read_comet_chart(file)]
    tables, listed, others = list[Export](), list[ForeignRun](), list[ForeignRun]()
    for file in files:
        columns = columns_in(file)
        if is_chart(columns):
            plots += _runs(file, read_chart)
        elif is_table(columns) and not is_metrics(columns):
            tables.append(read_export(file))
        elif is_project(columns):
            listed += _runs(file, read_project)
        else:
            name = file.stem if file == place else file.relative_to(place).with_suffix("").as_posix()
            others += _rows(file, columns, name)
    if unused := unused_patterns(metrics, tables):
        raise UsageError(
            f"no table of runs in {place} has a column like {', '.join(unused)}",
            hint="name columns of the table of runs, whole or with *",
        )
    listed += [run for table in tables for run in _some(table, read_table(table, metrics))]
    return [*_joined(listed, _curves(plots)), *others]


def _rows(file: Path, columns: Sequence[str], name: str) -> list[ForeignRun]:
    if is_history(columns):
        return _runs(file, lambda export: read_history(export, name))
    return _runs(file, lambda export: read_metrics(export, name)) if is_metrics(columns) else []


def _runs(file: Path, read: Callable[[Export], Iterator[ForeignRun]]) -> list[ForeignRun]:
    export = read_export(file)
    return _some(export, read(export))


def _some(export: Export, runs: Iterator[ForeignRun]) -> list[ForeignRun]:
    if not export.rows:
        raise DataError(f"{export.file} has columns of runs, but no row", hint="export it again")
    return list(runs)


def _curves(plots: Sequence[ForeignRun]) -> dict[tuple[str, str], ForeignRun]:
    """Return tool and name → the run, with the points of all charts that have it.

    Raises:
        DataError: two charts have different values of a metric at a step.
    """
    found: dict[tuple[str, str], ForeignRun] = {}
    values: dict[tuple[str, str, str, int], tuple[float, Path]] = {}
    for plot in plots:
        for point in plot.points:
            place = (plot.tool, plot.name, point.metric, point.step)
            value, file = values.setdefault(place, (point.value, plot.source))
            if value != point.value and file != plot.source:
                raise DataError(
                    f"{point.metric} of {plot.name} at step {point.step} is {value} in {file}, "
                    f"but {point.value} in {plot.source}",
                    hint="leave one of them out: charts that are smoothed or sampled differ",
                )
        before = found.get((plot.tool, plot.name))
        points = dict.fromkeys((*before.points, *plot.points) if before else plot.points)
        known = digest_of(plot.tool, plot.name, sorted(points))
        found[plot.tool, plot.name] = replace(before or plot, points=[*points], sha256=known)
    return found


def _joined(listed: Sequence[ForeignRun], curves: dict[tuple[str, str], ForeignRun]) -> Iterator[ForeignRun]:
    """Yield runs of tables, with the points of charts that have their name, if no other run has it too."""
    names = [(run.tool, run.name) for run in listed]
    for run in listed:
        curve = curves.get((run.tool, run.name))
        if curve is None or names.count((run.tool, run.name)) > 1:
            yield run
            continue
        metrics = {point.metric for point in curve.points}
        last = [point for point in run.points if point.metric not in metrics]
        yield replace(
            run,
            points=[*curve.points, *_at_end(last, curve.points)],
            sha256=digest_of(run.sha256, curve.sha256),
            last_only=False,
        )
        del curves[run.tool, run.name]
    yield from curves.values()


def _at_end(last: Sequence[Point], points: Sequence[Point]) -> list[Point]:
    step = max((point.step for point in points), default=0)
    return [point._replace(step=step) for point in last]
