"""Compares runs for the command line and the pages: only what differs, unless all of it is asked for."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tidemill.project import ProjectFolder
from tidemill.state.record_queries import gate_decisions
from tidemill.training.tracking.run_values import WholeRun
from tidemill.training.tracking.showing.run_facts import SECTIONS, facts_of

if TYPE_CHECKING:
    from tidemill.state.record_reader import Records, Row

__all__ = ["Compared", "Section", "compare_facts", "compare_whole", "decisions_on", "differences"]


@dataclass(frozen=True)
class Compared:
    """One fact of each run."""

    name: str
    values: Sequence[str | None]
    """Of each run, in their order; None where it has none."""
    differs: bool


@dataclass(frozen=True)
class Section:
    """Facts of one kind."""

    title: str
    rows: Sequence[Compared]
    equal: int
    """How many more facts are the same in all runs, and not shown."""


def compare_whole(
    folder: ProjectFolder, records: "Records", runs: Sequence[WholeRun], *, all_of: bool = False
) -> list[Section]:
    """Return the sections in which runs differ.

    Args:
        folder: the project of the runs.
        records: with the gate's decisions.
        runs: two or more.
        all_of: whether what is equal is listed, too.
    """
    facts = [facts_of(folder, one, decisions_on(records, folder.model, one.versions)) for one in runs]
    return compare_facts(facts, all_of=all_of)


def decisions_on(records: "Records", model: str, versions: Sequence[str]) -> list["Row"]:
    """Return the gate's latest decision about each version."""
    return [row for version in versions for row in gate_decisions(records, model, version)[-1:]]


def compare_facts(facts: Sequence[Mapping[str, Mapping[str, str]]], *, all_of: bool) -> list[Section]:
    """Return the sections in which facts of runs differ, or all that have any."""
    sections = [
        differences(title, _alike(title, [of.get(title, {}) for of in facts]), all_of=all_of)
        for title in SECTIONS
    ]
    return [one for one in sections if one.rows or one.equal]


def _alike(title: str, facts: Sequence[Mapping[str, str]]) -> Sequence[Mapping[str, str]]:
    """Return facts of environments by the names that short records have, too: earlier releases kept few.

    >>> _alike("Environment", [{"Package ray": "2"}, {"Package ray": "3", "Package six": "1", "System": "L"}])
    [{'Package ray': '2'}, {'Package ray': '3'}]
    """
    short = [of for of in facts if of and "System" not in of] if title == "Environment" else []
    if not short:
        return facts
    return [{name: value for name, value in of.items() if any(name in one for one in short)} for of in facts]


def differences(title: str, facts: Sequence[Mapping[str, str]], *, all_of: bool) -> Section:
    """Return the facts that are not the same in all runs.

    >>> found = differences("Parameters", [{"depth": "3", "rounds": "9"}, {"depth": "4", "rounds": "9"}],
    ...     all_of=False)
    >>> [(row.name, row.values) for row in found.rows], found.equal
    ([('depth', ['3', '4'])], 1)
    """
    rows = []
    for name in dict.fromkeys(name for of in facts for name in of):
        values = [of.get(name) for of in facts]
        rows.append(Compared(name, values, len(set(values)) > 1))
    shown = [row for row in rows if row.differs or all_of]
    return Section(title, shown, len(rows) - len(shown))
