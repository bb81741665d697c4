"""Compare the candidate with the champion on rows that neither was trained on."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import polars as pl

from tidemill.clock import SystemClock
from tidemill.errors import DataError, RegistryError
from tidemill.features.project_features import feature_source
from tidemill.plurals import counted
from tidemill.project import Project
from tidemill.project.declared_gates import StageConfig
from tidemill.registry.gates.constant_answer import worse_than_constant
from tidemill.registry.gates.gate_rules import Evaluation, Verdict, decide
from tidemill.registry.gates.judged_rows import GateRows, Judged
from tidemill.registry.gates.listed_gates import combined, run_gates
from tidemill.registry.versions.loaded_model import Scorer
from tidemill.registry.versions.model_versions import load_holdout, load_judged, load_scorer
from tidemill.registry.versions.version_record import ModelVersion
from tidemill.tasks.natural_metric import metric_of
from tidemill.tasks.paired_bootstrap import gain_interval
from tidemill.tasks.task import Answers
from tidemill.training.hashed_split import HashedSplit
from tidemill.training.splits import blocks_of
from tidemill.training.tracking.learnt_rows import count_learnt
from tidemill.training.tracking.mlflow_tracking import shortened

__all__ = ["compare", "milliseconds_per_row"]

_CALLS = 20
_LONGEST = 1000  # characters of an error, which may name hundreds of features


def compare(
    project: Project,
    candidate: ModelVersion,
    champion: ModelVersion | None,
    now: datetime | None = None,
    passed: Mapping[str, datetime] | None = None,
    stage: StageConfig | None = None,
) -> Verdict:
    """Judge both versions on the candidate's hold-out, once, and decide by all gates.

    A version that was fitted once more on all rows is judged by its twin, which did not learn from its own
    hold-out: so are both as old as each other, whatever became of them later.

    A problem that prevents a fair comparison is recorded as a reason to refuse, and raises no error.

    Args:
        project: its sections ``gate`` and ``gates`` say what a candidate must show.
        candidate: the version that is to be promoted.
        champion: the version that serves; None for the first.
        now: event time of the decision; default: the wall clock's.
        passed: the stages that the candidate has passed, and when.
        stage: the stage whose gates decide alone; None: the champion's do.
    """
    gate = project.config.gate
    judged = Judged(project, candidate, champion, now or SystemClock().now(), passed or {})
    if stage is not None:
        return _for_stage(stage, judged)
    if project.config.gate_mode == "off":
        return decide(gate, Evaluation(candidate.version, {}, 0), None)
    verdict, judged = _scored(judged)
    return combined(gate.mode, verdict, run_gates(project.config.gates, judged))


def _for_stage(stage: StageConfig, judged: Judged) -> Verdict:
    """Return the verdict of a stage's gates; the section ``gate`` only measures, for the record."""
    if stage.mode == "off":
        return Verdict(True, (f"{stage.name} has no gate that is on",))
    verdict, judged = _scored(judged)
    found = combined("off", verdict, run_gates(stage.gates, judged))
    return replace(found, numbers={**found.numbers, "gates": found.numbers["gates"][1:]})


def _scored(judged: Judged) -> tuple[Verdict, Judged]:
    """Return the verdict of the section ``gate``, and what the other gates look at."""
    project, candidate, champion = judged.project, judged.candidate, judged.champion
    gate, service = project.config.gate, feature_source(project)
    try:
        all_rows = load_holdout(project, candidate.version)
        rows = all_rows if champion is None else _unseen(all_rows, candidate, champion)
        if champion is not None and rows.is_empty() and not all_rows.is_empty():
            raise RegistryError(
                f"version {champion.version} may have learnt from all {all_rows.height:,} rows of the "
                f"hold-out: the columns, the seed or the kind of split have changed since; judge the new "
                f"version by its metrics, with gate.mode: dry_run{_own_figures(project, candidate, champion)}"
            )
        truth = project.task.truth(rows, project.config.dataset.label)
    except (RegistryError, DataError) as error:
        problem = shortened(str(error), _LONGEST)
        verdict = decide(gate, Evaluation(candidate.version, {}, 0, (problem,)), None)
        return verdict, replace(judged, problem=problem)
    mine = _judge(project, candidate, rows, truth)
    theirs = None if champion is None else _judge(project, champion, rows, truth)
    evaluation = mine.evaluation
    if mine.answers is not None:
        notes = worse_than_constant(project.task, truth, evaluation.metrics, candidate.version)
        evaluation = replace(evaluation, notes=(*evaluation.notes, *notes))
    blocks, answers = blocks_of(rows, project.config.dataset), theirs.answers if theirs else None
    interval = None
    if mine.answers is not None and answers is not None:
        seed = project.config.train.seed
        interval = gain_interval(project.task, truth, mine.answers, answers, blocks, seed=seed)
    other = theirs.evaluation if theirs else None
    verdict = decide(gate, evaluation, other, service=service, interval=interval)
    times = _times(project, rows)
    about: dict[str, Any] = {
        "period": [str(times[0]), str(times[-1])] if times is not None and len(times) else None,
        "twins": [one.version for one in (candidate, champion) if one is not None and _has_twin(one)],
        "rows_known_to_champion": all_rows.height - rows.height,
        "milliseconds_per_row": {"candidate": mine.speed, "champion": theirs.speed if theirs else None},
    }
    scored = _for_checks(judged, rows, truth, blocks, mine, theirs)
    return replace(verdict, numbers={**verdict.numbers, **about}), scored


def _for_checks(
    judged: Judged,
    rows: pl.DataFrame,
    truth: npt.NDArray[Any],
    blocks: npt.NDArray[Any],
    mine: "_Judgement",
    theirs: "_Judgement | None",
) -> Judged:
    """Return what the listed gates look at: the same answers, or why there are none."""
    problems = [problem for one in (mine, theirs) if one is not None for problem in one.evaluation.problems]
    if mine.answers is None or problems:
        return replace(judged, problem="; ".join(problems))
    project, answers = judged.project, theirs.answers if theirs else None
    seed = project.config.train.seed
    given = GateRows(project.task, rows, truth, mine.answers, answers, blocks, seed)
    served = theirs.served if theirs else None
    return replace(judged, rows=given, scorer=mine.judged, served=mine.served, champion_served=served)


def _own_figures(project: Project, *versions: ModelVersion) -> str:
    """Return what each version reached on its own hold-out, in brackets; nothing where none is on record."""
    name = project.config.gate.metric
    known = {one.version: one.metrics.get(f"holdout_{name}") for one in versions}
    said = [
        f"{metric_of(name).said(value)} of version {one}" for one, value in known.items() if value is not None
    ]
    return f" ({', '.join(said)}, each on its own hold-out)" if said else ""


def milliseconds_per_row(scorer: Scorer, rows: pd.DataFrame) -> float:
    """Return the median time of a prediction for one row, in milliseconds."""
    row, seconds = rows.head(1), []
    for _ in range(_CALLS):
        start = time.perf_counter()
        scorer.predict(row)
        seconds.append(time.perf_counter() - start)
    return round(float(np.median(seconds)) * 1000, 3)


@dataclass(frozen=True)
class _Judgement:
    """One version on the hold-out."""

    evaluation: Evaluation
    answers: Answers | None = None
    speed: float | None = None
    judged: Scorer | None = None
    served: Scorer | None = None


def _judge(
    project: Project, version: ModelVersion, rows: pl.DataFrame, truth: npt.NDArray[Any]
) -> _Judgement:
    service = version.lineage.feature_service if version.lineage else None
    notes = _notes(project, version, rows)
    nothing = Evaluation(version.version, {}, rows.height, service=service, notes=notes)
    problem = (
        _unfair(project, version, rows) or _learnt(project, version, rows) or _other_target(project, version)
    )
    if problem is not None:
        return _Judgement(replace(nothing, problems=(problem,)))
    try:
        served = load_scorer(project, version.version)
        frame = rows[[name for name in served.features if name in rows.columns]].to_pandas()
        judged = load_judged(project, version) if _has_twin(version) else served
    except RegistryError as error:
        return _Judgement(replace(nothing, problems=(shortened(str(error), _LONGEST),)))
    try:
        answers = judged.predict(frame)
        speed = milliseconds_per_row(served, frame)
    except RegistryError as error:
        return _Judgement(replace(nothing, problems=(shortened(str(error), _LONGEST),)))
    except Exception as error:  # noqa: BLE001 — a model can raise anything
        said = f"its predict fails: {type(error).__name__}: {error}"
        return _Judgement(replace(nothing, problems=(shortened(said, _LONGEST),)))
    return _Judgement(
        replace(nothing, metrics=project.task.evaluate(truth, answers)), answers, speed, judged, served
    )


def _learnt(project: Project, version: ModelVersion, rows: pl.DataFrame) -> str | None:
    imported = None if version.lineage is None else version.lineage.imported
    known = count_learnt(imported, rows, project.config.dataset)
    if imported is None or not known:
        return None
    return (
        f"version {version.version} was imported from version {imported['version']} of this model, which was "
        f"fitted on all rows until {imported['learnt_until'][:16].replace('T', ' ')}: it has learnt from "
        f"{known:,} of the hold-out's {counted(rows.height, 'row')}; promote version {imported['version']}"
    )


def _has_twin(version: ModelVersion) -> bool:
    return version.trained is not None and version.trained.refitted_on is not None


def _notes(project: Project, version: ModelVersion, rows: pl.DataFrame) -> tuple[str, ...]:
    if version.lineage is None or version.lineage.imported is None:
        return ()
    imported = version.lineage.imported
    if "learnt_until" in imported and not count_learnt(imported, rows, project.config.dataset):
        what = "the judged twin of version" if imported.get("twin") else "version"
        return (
            f"version {version.version} was imported from {what} {imported['version']}, which learnt from "
            "none of the hold-out's rows",
        )
    return (
        f"version {version.version} was imported from {version.lineage.imported['from']}: whether it has "
        "learnt from the hold-out's rows is not known",
    )


def _other_target(project: Project, version: ModelVersion) -> str | None:
    """Return why a version's answers are not those that the project asks for now; None if they are."""
    task, trained = project.task, version.trained
    classes = tuple(getattr(task, "classes", ()))
    if trained is None or (trained.task == task.kind and (trained.classes or classes) == classes):
        return None
    mine = f"{task.kind} ({', '.join(classes)})" if classes else task.kind
    its = f"{trained.task} ({', '.join(trained.classes)})" if trained.classes else trained.task
    return f"version {version.version} was trained for another target: {its}; the project's is {mine}"


def _unseen(rows: pl.DataFrame, candidate: ModelVersion, champion: ModelVersion) -> pl.DataFrame:
    """Return the rows that the champion did not learn from, as far as its split says so for single rows."""
    split = champion.lineage.split if champion.lineage else None
    if not isinstance(split, HashedSplit):
        return rows
    return rows.filter(split.held_out(rows, candidate.lineage.split if candidate.lineage else None))


def _times(project: Project, rows: pl.DataFrame) -> pl.Series | None:
    """Return the moments of the rows; None if they have none."""
    time = project.config.dataset.time
    return rows[time] if time is not None and time in rows.columns else None


def _unfair(project: Project, version: ModelVersion, rows: pl.DataFrame) -> str | None:
    if rows.is_empty():
        return f"there is no row to judge version {version.version} on"
    if version.lineage is None:
        return f"version {version.version} does not say which rows it learnt from: Tidemill did not train it"
    split, times = version.lineage.split, _times(project, rows)
    if isinstance(split, HashedSplit):
        return None
    if times is None:
        return (
            f"version {version.version} learnt from a period of time, but the hold-out's rows have no time: "
            f"whether it has seen them cannot be told"
        )
    learnt_until, first = split.fit.end, times.min()
    assert isinstance(first, datetime)
    if first < learnt_until:
        return (
            f"version {version.version} learnt from rows up to {learnt_until:%Y-%m-%d %H:%M}, but the "
            f"hold-out begins on {first:%Y-%m-%d %H:%M}: it has seen what it would be judged on"
        )
    return None
