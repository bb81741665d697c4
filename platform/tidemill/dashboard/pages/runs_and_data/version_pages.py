"""One version of a model, with all that is on record about it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI

from tidemill.dashboard.page import add_page
from tidemill.dashboard.pages.runs_and_data.version_list_page import learnt_until
from tidemill.dashboard.records.registry_reading import read_registry, refuse_lost_registry
from tidemill.dashboard.records.version_records import (
    ServedPeriod,
    StageStep,
    served_periods,
    slices_of,
    stage_steps,
    turn_of,
)
from tidemill.dashboard.visit import Here
from tidemill.errors import BeingComputed, ModelNotFound, NotAnswering, RegistryError
from tidemill.project import Project
from tidemill.state.record_queries import gate_decisions
from tidemill.tasks.natural_metric import metric_of, natural_values

if TYPE_CHECKING:
    from tidemill.registry.versions.model_description import SavedSignature
    from tidemill.registry.versions.registry_reader import ShownVersion
    from tidemill.state.record_reader import Row

__all__ = ["Version", "add_to", "version_page"]

_DIGITS = 9  # a greater number is none that a registry can hold


@dataclass(frozen=True)
class Gate:
    """A decision of the gate about a version."""

    decision_id: str
    passed: bool
    mode: str
    champion: str | None
    metric: str | None
    gain: float | None
    gain_low: float | None
    gain_high: float | None
    reasons: Sequence[str]
    at: datetime


@dataclass(frozen=True)
class Slice:
    """How a version did on some of the predictions."""

    name: str
    value: float | None
    expected: float | None
    rows: int | None


@dataclass(frozen=True)
class InputColumn:
    """A column that the model takes."""

    name: str
    type: str
    required: bool


@dataclass(frozen=True)
class Version:
    """All that is on record about a version."""

    model: str
    version: str
    aliases: Sequence[str]
    as_of: str | None
    registered_at: datetime
    run_id: str
    turn_id: str | None
    cpu_seconds: float | None
    """CPU time of its turn."""
    gpu_seconds: float | None
    """Time for which Ray gave its turn GPUs."""
    seconds: float | None
    """Wall-clock time of its turn."""
    data_revision: str | None
    metrics: Mapping[str, float | None]
    gates: Sequence[Gate]
    stages: Sequence[StageStep]
    """What became of it in stages before production, the latest first."""
    stages_ahead: Sequence[str]
    """The declared stages that it is not in."""
    stages_in: Sequence[str]
    """Those that it is in."""
    served: Sequence[ServedPeriod]
    slices_at: datetime | None
    slice_metric: str | None
    slices: Sequence[Slice]
    compiled: str
    """What came of compiling it."""
    compiled_size: int | None
    size: int | None
    """Of its files, bytes."""
    format: str | None
    inputs: Sequence[InputColumn]
    outputs: Sequence[str]
    trouble: str | None
    """Why its files cannot be read."""
    lineage: Mapping[str, str]
    archived: bool
    """Somebody has put it away: it can get no alias."""


def version_page(visit: Here, model: str, version: str) -> Version:
    """Return one version of a model, by its number or an alias."""
    from tidemill.registry.versions.registry_reader import read_version

    project = visit.installation.load(visit.project(model))
    refuse_lost_registry(visit.records, project)
    if version.isdecimal() and len(version) > _DIGITS:
        raise ModelNotFound(f"{model} has no version {version}", hint="the list of versions shows its own")
    found = read_registry(
        ("version", str(project.root), version), lambda: read_version(project, version, model)
    )
    signature, trouble = _signature(project, found.version)
    turn = turn_of(visit.records, model, found.version)
    evaluated = slices_of(visit.records, model, found.version)
    at, slices = evaluated or (None, {})
    return Version(
        model=model,
        version=found.version,
        aliases=list(found.aliases),
        as_of=learnt_until(found),
        registered_at=found.registered_at,
        run_id=found.run_id,
        turn_id=turn.id if turn else None,
        cpu_seconds=turn.cpu_seconds if turn else None,
        gpu_seconds=turn.gpu_seconds if turn else None,
        seconds=sum(turn.seconds.values()) if turn else None,
        data_revision=found.data_revision,
        metrics=natural_values(found.metrics),
        gates=[_gate(one) for one in gate_decisions(visit.records, model, found.version)[::-1][:20]],
        stages=stage_steps(visit.records, model, found.version),
        stages_ahead=[one.name for one in project.config.stages if one.name not in found.aliases],
        stages_in=[one.name for one in project.config.stages if one.name in found.aliases],
        served=served_periods(visit.records, model, found.version),
        slices_at=at,
        slice_metric=metric_of(str(slices["metric"])).name if slices.get("metric") else None,
        slices=[_slice(one, slices.get("metric")) for one in slices.get("slices", ())],
        compiled=_compiled(found),
        compiled_size=(found.compiled or {}).get("size"),
        size=signature.size if signature else None,
        format=signature.format if signature else None,
        inputs=[InputColumn(c.name, c.type, c.required) for c in signature.inputs] if signature else [],
        outputs=[_output(one.name, one.type) for one in signature.outputs] if signature else [],
        trouble=trouble,
        lineage=_lineage(found.lineage),
        archived=found.archived,
    )


def _signature(project: Project, version: str) -> "tuple[SavedSignature | None, str | None]":
    from tidemill.registry.versions.model_description import read_signature

    try:
        key = ("signature", str(project.root), version)
        return read_registry(key, lambda: read_signature(project, version)), None
    except BeingComputed:
        raise
    except (NotAnswering, RegistryError) as error:
        return None, str(error)


def _gate(decision: "Row") -> Gate:
    numbers = decision.numbers or {}
    low, high = numbers.get("gain_interval") or (None, None)
    return Gate(
        decision.id,
        decision.passed,
        decision.mode,
        decision.champion,
        metric_of(numbers["metric"]).name if numbers.get("metric") else None,
        numbers.get("gain"),
        low,
        high,
        list(decision.reasons),
        decision.decided_at,
    )


def _slice(found: Mapping[str, Any], of_all: str | None) -> Slice:
    rows = found.get("rows", found.get("labelled"))
    metric = metric_of(str(found.get("metric") or of_all))
    value, expected = (metric.shown(found.get(name)) for name in ("value", "expected"))
    return Slice(str(found.get("name")), value, expected, rows)


def _output(name: str, kind: str) -> str:
    """Return what a model gives for each row: of ``float64 -1 × 3`` it is ``3 × float64``."""
    element, rows, shape = kind.partition(" -1")
    many = f"{shape.removeprefix(' × ')} ×" if shape else "a"
    return f"{many} {element}" if rows and not name else f"{name} {kind}".strip()


def _compiled(found: "ShownVersion") -> str:
    facts = found.compiled
    if facts is None:
        return "no: it was registered without"
    return f"no: {facts['reason']}" if facts["status"] == "refused" else "yes, to ONNX"


def _lineage(found: Mapping[str, Any]) -> dict[str, str]:
    """Return the lineage as text; what is nested gets names with a space.

    >>> _lineage({"as_of": "2013-12-01", "data": {"rows.parquet": "9a0e"}, "uncommitted": []})
    {'as of': '2013-12-01', 'data rows.parquet': '9a0e', 'uncommitted': 'none'}
    >>> _lineage({"beside": {"lookup.json": "in the patch"}})
    {'untracked text lookup.json': 'in the patch'}
    """
    said: dict[str, str] = {}
    for name, value in found.items():
        words = "untracked text" if name == "beside" else name.replace("_", " ")
        if isinstance(value, Mapping):
            said |= {f"{words} {key}": _plain(one) for key, one in value.items()}
        else:
            said[words] = _plain(value)
    return said


def _plain(value: Any) -> str:
    match value:
        case Mapping():
            return " · ".join(f"{key} {one}" for key, one in value.items())
        case list():
            return ", ".join(map(str, value)) or "none"
        case None:
            return "not on record"
        case _:
            return str(value)


def add_to(app: FastAPI) -> None:
    """Add the page."""
    read = ("read", "version")
    one = "/models/{model}/versions/{version}"
    add_page(app, one, version_page, template="version.html", needs=read, title="Version")
