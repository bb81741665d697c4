"""Gathers what a person needs to know about an alert from its records. Imports no engine."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from itertools import accumulate
from typing import Any

from tidemill.actor_words import reason_beside, who
from tidemill.monitoring.figure_history import figure_of
from tidemill.monitoring.measured_figures import measured
from tidemill.monitoring.noise_feedback import marks_of, proposals_of
from tidemill.plurals import counted
from tidemill.state.alert_queries import EXTERNAL, AlertRecords
from tidemill.tasks.natural_metric import metric_of

__all__ = ["RETRAINED_FOR", "describe", "named_faults", "next_commands"]

_FEATURES = 5
RETRAINED_FOR = frozenset(
    {
        "quality",
        "estimated_quality",
        "slice_quality",
        "data_drift",
        "prediction_drift",
        "multivariate_drift",
        "slice_drift",
        "concept_drift",
        "calibration",
    }
)
"""The kinds of alerts that a new model may help."""
_OF_NO_SLICE = ("data_quality", "staleness", "health", "feature_skew", EXTERNAL)
"""Kinds of which slices of the model's quality tell nothing."""
_CHANGES = 6
_SLICES = 5


def describe(records: AlertRecords) -> dict[str, Any]:
    """Return the facts of an alert, as JSON values and moments.

    They are: what it is, its windows, the figures of the run that found it last and of those before, the
    features that have moved most with their histograms, the worst slices, example predictions, what changed
    before it, its steps, what was marked as noise, what was sent about it, what policies decided
    about it, what is broken at its source by this or other alerts, and the commands to type next.
    """
    alert, run = records.alert, records.last_run
    examples = (run.results.get("examples") or {}).get(alert.kind, [])
    features = _features(alert.kind, run.results)
    names = [each.get("name") for each in features]
    columns = ("id", "status", "severity", "kind", "monitor", "model", "version", "message", "details")
    times = ("raised_at", "fired_at", "last_seen_at", "acknowledged_at", "resolved_at")
    counts = ("found_in", "occurrence", "acknowledged_by")
    return {
        **{name: getattr(alert, name) for name in (*columns, *times, *counts)},
        "first_window": [records.first_run.window_start, records.first_run.window_end],
        "last_window": [run.window_start, run.window_end],
        "rows": run.rows,
        "labelled": run.labelled,
        "measured": measured(run.results),
        "labels": dict(alert.details.get("labels") or {}),
        "history": [_point(alert.kind, each) for each in records.runs],
        "features": features,
        "histograms": {
            name: bins for name, bins in (run.results.get("histograms") or {}).items() if name in names
        },
        "slices": _slices(alert.kind, run.results),
        "examples": list(examples),
        "report": run.report_path,
        "changes": _changes(records),
        "noise": [
            {**asdict(each), "said": each.said}
            for each in proposals_of(marks_of(records.noise, records.alarms), run.results)
        ],
        "steps": _steps(records),
        "notifications": [
            {
                name: getattr(each, name)
                for name in ("receiver", "step", "status", "reason", "at", "attempts", "error", "sent_at")
            }
            for each in records.notifications
        ],
        "decisions": [
            {
                name: getattr(each, name)
                for name in ("policy", "verdict", "reason", "turn_id", "first_at", "last_at", "rounds")
            }
            for each in records.decisions
        ],
        "faults": [_fault(each) for each in records.faults],
        "next": next_commands(
            alert.kind,
            alert.id,
            alert.monitor,
            alert.status,
            examples,
            [each.id for each in records.faults],
            (run.window_start, run.window_end),
        ),
    }


def _steps(records: AlertRecords) -> list[dict[str, Any]]:
    """Return the steps in order, each with the number of the opening that it belongs to, from 1."""
    reopened = [each.step == "reopened" for each in records.steps]
    return [
        {"step": one.step, "at": one.at, "person": one.person, "comment": one.comment, "opening": 1 + before}
        for one, before in zip(records.steps, accumulate(reopened), strict=True)
    ]


def _features(kind: str, results: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the figures of the features that have moved most, or that were served otherwise."""
    if kind == "feature_skew":
        skew = results.get("feature_skew") or {}
        skewed = [each for each in skew.get("features", ()) if each["feature"] in skew.get("skewed", ())]
        told = skewed[:_FEATURES]
        return [{**each, "name": each["feature"], "broken": None, "note": _skew(each)} for each in told]
    columns = (results.get("data_drift") or {}).get("columns", ())
    return [dict(each) for each in columns if each["drifted"] or each["broken"]][:_FEATURES]


def _skew(feature: Mapping[str, Any]) -> str:
    """Return how a feature was served otherwise than training would see it."""
    said = f"{feature['share']:.1%} of {counted(feature['rows'], 'row')} differ"
    if feature.get("mean_difference") is not None:
        said += f", by {feature['mean_difference']:.4g} on average"
    causes = ", ".join(f"{each['name']} ({each['view']})" for each in feature.get("causes", ()))
    return f"{said}; likely: {causes}" if causes else said


def _point(kind: str, run: Any) -> dict[str, Any]:
    found = figure_of(kind, run.results)
    return {"at": run.at, "value": found and found[0], "limit": found and found[1], "verdict": run.verdict}


def _slices(kind: str, results: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the worst slices that a run found; their metric by its name and sign as people know it."""
    if kind in _OF_NO_SLICE:
        return []
    drifted = kind != "slice_quality" and "drift" in kind
    listed = (results.get("slice_drift" if drifted else "slice_quality") or {}).get("slices") or ()
    if isinstance(listed, Mapping):
        listed = [{"name": name, **each} for name, each in listed.items()]
        listed.sort(key=lambda each: each["share"], reverse=True)
    told = ("share", "drifted") if drifted else ("value", "expected", "rest", "p_value")
    return [
        {name: each.get(name) for name in ("name", "rows")} | _figures(each, told)
        for each in listed[:_SLICES]
    ]


def _figures(one: Mapping[str, Any], told: Sequence[str]) -> dict[str, Any]:
    """Return what is told of a slice."""
    if not one.get("metric"):
        return {name: one.get(name) for name in told}
    metric = metric_of(one["metric"])
    shown = {name: metric.shown(one.get(name)) for name in told if name != "p_value"}
    return {"metric": metric.name, **shown, "p_value": one.get("p_value")}


def _changes(records: AlertRecords) -> list[dict[str, Any]]:
    """Return what changed before the alert, the latest first."""
    turn = records.turn
    found = [*_of_versions(records), *_beside_the_champion(records)]
    found += [
        {
            "at": move.at,
            "what": f"{move.kind}: version {move.to_version} by {who(move.actor)}",
            "why": reason_beside(move.actor, move.reason),
        }
        for move in records.moves[-_CHANGES:]
    ]
    if turn is not None:
        data = "no data version" if turn.data_revision is None else f"data {turn.data_revision[:12]}"
        found.append(
            {
                "at": turn.as_of,
                "what": f"version {turn.version} trained on {data}, known by then",
                "why": turn.reason,
            }
        )
    return sorted(found, key=lambda each: str(each["at"]), reverse=True)


def _beside_the_champion(records: AlertRecords) -> list[dict[str, Any]]:
    """Return the latest changes of canaries, shadows and experiments, and the latest rollouts."""
    found = [
        {
            "at": each.at,
            "what": f"{each.name} {each.status}: version {each.version}, {each.share:.0%}, "
            f"by {who(each.actor)}",
            "why": reason_beside(each.actor, each.reason),
        }
        for each in records.deployments[-_CHANGES:]
    ]
    return found + [
        {
            "at": each.at,
            "what": f"rollout of version {each.version} by {who(each.actor)}: {each.status}",
            "why": each.outcome or reason_beside(each.actor, each.reason),
        }
        for each in records.rollouts[-_CHANGES:]
    ]


def _of_versions(records: AlertRecords) -> list[dict[str, Any]]:
    """Return what differs in the version from the one before it: data, feature definitions, code, parameters.

    Runs of older releases have only the commit, which each turn moves: it is not compared with files.
    """
    of = records.alert.version
    own = next((run.results.get("made_of") for run in records.runs[::-1] if run.version == of), None)
    others = [run for run in records.runs if run.version != of and run.results.get("made_of")]
    if not own or not others:
        return []
    before = others[-1]
    first = next((run.at for run in records.runs if run.version == of and run.at > before.at), before.at)
    return [
        {
            "at": first,
            "what": f"{name.replace('_', ' ')} {old or 'none'} → {own[name] or 'none'}",
            "why": f"version {of} after version {before.version}",
        }
        for name, old in before.results["made_of"].items()
        if name in own and own[name] != old
    ]


def _fault(alert: Any) -> dict[str, Any]:
    """Return what an alert says is broken at its source."""
    return {"alert": alert.id, "message": alert.message, "names": named_faults(alert.details or {})}


def named_faults(details: Mapping[str, Any]) -> list[str]:
    """Return the features that an alert's details name as broken at their source."""
    named = [each.get("feature") for each in details.get("skewed", ())] or details.get("faults", ())
    return [str(name) for name in named]


def next_commands(
    kind: str,
    alert: str,
    monitor: str,
    status: str,
    examples: Sequence[str],
    faulty: Sequence[str] = (),
    window: Sequence[datetime] = (),
) -> list[str]:
    """Return what to type next, by what was found; no retraining while values are broken at their source.

    Args:
        kind: of the alert.
        alert: its id.
        monitor: that found it.
        status: of the alert.
        examples: ids of predictions that it is about.
        faulty: ids of the open alerts that name what is broken at its source.
        window: start and end of the predictions that it is about, where they are known.

    >>> next_commands("quality", "alert_1", "weekly", "firing", [])[-1]
    'tidemill retrain --reason "alert_1"'
    >>> next_commands("quality", "alert_1", "weekly", "resolved", [])
    ['tidemill monitor run weekly --report']
    >>> next_commands("quality", "alert_1", "weekly", "acknowledged", [], ["alert_2"])[-1]
    'tidemill alerts show alert_2'
    >>> next_commands("external", "alert_1", "alertmanager/RedisDown", "resolved", [])
    ['tidemill status']
    """
    found = [f"tidemill alerts ack {alert}"] if status == "firing" else []
    if examples:
        found.append(f"tidemill lineage {examples[0]} --up")
    if kind == "feature_skew":
        span = [
            f"--{name} {at:%Y-%m-%dT%H:%MZ}" for name, at in zip(("since", "until"), window, strict=False)
        ]
        return [*found, " ".join(["tidemill features skew", *span])]
    if kind == EXTERNAL:
        end = [] if status == "resolved" else [f"tidemill alerts resolve {alert}"]
        return [*found, *end, "tidemill status"]
    if kind == "no_run":
        return [*found, f"tidemill monitor run {monitor}", "tidemill status"]
    if kind == "health":
        return [*found, "tidemill status"]
    if kind == "staleness":  # only what is looked up in a feature store can be stale
        return [*found, f"tidemill monitor run {monitor} --report", "tidemill features status"]
    if kind == "feature_drift":
        return [*found, f"tidemill monitor run {monitor} --report", f"tidemill monitor explain {monitor}"]
    found.append(f"tidemill monitor run {monitor} --report")
    if faulty:
        return [*found, *(f"tidemill alerts show {other}" for other in faulty if other != alert)]
    if kind in RETRAINED_FOR and status != "resolved":
        found.append(f'tidemill retrain --reason "{alert}"')
    return found
