"""Reads tables with a row for each run, as the pages of Weights & Biases and of Comet export them.

Such a table has settings and last values of metrics side by side, and does not say which is which: a project
that is imported into says it (``--metric``). Nothing is guessed, because a run is imported only once.
"""

import re
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from typing import Any

from tidemill.errors import UsageError
from tidemill.training.tracking.foreign_runs.exported_rows import Export, Row, number_in
from tidemill.training.tracking.foreign_runs.foreign_run import (
    ForeignRun,
    Point,
    digest_of,
    milliseconds,
    run_tags,
)
from tidemill.training.tracking.foreign_runs.python_literals import value_of_text

__all__ = ["is_table", "read_table", "unused_patterns"]

_WANDB = ("State", "Notes", "User", "Tags", "Created", "Runtime", "Sweep")
"""Columns of the page of W&B, of which a table has two beside ``Name``."""
_OWN = {
    "name": ("Name", "name", "experimentName", "Experiment Name", "Experiment name"),
    "state": ("State", "Status"),
    "note": ("Notes", "Description"),
    "user": ("User", "userName", "User Name", "Username"),
    "labels": ("Tags", "tags"),
    "began": ("Created", "startTimeMillis", "Start time", "Server start time", "Start Time"),
    "ended": ("End Time", "endTimeMillis", "End time", "Server end time"),
    "lasted": ("Runtime", "durationMillis", "Duration"),
    "sweep": ("Sweep",),
    "run": ("ID", "experimentKey", "Experiment key", "Experiment Key", "experiment_key"),
    "commit": ("Commit", "Git commit"),
}
"""What is known of a run → the names that its column has."""
_ABOUT = frozenset(
    {
        *("Updated", "Heartbeat", "GPU Type", "GPU Count", "CPU Count", "Agent", "Group", "Job Type"),
        *("Project", "Entity", "Host", "Hostname", "OS", "Python Version", "Report", "GitHub", "Github"),
        *("File name", "File path", "fileName", "filePath", "projectId", "projectName", "workspaceName"),
        *("archived", "optimizationId", "running", "throttle", "cometDownloadVersion"),
    }
)
"""Columns that tell of machine and place, and are left out."""
_ENDS = {"failed": "FAILED", "crashed": "FAILED", "killed": "KILLED", "preempted": "KILLED"}
_PROPOSED = 20
_MEASURED = re.compile(
    r"(^|[_./ -])"
    r"(loss|acc|accuracy|mae|mse|rmse|mape|r2|auc|auroc|f1|iou|bleu|rouge|perplexity|precision|recall|score)$",
    re.IGNORECASE,
)
"""Names of metrics, in the words of most scripts."""
_CLOCK = re.compile(r"(\d+):([0-5]?\d):([0-5]?\d(?:\.\d+)?)")


def is_table(columns: Sequence[str]) -> bool:
    """Return whether a file is a table of runs: of W&B by its own columns, of Comet by the experiments' keys.

    >>> is_table(["Name", "State", "Created", "lr"]), is_table(["Name", "experimentKey"]), is_table(["Name"])
    (True, True, False)
    """
    listed = "Name" in columns and len({*_WANDB} & {*columns}) > 1
    script = "name" in columns and {"_step", "_runtime"} <= {*columns}
    return listed or script or _is_comet(columns)


def _is_comet(columns: Sequence[str]) -> bool:
    return bool({*_OWN["run"][1:]} & {*columns}) and bool({*_OWN["name"]} & {*columns})


def unused_patterns(patterns: Sequence[str], exports: Sequence[Export]) -> list[str]:
    """Return the patterns for metrics that no column of a table has."""
    names = [name for export in exports for name in export.columns]
    return [one for one in patterns if not any(fnmatchcase(name, one) for name in names)]


def read_table(export: Export, metrics: Sequence[str]) -> Iterator[ForeignRun]:
    """Yield the runs of a table, with the last value of each metric.

    Args:
        export: the table.
        metrics: patterns for the names of columns that are metrics.

    Raises:
        DataError: a cell is no number, or no moment, where it must be one.
        UsageError: columns have numbers, and nothing says which of them are metrics.
    """
    own = {
        what: column
        for what, names in _OWN.items()
        if (column := next((name for name in names if name in export.columns), None))
    }
    rest = [name for name in export.columns if name not in {*own.values()} | _ABOUT and name[:1] != "_"]
    measured = [name for name in rest if any(fnmatchcase(name, one) for one in metrics)]
    if not metrics and (counted := [name for name in rest if _has_numbers(export, name)]):
        raise _undecided(export, rest, counted)
    for row in export.rows:
        yield _run(export, row, own, [name for name in rest if name not in measured], measured)


def _run(
    export: Export, row: Row, own: dict[str, str], settings: Sequence[str], measured: Sequence[str]
) -> ForeignRun:
    tool = "comet" if _is_comet(export.columns) else "wandb"
    given = {what: _text(row, column) for what, column in own.items()}
    began, ended = (_moment(export, row, own.get(what)) for what in ("began", "ended"))
    lasted = _lasted(export, row, own.get("lasted"))
    if began and lasted is not None and not ended:
        ended = began + lasted
    step = export.step(row, "_step") if "_step" in row.values else 0
    values = ((name, export.number(row, name)) for name in measured)
    points = [Point(name, value, step, ended or began or 0) for name, value in values if value is not None]
    state = given.get("state", "")
    return ForeignRun(
        given.get("name") or given.get("run") or f"{export.file.stem}, {row.place}",
        tool,
        export.file,
        digest_of(tool, {name: value for name, value in row.values.items() if name not in _ABOUT}),
        points,
        {name: str(row.values[name]) for name in settings if name in row.values},
        given.get("commit") or None,
        run_tags(
            labels=_labels(row.values.get(own["labels"], ()) if "labels" in own else ()),
            note=given.get("note"),
            user=given.get("user"),
            sweep=given.get("sweep"),
            run=given.get("run"),
            state=state,
            row=row.place,
            file_sha256=export.sha256,
        ),
        _ENDS.get(state.lower(), "FINISHED"),
        began,
        ended,
        last_only=True,
    )


def _text(row: Row, column: str) -> str:
    """Return the text of a cell; W&B writes a dash where there is none."""
    found = str(row.values.get(column, "")).strip()
    return "" if found == "-" else found


def _labels(given: Any) -> Sequence[object]:
    """Return tags of a cell.

    >>> _labels("base, night"), _labels("['base']"), _labels(["base"])
    (['base', 'night'], ['base'], ['base'])
    """
    if isinstance(given, str) and given.startswith("["):
        try:
            given = value_of_text(given)
        except ValueError:  # a tag that begins so
            given = [given]
    return [one.strip() for one in given.split(",")] if isinstance(given, str) else given


def _moment(export: Export, row: Row, column: str | None) -> int | None:
    """Return the moment of a cell: as ISO writes it, without a zone in UTC, or milliseconds since 1970."""
    if column is None or not (text := _text(row, column)):
        return None
    if number_in(text) is not None:
        return export.moment(row, column, 0.001)
    try:
        found = datetime.fromisoformat(text)
        return milliseconds((found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp())
    except (ValueError, OverflowError) as error:
        raise export.refused(
            row, column, f"{text[:80]!r} is no moment such as 2026-05-21T21:36:53Z"
        ) from error


def _lasted(export: Export, row: Row, column: str | None) -> int | None:
    """Return milliseconds: of seconds, of milliseconds where the column says so, or of HH:MM:SS."""
    if column is None or not (text := _text(row, column)):
        return None
    if clock := _CLOCK.fullmatch(text):
        hours, minutes, seconds = map(float, clock.groups())
        return int(1000 * (3600 * hours + 60 * minutes + seconds))
    found = export.number(row, column)
    return None if found is None else int(found * (1 if column.endswith("Millis") else 1000))


def _has_numbers(export: Export, column: str) -> bool:
    found = [number_in(row.values[column]) for row in export.rows if column in row.values]
    return bool(found) and None not in found


def _undecided(export: Export, names: Sequence[str], counted: Sequence[str]) -> UsageError:
    """Return the error of a table of which nobody said what its metrics are.

    The pages sort settings and last values by name, the settings first: where the names begin anew the
    metrics begin, if the table was left so. If not, names that say so are proposed. It is a proposal.
    """
    begins = [place for place in range(1, len(names)) if names[place] < names[place - 1]]
    said = [name for name in names if name in counted and _MEASURED.search(name)]
    by_name = len(begins) != 1 and bool(said)
    found = said if by_name else [name for name in names[max(begins, default=0) :] if name in counted]
    proposed = [f"--metric {_quoted(name)}" for name in found]
    return UsageError(
        f"{export.file} does not say which of its columns are settings and which are metrics: "
        f"{', '.join(counted)}",
        hint="name the metrics, by patterns such as 'val_*' too; the others become parameters. "
        f"By their {'names' if by_name else 'order'} these may be metrics: {' '.join(proposed[:_PROPOSED])}",
    )


def _quoted(name: str) -> str:
    return name if re.fullmatch(r"[\w./-]+", name) else "'" + name.replace("'", "'\\''") + "'"
