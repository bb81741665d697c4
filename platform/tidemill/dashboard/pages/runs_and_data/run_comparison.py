"""Compares runs: only what differs between them, unless all of it is asked for."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

from fastapi import FastAPI, Query

from tidemill.dashboard.page import add_page
from tidemill.dashboard.pages.runs_and_data.run_pages import ShownRun, shown_run
from tidemill.dashboard.records.bounded_reading import READINGS
from tidemill.dashboard.records.tracking_stamp import kept_for, tracking_stamp
from tidemill.dashboard.visit import Here
from tidemill.project import Project
from tidemill.training.tracking.killed_runs import TurnsAtRest
from tidemill.training.tracking.run_values import WholeRun
from tidemill.training.tracking.showing.column_differences import column_differences, column_section
from tidemill.training.tracking.showing.run_differences import Section, compare_facts, decisions_on
from tidemill.training.tracking.showing.run_facts import facts_of

__all__ = ["Comparison", "add_to", "compare_runs"]

_LEAST, _MOST = 2, 8


@dataclass(frozen=True)
class Comparison:
    """Several runs beside each other."""

    model: str
    runs: Sequence[ShownRun]
    sections: Sequence[Section]
    all: bool
    """Whether what is equal is shown, too."""
    trouble: Sequence[str]
    """What cannot be read of them."""


def compare_runs(
    visit: Here,
    model: str,
    run: Annotated[list[str], Query(min_length=_LEAST, max_length=_MOST, description="Ids of the runs.")],
    all: Annotated[bool, Query(description="Show what is equal, too.")] = False,
) -> Comparison:
    """Return several runs of a model beside each other."""
    project = visit.installation.load(visit.project(model))
    wanted = tuple(dict.fromkeys(run))
    stamp, rest = tracking_stamp(project), TurnsAtRest(project).began
    key = ("compared runs", str(project.root), wanted, stamp, rest)
    shown, found = READINGS.read(
        "the list of runs in MLflow", key, lambda: _read(project, wanted), keep=kept_for(stamp)
    )
    facts = [facts_of(project, one, decisions_on(visit.records, model, one.versions)) for one in found]
    trouble = [f"{one.run.name}: {one.trouble}" for one in found if one.trouble]
    sections, columns = compare_facts(facts, all_of=all), column_differences(project, found)
    sections += [column_section(columns, all_of=all)] if columns else []
    return Comparison(model, shown, sections, all, trouble)


def _read(project: Project, run_ids: Sequence[str]) -> tuple[list[ShownRun], list[WholeRun]]:
    from tidemill.training.tracking.whole_runs import read_whole_runs

    found = read_whole_runs(project, run_ids)
    metric = f"holdout_{project.config.train.metric}"
    return [shown_run(one.run, metric, one.versions) for one in found], found


def add_to(app: FastAPI) -> None:
    """Add the page."""
    add_page(
        app,
        "/models/{model}/runs/compare",
        compare_runs,
        template="run_comparison.html",
        needs=("read", "run"),
        title="Runs compared",
    )
