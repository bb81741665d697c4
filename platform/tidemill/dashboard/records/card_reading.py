"""Gathers the card of a version from the registry and the records, for the command line and for pages."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from tidemill.dashboard.records import version_records
from tidemill.dashboard.records.card_monitoring import calibration_in, groups_in, live_in
from tidemill.errors import RegistryError, TrainingError
from tidemill.project import Project
from tidemill.registry.cards.card_fields import kept_fields, read_fields
from tidemill.registry.cards.model_card import (
    CardCalibration,
    CardFeature,
    CardFigure,
    CardGate,
    CardPeriod,
    CardUse,
    ModelCard,
)
from tidemill.state.record_queries import gate_decisions, lane_counts
from tidemill.state.record_reader import Records, Row
from tidemill.tasks.natural_metric import metric_of
from tidemill.training.tracking.reference_rows import ReferenceRows
from tidemill.training.tracking.training_result import TrainedModel, schedule_words

if TYPE_CHECKING:
    import polars as pl

    from tidemill.registry.versions.version_record import ModelVersion

__all__ = ["read_card"]


def read_card(project: Project, records: Records, version: str, now: datetime) -> ModelCard:
    """Return the card of a version of the project's model.

    Args:
        project: whose ``card.yaml`` says what people say.
        records: of the project.
        version: a number or an alias.
        now: when the card is made.

    Raises:
        ModelNotFound: there is no such version.
        RegistryError: the registry does not answer.
        ConfigError: ``card.yaml`` is wrong.
    """
    from tidemill.registry.versions.model_versions import get_version

    now_said = read_fields(project.root).model_dump()
    found = get_version(project, version)
    kept = kept_fields(found.tags)
    said = kept.fields.model_dump() if kept else now_said
    reference, unknown = _reference(project, found)
    turn = version_records.turn_of(records, project.model, found.version)
    runs = version_records.monitor_runs_of(records, project.model, found.version)
    figures, on_holdout, rows, why = _figures(project, found, reference)
    drifted = Counter(
        name for run in runs for name in (run.results.get("data_drift") or {}).get("drifted", ())
    )
    of = project.model, found.version
    return ModelCard(
        made_at=now,
        said=said,
        said_at=kept.at if kept else None,
        said_otherwise=tuple(name for name, text in said.items() if now_said[name] != text),
        **_identity(found, turn),
        **_data(found),
        feature_rows=0 if reference is None else reference.features.height,
        features=() if reference is None else _features(reference.features),
        figures=figures,
        held_out_rows=rows,
        gate=_gate(gate_decisions(records, *of)),
        calibration=(*on_holdout, *calibration_in(runs)),
        groups=groups_in(runs, version_records.slices_of(records, *of)),
        live=live_in(runs),
        monitor_runs=dict(Counter(run.verdict for run in runs)),
        drifted=dict(drifted.most_common()),
        alerts=records.counts("alerts", "kind", "model = ? AND version = ?", *of),
        use=_use([one for one in lane_counts(records, project.model) if one.version == found.version]),
        served=tuple(
            CardPeriod(one.since, one.until, one.kind, one.actor, one.reason)
            for one in version_records.served_periods(records, *of)
        ),
        lineage=_lineage(found),
        unknown=(*unknown, *why),
    )


def _reference(project: Project, found: "ModelVersion") -> tuple[ReferenceRows | None, tuple[str, ...]]:
    """Return the rows that are kept with a version; and why there are none."""
    from tidemill.registry.versions.model_versions import load_reference

    lacks = "Its features are not described, and no interval is measured"
    if found.trained is None:
        return None, (f"{lacks}: Tidemill did not train it.",)
    try:
        return load_reference(project, found.version), ()
    except (RegistryError, TrainingError) as error:
        return None, (f"{lacks}: {str(error).splitlines()[0].rstrip('.:')}.",)


def _identity(found: "ModelVersion", turn: Row | None) -> dict[str, Any]:
    trained, lineage = found.trained, found.lineage
    imported = (lineage.imported or {}) if lineage else {}
    digest = trained.files.get("served") if trained else None
    return {
        "model": found.model,
        "version": found.version,
        "aliases": found.aliases,
        "task": trained.task if trained else None,
        "family": trained.family if trained else None,
        "parameters": _parameters(trained) if trained else {},
        "trials": trained.trials if trained else None,
        "registered_at": found.registered_at,
        "by": turn.actor if turn else None,
        "why": (turn.reason or None) if turn else None,
        "run_id": found.run_id or None,
        "turn_id": turn.id if turn else None,
        "digest": digest or imported.get("sha256"),
    }


def _parameters(trained: TrainedModel) -> dict[str, Any]:
    changed = {"schedule": schedule_words(trained.schedule)} if trained.schedule else {}
    return {**trained.params, **changed}


def _data(found: "ModelVersion") -> dict[str, Any]:
    trained, lineage = found.trained, found.lineage
    split = lineage.as_dict()["split"] if lineage else {}
    if "by" in split:  # by a hash of each row
        whole = split.get("sizes") or {}
        parts = {name: f"{size:,} rows, by a hash ({split['by']})" for name, size in whole.items()}
    else:
        parts = {name: f"{_told(ends['start'])} to {_told(ends['end'])} UTC" for name, ends in split.items()}
    return {
        "data_version": lineage.git_commit if lineage else None,
        "as_of": lineage.as_of if lineage else None,
        "parts": parts,
        "rows": trained.labels if trained else None,
        "refitted_on": trained.refitted_on if trained else None,
    }


def _told(moment: str) -> str:
    return f"{datetime.fromisoformat(moment).astimezone(UTC):%Y-%m-%d %H:%M}"


def _features(rows: "pl.DataFrame") -> tuple[CardFeature, ...]:
    """Return the statistics of each column; no value of a row, which may be a person's."""
    return tuple(_feature(column, rows.height) for column in rows.iter_columns())


def _feature(column: "pl.Series", rows: int) -> CardFeature:
    kind, numeric = column.dtype, column.dtype.is_numeric()
    if kind.is_float():
        column = column.fill_nan(None)
    mean, deviation = (column.mean(), column.std()) if numeric else (None, None)
    different = column.drop_nulls()
    return CardFeature(
        column.name,
        _type(kind),
        column.null_count() / rows if rows else 0.0,
        different.n_unique() if not kind.is_nested() else len(set(map(str, different.to_list()))),
        _finite(mean),
        _finite(deviation),
    )


def _type(kind: "pl.DataType") -> str:
    """Return a type of columns in the words of `features.yaml`.

    >>> import polars as pl
    >>> _type(pl.Int8()), _type(pl.String()), _type(pl.Array(pl.Float64, 4)), _type(pl.List(pl.Int64))
    ('whole number', 'text', 'list of 4 numbers', 'list of whole numbers')
    """
    import polars as pl

    match kind:
        case pl.Array():
            return f"list of {kind.size} {_type(kind.inner)}s"  # type: ignore[arg-type]
        case pl.List():
            return f"list of {_type(kind.inner)}s"  # type: ignore[arg-type]
        case pl.String() | pl.Categorical() | pl.Enum():
            return "text"
        case pl.Boolean():
            return "truth value"
        case pl.Datetime() | pl.Date():
            return "moment"
        case _:
            return (
                "whole number" if kind.is_integer() else "number" if kind.is_numeric() else str(kind).lower()
            )


def _finite(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else None


def _figures(
    project: Project, found: "ModelVersion", reference: ReferenceRows | None
) -> tuple[tuple[CardFigure, ...], tuple[CardCalibration, ...], int, tuple[str, ...]]:
    """Return the metrics, the calibration on the hold-out, of how many rows, and what is unknown."""
    from tidemill.dashboard.records.held_out_figures import calibration_of, intervals_of
    from tidemill.monitoring.quality.held_out import HeldOut

    task = project.task
    intervals: dict[str, tuple[float, float]] = {}
    calibration: tuple[CardCalibration, ...] = ()
    why: tuple[str, ...] = ()
    same = found.trained is not None and found.trained.task == task.kind != "custom"
    known = HeldOut.of(reference, task) if same and reference is not None else None
    prefix = "holdout_"
    if known is not None:
        held = {n.removeprefix(prefix): v for n, v in found.metrics.items() if n.startswith(prefix)}
        intervals = intervals_of(task, known, held, held.get("rows", 0.0))
        error, rows = calibration_of(task, known), len(known.truth)
        calibration = () if error is None else (CardCalibration("hold-out", error, None, rows),)
    elif reference is not None:
        why = ("No interval is measured: too few held-out rows with labels are kept, or the task has none.",)
    figures = [_figure(name, value, intervals) for name, value in sorted(found.metrics.items())]
    count = 0 if known is None else len(known.truth)
    return tuple(one for one in figures if math.isfinite(one.value)), calibration, count, why


def _figure(name: str, value: float, intervals: Mapping[str, tuple[float, float]]) -> CardFigure:
    part = next(
        (each for each in ("holdout", "validation") if name.startswith(f"{each}_")), "month of the hold-out"
    )
    recorded = name.removeprefix(f"{part}_")
    metric = metric_of(recorded)
    ends = [metric.sign * end for end in intervals.get(recorded, ())] if part == "holdout" else []
    low, high = sorted(ends) or (None, None)
    return CardFigure(part, metric.name, metric.sign * value + 0.0, low, high)


def _gate(decisions: Sequence[Row]) -> CardGate | None:
    if not decisions:
        return None
    last = decisions[-1]
    numbers = last.numbers or {}
    low, high = numbers.get("gain_interval") or (None, None)
    metric = metric_of(numbers["metric"]).name if numbers.get("metric") else None
    told = last.passed, last.mode, last.champion, metric, numbers.get("gain"), low, high
    return CardGate(*told, numbers.get("rows"), tuple(last.reasons), last.decided_at)


def _use(counts: Sequence[Row]) -> tuple[CardUse, ...]:
    roles = sorted({one.role for one in counts})
    of = {role: [one for one in counts if one.role == role] for role in roles}
    return tuple(
        CardUse(
            role,
            sum(one.answered for one in rows),
            sum(one.failed for one in rows),
            max(one.seen_at for one in rows),
        )
        for role, rows in of.items()
    )


def _lineage(found: "ModelVersion") -> dict[str, str]:
    lineage = found.lineage
    if lineage is None:
        return {}
    changed = lineage.uncommitted
    told = {
        "commit": lineage.git_commit,
        "uncommitted files": "not on record" if changed is None else ", ".join(changed),
        "feature service": lineage.feature_service,
        "feature definitions": lineage.feature_definition,
        "run": found.run_id,
    }
    told |= {f"data {path}": f"MD5 {digest}" for path, digest in lineage.data.items()}
    told["packages"] = ", ".join(f"{name} {version}" for name, version in lineage.packages.items())
    for name, more in (("imported", lineage.imported), ("gone on from", lineage.parent)):
        told[name] = ", ".join(f"{key} {value}" for key, value in (more or {}).items())
    return {name: value for name, value in told.items() if value}
