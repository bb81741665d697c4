"""Compares runs: only what differs between them, unless all of it is asked for."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import FastAPI, Query

from tidemill.dashboard.page import add_page
from tidemill.dashboard.pages.runs_and_data.run_pages import ShownRun, origin_of, shown_run
from tidemill.dashboard.records.bounded_reading import READINGS
from tidemill.dashboard.records.tracking_stamp import kept_for, tracking_stamp
from tidemill.dashboard.templating import number
from tidemill.dashboard.visit import Here, Visit
from tidemill.project import Project
from tidemill.tasks.natural_metric import metric_of

if TYPE_CHECKING:
    from tidemill.training.tracking.run_reading import TrackedRun

__all__ = ["Compared", "Comparison", "add_to", "compare_runs", "differences"]

_LEAST, _MOST = 2, 8


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
    stamp = tracking_stamp(project)
    key = ("compared runs", str(project.root), wanted, stamp)
    shown, facts, trouble = READINGS.read(
        "the runs in MLflow", key, lambda: _read(project, wanted), keep=kept_for(stamp)
    )
    facts = [_with_gate(visit, model, one, of) for one, of in zip(shown, facts, strict=True)]
    titles = list(dict.fromkeys(title for of in facts for title in of))
    sections = [differences(title, [of.get(title, {}) for of in facts], all_of=all) for title in titles]
    return Comparison(model, shown, [one for one in sections if one.rows or one.equal], all, trouble)


_Facts = dict[str, Mapping[str, str]]


def _read(project: Project, run_ids: Sequence[str]) -> tuple[list[ShownRun], list[_Facts], list[str]]:
    from tidemill.training.tracking.run_reading import read_documents, read_runs, versions_by_run

    found = read_runs(project, run_ids)
    versions = versions_by_run(project, run_ids)
    metric = f"holdout_{project.config.train.metric}"
    facts, trouble = [], []
    for one in found:
        lineage, trained, wrong = read_documents(project, one)
        if wrong is not None:
            trouble.append(f"{one.name}: {wrong}")
        origin = {} if lineage is None else origin_of(lineage)
        params = dict(one.params)
        if trained is not None:
            params = {"family": trained.family, **{k: str(v) for k, v in trained.params.items()}} | params
        of: _Facts = {"Metrics": _metrics(one), "Parameters": params}
        of["Data"] = {k: v for k, v in origin.items() if k.startswith(("Data", "As of", "Split"))}
        of["Features"] = _features(one, origin, trained.features if trained else ())
        of["Code"] = _present({"Commit": one.commit, "In no commit": origin.get("Code that no commit holds")})
        of["Environment"] = {k[8:]: v for k, v in origin.items() if k.startswith("Package ")}
        facts.append(of)
    return [shown_run(one, metric, versions.get(one.run_id, ())) for one in found], facts, trouble


def _metrics(run: "TrackedRun") -> dict[str, str]:
    """Return metrics as text, with their intervals where ``_low`` and ``_high`` are beside them."""
    found = {name: value for name, value in run.metrics.items() if math.isfinite(value)}
    said = {}
    for name, value in found.items():
        low, high = found.get(f"{name}_low"), found.get(f"{name}_high")
        metric = metric_of(name)
        ends = sorted(metric.sign * end for end in (low, high) if end is not None)
        between = f" ({number(ends[0], 5)} to {number(ends[1], 5)})" if len(ends) == 2 else ""
        said[metric.name] = number(metric.shown(value), 5) + between
    return dict(sorted(said.items()))


def _features(run: "TrackedRun", origin: Mapping[str, str], names: Iterable[str]) -> dict[str, str]:
    given = {"Service": run.feature_service, "Definition": origin.get("Feature definition")}
    return {**_present(given), **{f"Feature {name}": "used" for name in names}}


def _present(values: Mapping[str, str | None]) -> dict[str, str]:
    return {name: value for name, value in values.items() if value}


def _with_gate(visit: Visit, model: str, run: ShownRun, facts: _Facts) -> _Facts:
    """Add what the gate found of the versions that came of a run: its numbers have intervals."""
    from tidemill.state.record_queries import gate_decisions

    found = {}
    for version in run.versions:
        for decision in gate_decisions(visit.records, model, version)[-1:]:
            found["Verdict"] = "passed" if decision.passed else "refused"
            found |= _gain(decision.numbers or {}, decision.champion)
            found |= {f"Check {place}": reason for place, reason in enumerate(decision.reasons, 1)}
    return {"Metrics": facts["Metrics"], "Gate": found, **facts}


def _gain(numbers: Mapping[str, Any], champion: str | None) -> dict[str, str]:
    """Return the gain over the champion, with its interval.

    >>> _gain({"metric": "roc_auc", "gain": -0.0144, "gain_interval": [-0.0305, 0.0034]}, "4")
    {'Gain in roc_auc': '-0.0144 (-0.0305 to +0.0034) over version 4'}
    """
    gain, interval = numbers.get("gain"), numbers.get("gain_interval")
    if gain is None:
        return {}
    between = f" ({interval[0]:+.4f} to {interval[1]:+.4f})" if interval else ""
    metric = metric_of(str(numbers.get("metric")))
    return {f"Gain in {metric.name}": f"{gain:+.4f}{between} over version {champion}"}


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
