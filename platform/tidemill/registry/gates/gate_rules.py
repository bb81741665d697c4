"""The rules that a candidate must meet to become champion: plain comparisons of numbers, no engine."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tidemill.digits import digits_apart
from tidemill.plurals import counted
from tidemill.tasks.natural_metric import metric_of
from tidemill.tasks.task_names import is_perfect

if TYPE_CHECKING:
    from tidemill.project.project_config import GateConfig
    from tidemill.tasks.paired_bootstrap import Interval

__all__ = ["Evaluation", "Verdict", "decide"]

_ROUNDING = 1e-12  # 0.73 - 0.72 is not 0.01 in floating point


_ALL_EXPLAINED = 1 - 1e-6


@dataclass(frozen=True)
class Evaluation:
    """The metrics of one version on the hold-out."""

    version: str
    metrics: Mapping[str, float]
    """The result of `tidemill.tasks.task.Task.evaluate`; empty if the version could not score the rows."""
    rows: int
    problems: tuple[str, ...] = ()
    """Why the version could not be judged on these rows, one sentence each."""
    service: str | None = None
    """The feature service that the version was trained on."""
    notes: tuple[str, ...] = ()
    """What a reader of the decision should know, one sentence each; they refuse nothing."""


@dataclass(frozen=True)
class Verdict:
    """The gate's decision and its reasons."""

    passed: bool
    reasons: tuple[str, ...]
    """One sentence a check, each with its numbers, those that failed first."""
    numbers: Mapping[str, Any] = field(default_factory=dict)


def decide(
    config: "GateConfig",
    candidate: Evaluation,
    champion: Evaluation | None,
    *,
    service: str | None = None,
    interval: "Interval | None" = None,
) -> Verdict:
    """Decide whether ``candidate`` may take the place of ``champion``.

    The rule is on the point estimates, and with ``by: interval`` on the gain's interval as well. In the
    mode ``off`` everything passes; ``dry_run`` decides like ``enforce``, but a promotion goes on anyway.

    The gain must reach ``min_gain``. With a ``min_gain`` of 0 a tie is refused: no gain, no reason to change;
    a negative one is a margin for candidates that are not much worse, and a tie passes.

    Args:
        config: the project's gate.
        candidate: the candidate on the hold-out.
        champion: the champion on the same rows; none for the first version.
        service: the feature service that the project serves from; none to skip that check.
        interval: of the gain.

    >>> from tidemill.project.project_config import GateConfig
    >>> verdict = decide(GateConfig(min_gain=0.002), Evaluation("2", {"roc_auc": 0.709}, 9000),
    ...                  Evaluation("1", {"roc_auc": 0.716}, 9000))
    >>> verdict.passed
    False
    >>> print(verdict.reasons[0])
    roc_auc 0.7090 of version 2 against 0.7160 of champion 1: a gain of -0.0070, needed is at least +0.0020
    """
    numbers = _numbers(config, candidate, champion, interval)
    if config.mode == "off":
        return Verdict(True, ("the gate is off: nothing was checked",), numbers)
    checks = [
        *_check_fairness(candidate, champion, service),
        _check_rows(config, candidate),
        *_check_metric(config, candidate, champion),
        *_check_interval(config, champion, interval),
        *_suspect(config, candidate),
    ]
    failed = tuple(reason for passed, reason in checks if not passed)
    return Verdict(not failed, failed + tuple(reason for passed, reason in checks if passed), numbers)


def _check_rows(config: "GateConfig", candidate: Evaluation) -> tuple[bool, str]:
    enough = candidate.rows >= config.min_rows
    where = "" if enough else " (gate.min_rows in params.yaml)"
    return enough, f"the hold-out has {counted(candidate.rows, 'row')}, needed are {config.min_rows:,}{where}"


def _check_fairness(
    candidate: Evaluation, champion: Evaluation | None, service: str | None
) -> list[tuple[bool, str]]:
    judged = (candidate, champion) if champion else (candidate,)
    checks = [(False, problem) for one in judged for problem in one.problems]
    checks += [(True, note) for one in judged for note in one.notes]
    if service is not None and candidate.service not in (None, service):
        checks.append((False, (
            f"version {candidate.version} was trained on feature service {candidate.service!r}, "
            f"the project serves from {service!r}"
        )))  # fmt: skip
    return checks


def _check_metric(
    config: "GateConfig", candidate: Evaluation, champion: Evaluation | None
) -> list[tuple[bool, str]]:
    name, mine = config.metric, candidate.metrics.get(config.metric, math.nan)
    metric = metric_of(name)
    if candidate.problems or (champion and champion.problems):
        return []
    if not math.isfinite(mine):
        return [
            (
                False,
                f"{metric.name} of version {candidate.version} is not a number on "
                f"{counted(candidate.rows, 'row')}",
            )
        ]
    checks = []
    if config.floor is not None:
        digits = digits_apart((mine, config.floor))
        edge = metric.number(config.floor, digits)
        allowed = f"at most {edge} is allowed" if metric.sign < 0 else f"the floor is {edge}"
        said = f"{metric.said(mine, digits)} of version {candidate.version}, {allowed}"
        checks.append((mine >= config.floor, said))
    if champion is None:
        return [
            *checks,
            (True, f"{metric.said(mine)} of version {candidate.version}: there is no champion yet"),
        ]
    theirs = champion.metrics.get(name, math.nan)
    if not math.isfinite(theirs):
        on = counted(champion.rows, "row")
        return [*checks, (False, f"{metric.name} of champion {champion.version} is not a number on {on}")]
    return [*checks, _check_gain(config, candidate.version, champion.version, mine, theirs)]


def _check_interval(
    config: "GateConfig", champion: Evaluation | None, interval: "Interval | None"
) -> list[tuple[bool, str]]:
    if config.by != "interval" or champion is None:
        return []
    if interval is None:
        return [(False, "the interval of the gain is unknown, and gate.by: interval asks for it")]
    digits = digits_apart((interval.low, interval.high), (interval.low, config.min_gain))
    needed = f"at least {config.min_gain:+.{digits}f}" if config.min_gain else "more than 0"
    return [(
        _is_enough(interval.low, config.min_gain),
        f"the 90 % interval of the gain is {interval.low:+.{digits}f} to {interval.high:+.{digits}f}, all of "
        f"it must be {needed}",
    )]  # fmt: skip


def _suspect(config: "GateConfig", candidate: Evaluation) -> list[tuple[bool, str]]:
    """Return a note where a candidate makes no mistake at all."""
    metrics = candidate.metrics
    if candidate.problems or not is_perfect(config.metric, metrics.get(config.metric, math.nan)):
        return []
    if metrics.get("r2", 1.0) < _ALL_EXPLAINED:  # in small units any error is nearly zero
        return []
    return [
        (
            True,
            f"{metric_of(config.metric).name} of version {candidate.version} is perfect, which is "
            "suspicious: check that no feature tells the label, or is known only after it",
        )
    ]


def _check_gain(
    config: "GateConfig", candidate: str, champion: str, mine: float, theirs: float
) -> tuple[bool, str]:
    """Compare the two metrics; the sentence has as many digits as tell them apart, and the gain's verdict."""
    gain, least = mine - theirs, config.min_gain
    told = [(mine, theirs)] if abs(gain) > _ROUNDING else []
    told += [(gain, edge) for edge in (0.0, least) if abs(gain - edge) > _ROUNDING]
    digits = digits_apart(*told)
    needed = f"at least {least:+.{digits}f}" if least else "more than 0"
    metric = metric_of(config.metric)
    return _is_enough(gain, least), (
        f"{metric.said(mine, digits)} of version {candidate} against {metric.number(theirs, digits)} of "
        f"champion {champion}{metric.remark}: a gain of {gain:+.{digits}f}, needed is {needed}"
    )


def _is_enough(gain: float, least: float) -> bool:
    if least >= 0 and gain <= _ROUNDING:
        return False
    return gain >= least - _ROUNDING


def _numbers(
    config: "GateConfig", candidate: Evaluation, champion: Evaluation | None, interval: "Interval | None"
) -> dict[str, Any]:
    mine = candidate.metrics.get(config.metric)
    theirs = champion.metrics.get(config.metric) if champion else None
    gain = mine - theirs if mine is not None and theirs is not None else None
    return {
        "metric": config.metric,
        "floor": config.floor,
        "min_gain": config.min_gain,
        "min_rows": config.min_rows,
        "rows": candidate.rows,
        "candidate": _finite(candidate.metrics),
        "champion": _finite(champion.metrics) if champion else None,
        "gain": gain if gain is not None and math.isfinite(gain) else None,
        "gain_interval": [interval.low, interval.high] if interval else None,
    }


def _finite(metrics: Mapping[str, float]) -> dict[str, float | None]:
    return {name: value if math.isfinite(value) else None for name, value in metrics.items()}
