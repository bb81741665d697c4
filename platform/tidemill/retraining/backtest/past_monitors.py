"""Evaluates a project's monitors on its past, by the functions that production uses."""

from collections.abc import Callable, Hashable, Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import polars as pl

from tidemill.data.tables.column_names import literal_name
from tidemill.monitoring.findings import Findings
from tidemill.monitoring.kinds.kind_table import TABLE, gather, judge_window
from tidemill.monitoring.monitor_config import Monitor
from tidemill.monitoring.windows.logged_windows import span_compared
from tidemill.monitoring.windows.time_windows import Window, due_at, window_before
from tidemill.monitoring.windows.window_rows import WindowRows
from tidemill.prediction_log.log_records import FEATURE_PREFIX
from tidemill.project import Project
from tidemill.retraining.backtest.fitted_models import Fitted
from tidemill.retraining.policies import Policy
from tidemill.retraining.policy_facts import AlertFact
from tidemill.retraining.situation import alert_fact
from tidemill.state.tables import Alert
from tidemill.tasks.task import Answers

__all__ = ["PastMonitors", "never_heard"]

_CHAMPION = "champion"
_PLAYED = frozenset({"data_drift", "prediction_drift", "quality", "concept_drift", "calibration", "fairness"})
"""The kinds that need no more than features, answers and labels."""
_HEARD = frozenset(kind for section in _PLAYED for kind in TABLE[section].finds)


class PastMonitors:
    """The alerts that a project's monitors would have raised about one champion after the other.

    Args:
        project: whose task and columns count.
        monitors: those that run.
        features: the columns that models learn from.
        once: returns what was found for a key, and does the work if nobody has; default: it is done again.
    """

    def __init__(
        self,
        project: Project,
        monitors: Sequence[Monitor],
        features: tuple[str, ...],
        once: Callable[[Hashable, Callable[[], Findings]], Findings] = lambda _, work: work(),
    ) -> None:
        self._project, self._monitors, self._features = project, monitors, features
        self._once = once
        self._last: dict[str, datetime] = {}
        self._seen: dict[tuple[str, str], tuple[int, AlertFact]] = {}
        """(monitor, kind) → in how many runs in a row it was found, and the alert."""

    def forget(self) -> None:
        """Resolve all alerts, as when another version serves."""
        self._seen.clear()

    def alerts(
        self, champion: Fitted, since: datetime, rows: pl.DataFrame, answers: Answers, now: datetime
    ) -> list[AlertFact]:
        """Run the monitors that are due, and return the alerts that fire.

        Args:
            champion: the version that serves.
            since: from when on it has.
            rows: the rows of the past.
            answers: of the champion to each of the rows.
            now: nothing later is looked at.
        """
        for monitor in self._monitors:
            if due_at(monitor.every, self._last.get(monitor.name), now) is None:
                continue
            self._last[monitor.name] = now
            judge = partial(self._judge, monitor, champion, since, rows, answers, now)
            self._note(monitor, self._once((monitor.name, champion.key, since, now), judge), now)
        enough = {monitor.name: monitor.persistence for monitor in self._monitors}
        return [alert for (name, _), (times, alert) in self._seen.items() if times >= enough[name]]

    def _judge(
        self,
        monitor: Monitor,
        champion: Fitted,
        since: datetime,
        rows: pl.DataFrame,
        answers: Answers,
        now: datetime,
    ) -> Findings:
        dataset = self._project.config.dataset
        at, moments = pl.col(literal_name(dataset.time_column)), rows[dataset.time_column]
        span = _window(monitor, moments, now)
        places = rows.select(pl.arg_where((at >= span.start) & (at < span.end))).to_series()
        if len(places) < monitor.min_rows:
            return Findings((), frozenset(), {})
        logged = self._as_logged(rows[places], answers[places.to_numpy()], since)

        def past(earlier: Window) -> pl.DataFrame:
            there = rows.select(pl.arg_where((at >= earlier.start) & (at < earlier.end))).to_series()
            return self._as_logged(rows[there], answers[there.to_numpy()], since)

        labelled = logged.filter((pl.col("version") == _CHAMPION) & (pl.col("known") <= now))
        expected, reference = champion.metrics.get, champion.reference
        window = WindowRows(
            self._project,
            monitor,
            _CHAMPION,
            lambda metric: expected(metric),
            span,
            reference,
            logged,
            labelled,
            compared_span=_compared(monitor, moments, span),
            past=past,
        )
        return gather(judge_window(window, only=_PLAYED))

    def _as_logged(self, rows: pl.DataFrame, answers: Answers, since: datetime) -> pl.DataFrame:
        """Return rows and answers as the prediction log has them; before ``since`` another version's."""
        dataset, task = self._project.config.dataset, self._project.task
        given = [task.label_given(value) for value in rows[dataset.label].to_list()]
        return pl.DataFrame(
            {
                "prediction_id": pl.int_range(rows.height, eager=True).cast(pl.String),
                "version": (rows[dataset.time_column] >= since).replace_strict({True: _CHAMPION, False: ""}),
                "at": rows[dataset.time_column],
                "known": rows[dataset.label_known or dataset.time_column],
                "score": pl.Series(task.scores(answers), dtype=pl.Float64),
                "answer": pl.Series([task.logged(answer) for answer in answers], dtype=pl.String),
                "label": pl.Series([label for label, _ in given], dtype=pl.Int64),
                "target": pl.Series([target for _, target in given], dtype=pl.String),
                **{f"{FEATURE_PREFIX}{name}": rows[name] for name in self._features},
            }
        )

    def _note(self, monitor: Monitor, findings: Findings, now: datetime) -> None:
        found = {finding.kind: finding for finding in findings.found}
        for gone in findings.judged - found.keys():
            self._seen.pop((monitor.name, gone), None)
        for kind, finding in found.items():
            times, before = self._seen.get((monitor.name, kind), (0, None))
            raised = before.raised_at if before else now
            alert = _alert(monitor.name, kind, finding.message, finding.details, raised, now)
            self._seen[monitor.name, kind] = times + 1, alert


def never_heard(policies: Sequence[Policy]) -> tuple[str, ...]:
    """Return a sentence for each policy about what asks it for a turn and does not happen in a play.

    >>> asked = {"name": "prices", "any": [{"webhook": "PricesChanged"}, "health", "feature_drift"]}
    >>> never_heard([Policy.model_validate(asked)])
    ('what would ask prices for a turn, and is not played: webhook PricesChanged, health',)
    """
    found = {
        policy.name: [
            str(each)
            for each in policy.mentioned
            if each.webhook is not None or (each.alert is not None and each.alert not in _HEARD)
        ]
        for policy in policies
    }
    return tuple(
        f"what would ask {name} for a turn, and is not played: {', '.join(said)}"
        for name, said in found.items()
        if said
    )


def _window(monitor: Monitor, moments: pl.Series, now: datetime) -> Window:
    if isinstance(monitor.window, timedelta):
        return window_before(now, monitor.window)
    first = moments.filter(moments < now).top_k(monitor.window.rows).min()
    return Window(first if isinstance(first, datetime) else now, now)


def _compared(monitor: Monitor, moments: pl.Series, span: Window) -> Window | None:
    if isinstance(monitor.window, timedelta) or monitor.against != "previous":
        return span_compared(monitor.against, span)
    return _window(monitor, moments, span.start)


def _alert(
    monitor: str, kind: str, message: str, details: Mapping[str, Any], raised: datetime, now: datetime
) -> AlertFact:
    """Return an alert as policies see one of production."""
    found = Alert(
        id=f"{monitor}/{kind}", monitor=monitor, kind=kind, message=message, details=dict(details),
        raised_at=raised, last_seen_at=now,
    )  # fmt: skip
    return alert_fact(found)
