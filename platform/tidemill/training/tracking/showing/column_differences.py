"""Compares the columns of the data of runs, by the summaries that were kept with the data versions."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tidemill.data.expectations.expectations_file import expectations_digest
from tidemill.data.tables.column_summary import ColumnSummary, Distance, distance, said
from tidemill.data.versioning.content_records import read_summaries
from tidemill.project import ProjectFolder
from tidemill.training.tracking.run_values import WholeRun
from tidemill.training.tracking.showing.run_differences import Compared, Section

__all__ = ["ColumnDifference", "column_differences", "column_section"]

_TITLE = "Columns"


@dataclass(frozen=True)
class ColumnDifference:
    """One column of a table in each run."""

    path: str
    column: str
    summaries: Sequence[ColumnSummary | None]
    """Of each run, in their order; None where it has no such column, or its summary was not kept."""
    distances: Sequence[Distance | None]
    """From the first run."""

    @property
    def differs(self) -> bool:
        """Whether not all runs have the same."""
        return any(one != self.summaries[0] for one in self.summaries[1:])


def column_differences(folder: ProjectFolder, runs: Sequence[WholeRun]) -> list[ColumnDifference]:
    """Return the columns of all tables of the runs whose summaries were kept, those farthest apart first.

    Only records are read, however large the tables are.
    """
    types = expectations_digest(folder.root)
    tables: list[dict[tuple[str, str], ColumnSummary]] = []
    known: dict[tuple[str, str], Mapping[str, ColumnSummary]] = {}
    for run in runs:
        of_run: dict[tuple[str, str], ColumnSummary] = {}
        for path, md5 in sorted(_digests(run).items()):
            if (path, md5) not in known:
                known[path, md5] = read_summaries(folder, md5, path, types) or {}
            of_run |= {(path, name): each for name, each in known[path, md5].items()}
        tables.append(of_run)
    found = []
    for path, name in dict.fromkeys(key for table in tables for key in table):
        sides = [table.get((path, name)) for table in tables]
        found.append(ColumnDifference(path, name, sides, _distances(sides)))
    return sorted(found, key=lambda one: -max((each.value for each in one.distances if each), default=-1.0))


def column_section(found: Sequence[ColumnDifference], *, all_of: bool) -> Section:
    """Return the columns as a section of a comparison."""
    rows = [
        Compared(f"{one.column} of {one.path}", [*map(_text, one.summaries, one.distances)], one.differs)
        for one in found
        if one.differs or all_of
    ]
    return Section(_TITLE, rows, len(found) - len(rows))


def _digests(run: WholeRun) -> Mapping[str, str]:
    if run.lineage is not None:
        return run.lineage.data
    return (run.origin or {}).get("data") or {}


def _distances(sides: Sequence[ColumnSummary | None]) -> list[Distance | None]:
    first, *others = sides
    return [
        None,
        *(None if first is None or one is None or one == first else distance(first, one) for one in others),
    ]


def _text(column: ColumnSummary | None, far: Distance | None) -> str | None:
    if column is None:
        return None
    return said(column) if far is None else f"{said(column)}; {far} apart"
