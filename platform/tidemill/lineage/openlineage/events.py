"""Converts a turn into OpenLineage events: steps and stages are jobs, data and models are data sets.

Names come from the project's declarations, never from its location: the namespace is the project's
name; jobs are ``<model>.turn``, ``<model>.<step>`` and ``dvc.<stage>``; data sets are paths relative to the
project, ``models/<model>`` (version: the run), ``registry/<model>`` and ``registry/<model>@champion``
(version: the number). The id of a run is derived from the turn's and the job's, so an event that is sent
again has the same id.

https://openlineage.io/spec/2-0-2/OpenLineage.json
"""

from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from typing import Any, Literal
from uuid import NAMESPACE_URL, uuid5

from openlineage.client import event_v2, facet_v2
from openlineage.client.facet_v2 import (
    documentation_job,
    error_message_run,
    job_type_job,
    nominal_time_run,
    parent_run,
    processing_engine_run,
    source_code_location_job,
)

from tidemill.lineage.openlineage.datasets import sets_of_stage, sets_of_step
from tidemill.lineage.sources.pipeline import Stage
from tidemill.lineage.sources.turn_details import PRODUCER, TurnDetails
from tidemill.state.tables import Turn
from tidemill.version import __version__

__all__ = ["STEPS", "Phase", "step_events", "turn_events", "whole_turn"]

STEPS = ("data", "train", "register", "gate", "promote")
"""The steps of a turn, in order."""

_FAILED = ("failed", "cancelled")
"""Statuses of turns whose step did not complete."""
Phase = Literal["START", "COMPLETE", "FAIL", "ABORT"]


def whole_turn(facts: TurnDetails) -> Iterator[event_v2.RunEvent]:
    """Yield all events of a recorded turn, with the wall-clock times of its steps."""
    turn = facts.turn
    began = turn.requested_at
    yield from turn_events(facts, "START", began)
    for step in STEPS:
        spent = turn.seconds.get(step)
        if spent is None and (turn.step != step or turn.status not in ("running", *_FAILED)):
            continue
        yield from step_events(facts, step, "START", began)
        if spent is not None:
            began += timedelta(seconds=spent)
            yield from step_events(facts, step, "COMPLETE", began)
        elif turn.status in _FAILED:
            yield from step_events(facts, step, _failure(turn), turn.finished_at or began)
    if turn.status != "running":
        phase = _failure(turn) if turn.status in _FAILED else "COMPLETE"
        yield from turn_events(facts, phase, turn.finished_at or began)


def turn_events(facts: TurnDetails, phase: Phase, at: datetime) -> Iterator[event_v2.RunEvent]:
    """Yield the event of the turn itself."""
    yield _event(facts, f"{facts.turn.model}.turn", "TURN", phase, at)


def step_events(facts: TurnDetails, step: str, phase: Phase, at: datetime) -> Iterator[event_v2.RunEvent]:
    """Yield the events of one step; a finished data step yields those of DVC's stages too.

    Args:
        facts: facts of the turn so far.
        step: one of `STEPS`.
        phase: whether the step started, completed, failed or was aborted.
        at: wall-clock time of the event.
    """
    done = phase == "COMPLETE"
    inputs, outputs = sets_of_step(facts, step) if done else ([], [])
    if step == "data" and done and facts.pipeline is not None:
        began = at - timedelta(seconds=facts.turn.seconds.get("data", 0.0))
        for stage in facts.pipeline.stages.values():
            read, written = sets_of_stage(facts, stage)
            yield _event(facts, f"dvc.{stage.name}", "STAGE", "START", began, stage=stage)
            yield _event(facts, f"dvc.{stage.name}", "STAGE", phase, at, read, written, stage)
    yield _event(facts, f"{facts.turn.model}.{step}", "STEP", phase, at, inputs, outputs)


def _event(
    facts: TurnDetails,
    job: str,
    kind: str,
    phase: Phase,
    at: datetime,
    inputs: Iterable[event_v2.InputDataset] = (),
    outputs: Iterable[event_v2.OutputDataset] = (),
    stage: Stage | None = None,
) -> event_v2.RunEvent:
    return event_v2.RunEvent(
        eventTime=at.isoformat(),
        eventType=event_v2.RunState(phase),
        producer=PRODUCER,
        run=event_v2.Run(_run_id(facts, job), _run_facets(facts, job, phase)),
        job=event_v2.Job(facts.project, job, _job_facets(facts, kind, stage)),
        inputs=list(inputs),
        outputs=list(outputs),
    )


def _run_id(facts: TurnDetails, job: str) -> str:
    return str(uuid5(NAMESPACE_URL, f"tidemill:{facts.project}/{facts.turn.id}/{job}"))


def _run_facets(facts: TurnDetails, job: str, phase: Phase) -> dict[str, facet_v2.RunFacet]:
    turn, root = facts.turn, f"{facts.turn.model}.turn"
    found: dict[str, facet_v2.RunFacet] = {
        "nominalTime": nominal_time_run.NominalTimeRunFacet(turn.as_of.isoformat(), producer=PRODUCER),
        "processing_engine": processing_engine_run.ProcessingEngineRunFacet(
            __version__, "tidemill", producer=PRODUCER
        ),
        "tidemill_turn": _own(
            turn=turn.id,
            as_of=turn.as_of.isoformat(),
            trigger=turn.trigger,
            policy=turn.policy,
            actor=turn.actor,
            reason=turn.reason,
            status=turn.status,
        ),
    }
    if job != root:
        above = f"{turn.model}.data" if job.startswith("dvc.") else root
        found["parent"] = parent_run.ParentRunFacet(
            run=parent_run.Run(_run_id(facts, above)),
            job=parent_run.Job(facts.project, above),
            root=parent_run.Root(
                parent_run.RootRun(_run_id(facts, root)), parent_run.RootJob(facts.project, root)
            ),
            producer=PRODUCER,
        )
    if job == f"{turn.model}.train" and facts.lineage is not None:
        found["tidemill_lineage"] = _own(run_id=turn.run_id, **facts.lineage.as_dict())
    if job == f"{turn.model}.gate" and facts.decision is not None:
        said = facts.decision
        found["tidemill_gate"] = _own(
            passed=said.passed, mode=said.mode, champion=said.champion, reasons=said.reasons
        )
    if phase in ("FAIL", "ABORT"):
        found["errorMessage"] = error_message_run.ErrorMessageRunFacet(
            turn.error or "no reason on record", "python", producer=PRODUCER
        )
    return found


def _own(**values: Any) -> facet_v2.RunFacet:
    """Return a custom facet; its schema is the base schema of all facets."""
    facet = facet_v2.RunFacet(producer=PRODUCER).with_additional_properties(**values)
    assert isinstance(facet, facet_v2.RunFacet)
    return facet


def _job_facets(facts: TurnDetails, kind: str, stage: Stage | None) -> dict[str, facet_v2.JobFacet]:
    found: dict[str, facet_v2.JobFacet] = {
        "jobType": job_type_job.JobTypeJobFacet(
            processingType="BATCH", integration="TIDEMILL", jobType=kind, producer=PRODUCER
        )
    }
    if facts.turn.data_revision and facts.repository:
        code = facts.pipeline.code_of(stage) if facts.pipeline and stage else []
        found["sourceCodeLocation"] = source_code_location_job.SourceCodeLocationJobFacet(
            type="git",
            url=facts.repository,
            repoUrl=facts.repository,
            path=code[0].path if code else None,
            version=facts.turn.data_revision,
            producer=PRODUCER,
        )
    if stage is not None:
        words = stage.description or stage.command
        found["documentation"] = documentation_job.DocumentationJobFacet(words, producer=PRODUCER)
    return found


def _failure(turn: Turn) -> Phase:
    """Return the phase of what a turn that failed, or was cancelled, did not complete."""
    return "ABORT" if turn.status == "cancelled" or turn.error == "interrupted" else "FAIL"
