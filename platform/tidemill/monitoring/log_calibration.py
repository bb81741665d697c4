"""Measures a monitor's thresholds on the prediction log's own past, where it raised no alert."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl
from sqlalchemy import select

from tidemill.clock import utc
from tidemill.data.tables.column_names import literal_names
from tidemill.errors import MonitoringError
from tidemill.monitoring.drift.answer_drift import categories_of
from tidemill.monitoring.drift.usual_moves import UsualMoves, cut_blocks, rounded_up, usual_moves
from tidemill.monitoring.monitor_config import Monitor
from tidemill.monitoring.noise_feedback import NOISE
from tidemill.monitoring.window_config import LatestRows, Season
from tidemill.monitoring.windows.time_windows import Window
from tidemill.plurals import counted
from tidemill.prediction_log.prediction_log import features_of, logged_days, read_predictions
from tidemill.project import Project
from tidemill.registry.versions.model_versions import load_reference
from tidemill.state import State
from tidemill.state.tables import Alert, AlertStep, MonitorRun

__all__ = ["MeasuredThresholds", "calibrate_from_log", "is_noise", "noise_spans"]

_LONGEST = timedelta(days=400)
_FEWEST = 4
_MOST_CLASSES_APART = 0.8


@dataclass(frozen=True)
class MeasuredThresholds:
    """How far 99 of 100 windows without an alert lie from what they are compared with."""

    period: Window
    windows: int
    """Windows as they were, half a window apart."""
    draws: int
    """Windows of two half windows drawn at random."""
    left_out: int
    """Predictions in windows that raised an alert."""
    features: Mapping[str, float]
    """Thresholds of features that move further than the monitor allows, rounded up."""
    missing: float
    """The change in the share of missing values."""
    score: float | None
    classes: float | None

    def declared(self, monitor: Monitor) -> dict[str, dict[str, object]]:
        """Return the fields of ``monitors.yaml`` that are higher than the monitor declares, by section."""
        found = dict[str, dict[str, object]]()
        if (drift := monitor.data_drift) is not None:
            higher: dict[str, object] = {"missing": self.missing} if self.missing > drift.missing else {}
            if self.features:
                higher["thresholds"] = {**drift.thresholds, **self.features}
            found["data_drift"] = higher
        if (answers := monitor.prediction_drift) is not None:
            measured = {"threshold": self.score, "categorical": self.classes}
            found["prediction_drift"] = {
                name: value for name, value in measured.items() if value and value > getattr(answers, name)
            }
        return {name: fields for name, fields in found.items() if fields}


def calibrate_from_log(
    project: Project, state: State, monitor: Monitor, version: str, now: datetime, with_alerts: bool = False
) -> MeasuredThresholds:
    """Return the thresholds that a monitor's own past asks for.

    Rows of windows that raised an alert are left out, unless asked for: what was alarming once is not usual.
    Windows all of whose alerts were marked as noise are usual.

    Args:
        project: the project with the prediction log.
        state: the records of the monitor's runs.
        monitor: which.
        version: the champion.
        now: event time; the 400 days before it count.
        with_alerts: whether windows that raised an alert are usual, too: their alerts were noise.

    Raises:
        MonitoringError: too little of the past is left.
        RegistryError: the version has no reference.
    """
    now, days = utc(now), logged_days(project.predictions, project.model)
    start = max(datetime(*days[0].timetuple()[:3], tzinfo=UTC), now - _LONGEST) if days else now
    rows = read_predictions(project.predictions, project.model, start, now)
    alarming = () if with_alerts else _alarming(state, project.model, monitor.name)
    quiet = rows.filter(~_within(rows["at"], alarming))
    half = _half(monitor, quiet)
    least = max(monitor.min_rows // 4, 1)
    blocks = cut_blocks(quiet, quiet["at"], start, half, least)
    if len(blocks) < _FEWEST:
        raise _too_short(monitor, len(blocks), half, least, with_alerts)
    reference = load_reference(project, version)
    excluded = () if monitor.data_drift is None else monitor.data_drift.exclude
    shift = _shift(monitor, half)
    features = {
        place: features_of(each).drop(literal_names(excluded), strict=False) for place, each in blocks.items()
    }
    moves = usual_moves(features, shift or reference.features.drop(literal_names(excluded), strict=False))
    own = {place: each.filter(pl.col("version") == version) for place, each in blocks.items()}
    own = {place: each for place, each in own.items() if each.height >= least}
    scores = {place: each.select("score") for place, each in own.items()}
    answers = {place: _classes(project, each["answer"]) for place, each in own.items()}
    known = {place: each for place, each in answers.items() if each is not None}
    classes = _classes(project, reference.answers)
    of_scores = usual_moves(scores, shift or reference.scores.alias("score").to_frame()).distances
    of_classes = {} if classes is None or not known else usual_moves(known, shift or classes).distances
    apart = of_classes.get("class")
    return MeasuredThresholds(
        Window(start, now), moves.windows, moves.draws, rows.height - quiet.height,
        _higher(monitor, moves), min(rounded_up(moves.missing), 1.0),
        rounded_up(of_scores["score"]) if "score" in of_scores else None,
        None if apart is None else min(rounded_up(apart), _MOST_CLASSES_APART),
    )  # fmt: skip


def _too_short(
    monitor: Monitor, blocks: int, half: timedelta, least: int, with_alerts: bool
) -> MonitoringError:
    without = "" if with_alerts else f", without the windows of alerts of monitor {monitor.name!r},"
    has = f"the log{without} has {counted(blocks, 'half window')} ({_length(half)})"
    return MonitoringError(
        f"too little of the past is usual: {has} of at least {least:,} predictions; {_FEWEST} are needed",
        hint="wait for more predictions, or give the monitor a shorter `window`"
        if with_alerts
        else "wait for more of them; `--with-alerts` takes those with alerts for usual, too",
    )


def _length(time: timedelta) -> str:
    """Return a length of time in the largest unit that it has one of.

    >>> _length(timedelta(days=45, hours=12)), _length(timedelta(hours=1)), _length(timedelta(minutes=90))
    ('45.5 days', '1 hour', '1.5 hours')
    """
    units = (("day", 86400), ("hour", 3600), ("minute", 60), ("second", 1))
    unit, seconds = next(u for u in units if time.total_seconds() >= u[1] or u[1] == 1)
    many = round(time.total_seconds() / seconds, 1)
    return f"{many:g} {unit}" if many == 1 else f"{many:,g} {unit}s"


def _half(monitor: Monitor, rows: pl.DataFrame) -> timedelta:
    """Return half of the window; of one of the latest predictions, the time that so many take on average."""
    if not isinstance(monitor.window, LatestRows):
        return monitor.window / 2
    first, last = rows["at"].min(), rows["at"].max()
    if not isinstance(first, datetime) or not isinstance(last, datetime) or first == last:
        return timedelta(days=1)
    return max((last - first) * monitor.window.rows / rows.height / 2, timedelta(seconds=1))


def _shift(monitor: Monitor, half: timedelta) -> int:
    """Return how many halves earlier the rows are that a window is compared with; 0 for training rows."""
    if isinstance(monitor.against, Season):
        return max(round(monitor.against.season / half), 2)
    return 2 if monitor.against == "previous" else 0


def _alarming(state: State, model: str, monitor: str) -> list[Window]:
    query = select(MonitorRun).where(
        MonitorRun.model == model, MonitorRun.monitor == monitor, MonitorRun.verdict == "alert"
    )
    spans = noise_spans(state, model, monitor)
    with state.transaction() as session:
        runs = [run for run in session.scalars(query) if not is_noise(run, spans)]
        return [Window(utc(run.window_start), utc(run.window_end)) for run in runs]


def is_noise(run: Any, spans: Sequence[tuple[str, datetime, datetime]]) -> bool:
    """Return whether all that a run found was marked as noise.

    Args:
        run: the record of an alarming run.
        spans: of each marked alert its kind, when it was raised, and when it was marked.
    """
    found = [each["kind"] for each in run.results.get("findings", ())]
    return bool(found) and all(
        any(kind == one and since <= run.at <= until for one, since, until in spans) for kind in found
    )


def noise_spans(state: State, model: str, monitor: str) -> list[tuple[str, datetime, datetime]]:
    """Return of each alert of a monitor that was marked as noise its kind, when it was raised and marked."""
    of = Alert.model == model, Alert.monitor == monitor, AlertStep.step == NOISE
    query = select(Alert.kind, Alert.raised_at, AlertStep.at).join(AlertStep, Alert.id == AlertStep.alert_id)
    with state.transaction() as session:
        return [(kind, since, until) for kind, since, until in session.execute(query.where(*of))]


def _within(at: pl.Series, windows: Sequence[Window]) -> pl.Series:
    found = pl.Series([False] * len(at), dtype=pl.Boolean)
    for window in windows:
        found = found | ((at >= window.start) & (at < window.end))
    return found


def _classes(project: Project, answers: pl.Series | None) -> pl.DataFrame | None:
    found = categories_of(project.task, answers)
    return None if found is None else found.alias("class").to_frame()


def _higher(monitor: Monitor, moves: UsualMoves) -> dict[str, float]:
    """Return the thresholds of features that usually move further than the monitor allows."""
    drift = monitor.data_drift
    if drift is None:
        return {}
    found = {}
    for name, distance in moves.distances.items():
        number = moves.methods[name] == "wasserstein"
        allowed = drift.thresholds.get(name, drift.numerical if number else drift.categorical)
        if distance > allowed:
            found[name] = rounded_up(distance) if number else min(rounded_up(distance), _MOST_CLASSES_APART)
    return found
