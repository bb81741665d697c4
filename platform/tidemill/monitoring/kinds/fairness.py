"""Judges differences between groups of rows: of the metric, and of the share of positive answers.

Each group is compared with all other rows. A gap counts if it is larger than is allowed, and larger than
chance brings to any group of the window in one of a hundred windows.
"""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import polars as pl

from tidemill.errors import ConfigError
from tidemill.monitoring.drift.chance import rare_deviation, share_beyond_chance
from tidemill.monitoring.example_predictions import worst_ids
from tidemill.monitoring.findings import Finding, Judged
from tidemill.monitoring.kind_sections import FairnessConfig
from tidemill.monitoring.windows.request_columns import request_column
from tidemill.monitoring.windows.window_rows import WindowRows
from tidemill.plurals import counted
from tidemill.tasks.task import Answers, Task
from tidemill.tasks.task_names import loss_name

__all__ = ["judge"]

Floats = npt.NDArray[np.float64]
_MOST_GROUPS = 20
_FEW = 20
_PARTS = 4
_RESAMPLES = 50
_NAMED = 3


@dataclass(frozen=True)
class Gap:
    """A group beside all other rows."""

    column: str
    group: str
    what: str
    """The metric, or ``positive_rate``."""
    value: float
    others: float
    rows: int
    allowed: float
    standard_error: float | None
    """Of the difference, of metrics."""

    @property
    def size(self) -> float:
        """Return how far apart they are; of metrics how much worse the group is."""
        return abs(self.value - self.others) if self.what == "positive_rate" else self.others - self.value


def judge(window: WindowRows, config: FairnessConfig) -> Judged:
    """Compare each group that has enough rows with the others.

    Raises:
        ConfigError: neither the features nor the requests have a column that is named.
    """
    task = window.task.judged_by(config.metric)
    gaps = [*_metric_gaps(window, task, config), *_rate_gaps(window, task, config)]
    if not gaps:
        told = f"no two groups of {', '.join(config.by)} have {config.min_rows} rows"
        return Judged(unjudged=f"{told} ({window.labelled.height:,} labelled predictions)")
    limit = rare_deviation(len(gaps))
    wide = [gap for gap in gaps if gap.size > gap.allowed and _beyond_chance(gap, window, limit, len(gaps))]
    wide.sort(key=lambda gap: gap.size / gap.allowed, reverse=True)
    nearest = max(gaps, key=lambda gap: gap.size / gap.allowed)
    more = f"; and {len(wide) - _NAMED} more" if len(wide) > _NAMED else ""
    listed = "; ".join(map(_in_words, wide[:_NAMED]))
    details = {"groups": [asdict(gap) for gap in wide], "about": sorted({gap.column for gap in wide})}
    return Judged(
        found=(Finding("fairness", listed + more, details),) if wide else (),
        results={"fairness": {"by": list(config.by), "groups": [asdict(gap) for gap in gaps]}},
        examples={"fairness": _examples(wide[0], window, task, config)} if wide else {},
        said=f"largest gap of {len(gaps)} compared: {_in_words(nearest)}"
        + (", within chance" if nearest.size > nearest.allowed and nearest not in wide else ""),
    )


def _examples(gap: Gap, window: WindowRows, task: Task, config: FairnessConfig) -> list[str]:
    """Return ids of the group that show the gap: the largest losses, or what it is answered too often."""
    of_rate = gap.what == "positive_rate"
    rows = window.own if of_rate else task.labelled_in_log(window.labelled)
    groups = _groups(rows, window, config)
    inside = next(each for column, group, each in groups if (column, group) == (gap.column, gap.group))
    rows = rows.filter(pl.Series(inside))
    answers = task.given_in_log(rows)
    if not of_rate:
        losses = task.losses(task.truth_of_log(rows), answers)
        return worst_ids(rows["prediction_id"], pl.Series(losses).fill_nan(None))
    odd = answers - config.threshold if gap.value > gap.others else config.threshold - answers
    return worst_ids(rows["prediction_id"], pl.Series(odd))


def _beyond_chance(gap: Gap, window: WindowRows, limit: float, tests: int) -> bool:
    if gap.standard_error is not None:
        return gap.size > limit * gap.standard_error
    return share_beyond_chance(gap.others, gap.value, (window.own.height - gap.rows, gap.rows), tests)


def _in_words(gap: Gap) -> str:
    loss = loss_name(gap.what)
    name, sign = (gap.what.rpartition(":")[2].replace("_", " "), 1) if loss is None else (loss, -1)
    return (
        f"{gap.column} {gap.group}: {name} {sign * gap.value:.4g}, {sign * gap.others:.4g} for all others "
        f"(allowed: {gap.allowed:.3g} apart; {counted(gap.rows, 'row')})"
    )


def _metric_gaps(window: WindowRows, task: Task, config: FairnessConfig) -> Iterator[Gap]:
    rows = task.labelled_in_log(window.labelled)
    if rows.height < window.monitor.min_labelled:
        return
    truth, answers = task.truth_of_log(rows), task.given_in_log(rows)
    sound = task.sound(answers)
    overall = task.evaluate(truth[sound], answers[sound])[task.metric]
    allowed = config.gap_allowed(task.metric, overall)
    for column, group, inside in _groups(rows, window, config):
        sides = [_with_error(task, truth[side], answers[side]) for side in (inside & sound, ~inside & sound)]
        (value, error), (others, others_error) = sides
        if np.isfinite([value, others, error, others_error]).all():
            apart = float(np.hypot(error, others_error))
            yield Gap(column, group, task.metric, value, others, int(inside.sum()), allowed, apart)


def _with_error(task: Task, truth: npt.NDArray[np.float64], answers: Answers) -> tuple[float, float]:
    """Return the metric and its standard error, by a bootstrap."""
    measure = task.measure(task.metric, truth, answers)
    draw = np.random.default_rng(len(truth))
    with np.errstate(invalid="ignore", divide="ignore"):
        found = measure(draw.poisson(1.0, (_RESAMPLES, len(truth))).astype(np.float64))
        value = float(measure(np.ones((1, len(truth))))[0])
    found = found[np.isfinite(found)]
    return value, float(found.std(ddof=1)) if len(found) > 1 else float("nan")


def _rate_gaps(window: WindowRows, task: Task, config: FairnessConfig) -> Iterator[Gap]:
    if task.kind != "binary":
        return
    positive = np.asarray(task.given_in_log(window.own) >= config.threshold)
    for column, group, inside in _groups(window.own, window, config):
        rate, others = (float(positive[side].mean()) for side in (inside, ~inside))
        yield Gap(column, group, "positive_rate", rate, others, int(inside.sum()), config.max_rate_gap, None)


def _groups(
    rows: pl.DataFrame, window: WindowRows, config: FairnessConfig
) -> Iterator[tuple[str, str, npt.NDArray[np.bool_]]]:
    """Yield column and name of each group with enough rows inside and outside, and which rows are inside."""
    for column in config.by:
        values = request_column(rows, column)
        if values is None:
            raise ConfigError(
                f"monitor {window.monitor.name!r}: fairness.by names {column!r}, which is neither a feature "
                "nor a field of the requests",
                hint="correct the name in monitoring/monitors.yaml",
            )
        if values.dtype.is_nested():
            raise ConfigError(
                f"monitor {window.monitor.name!r}: fairness.by names {column!r}, whose values "
                "are lists: they make no groups",
                hint="name a column of text or numbers in monitoring/monitors.yaml",
            )
        like = window.reference.features.get_column(column, default=values)
        groups = _as_groups(values.alias("values"), like.alias("like"))
        names = groups.fill_null("missing")
        counts = names.value_counts(sort=True)
        for name, count in counts.head(_MOST_GROUPS).iter_rows():
            if min(count, rows.height - count) >= config.min_rows:
                yield column, str(name), (names == name).to_numpy()


def _as_groups(values: pl.Series, like: pl.Series) -> pl.Series:
    """Return the group of each row as text; of many numbers the quarter of the reference that they are in."""
    if not values.dtype.is_numeric() or values.n_unique() <= _FEW or not like.dtype.is_numeric():
        whole = values.dtype.is_float() and (values.drop_nulls() % 1 == 0).all()
        return (values.cast(pl.Int64) if whole else values).cast(pl.String).alias("group")
    known = like.cast(pl.Float64).fill_nan(None).drop_nulls().to_numpy()
    if not len(known):
        return _as_groups(values, values)
    edges = np.unique(np.quantile(known, np.arange(1, _PARTS) / _PARTS))
    said = _apart(edges)
    texts = [f"below {said[0]}", *(f"{a} to {b}" for a, b in pairwise(said)), f"from {said[-1]}"]
    numbers = values.cast(pl.Float64).fill_nan(None)
    places = np.searchsorted(edges, numbers.fill_null(0.0).to_numpy(), side="right")
    named = pl.Series("group", [texts[place] for place in places], pl.String)
    return pl.select(pl.when(numbers.is_not_null()).then(named)).to_series().alias("group")


def _apart(edges: Floats) -> list[str]:
    """Return different numbers in few digits, by which they differ."""
    texts = ([f"{edge:.{digits}g}" for edge in edges] for digits in range(4, 18))
    return next(said for said in texts if len(set(said)) == len(said))
