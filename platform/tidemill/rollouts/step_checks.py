"""Decides whether a canary gets a larger share, waits or ends: plain rules over numbers, no engine."""

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from tidemill.digits import digits_apart
from tidemill.plurals import agreeing, counted
from tidemill.rollouts.group_differences import Difference
from tidemill.rollouts.live_proof import Proof
from tidemill.serving.observability.version_counters import Count, calls_above, quantile
from tidemill.tasks.natural_metric import metric_of

if TYPE_CHECKING:
    from tidemill.project.serve_config import RolloutConfig

__all__ = ["CanaryMetrics", "Verdict", "judge"]

_FEW_FAILURES = 3
_FEW_CALLS = 20
_CHANCE = 0.001
"""Below this probability slow calls are no accident; the checks look every few seconds."""

Action = Literal["wait", "advance", "roll_back"]


@dataclass(frozen=True)
class CanaryMetrics:
    """The metrics of a canary in the present step."""

    minutes: float
    """Since the step began."""
    replicas: int
    """How many are alive."""
    loaded: int
    """How many of these have loaded the canary."""
    unloadable: str | None
    """Why a replica cannot load it; None if all can."""
    canary: Count
    """Counts since the step began."""
    champion: Count
    """Since the rollout began: in the last step there is nothing left for it to answer."""
    quality: Difference | None = None
    """With labels, since the rollout began; none if there are too few."""
    estimate: Difference | None = None
    """Without labels; none if it is not needed, or there is too little."""
    scores: Difference | None = None
    """The mean scores; keys are divided at random, so the truth behind them is the same."""
    contradicted: str | None = None
    """The kind of an open alert by which labels say that the champion's scores are not what they were."""
    proof: Proof | None = None
    """Whether it is better on live rows; None where the step asks for no proof."""


@dataclass(frozen=True)
class Verdict:
    """What a rollout does next, and why."""

    action: Action
    reason: str
    checks: tuple[str, ...]
    """One sentence a check, the failed ones first."""
    numbers: dict[str, Any] = field(default_factory=dict)


def judge(plan: "RolloutConfig", step: int, facts: CanaryMetrics) -> Verdict:
    """Decide whether a rollout goes on to its next step, waits, or goes back.

    A failed check ends it at once; the others must pass for the time and the requests of the step. A check
    with too little data says so and does not delay the rollout, which waits only for the step's requests.

    >>> from tidemill.project.serve_config import RolloutConfig
    >>> canary = Count(answered=40, failed=10, error="ValueError: no")
    >>> facts = CanaryMetrics(1.0, 2, 2, None, canary, Count(answered=900))
    >>> verdict = judge(RolloutConfig(), 0, facts)
    >>> verdict.action, verdict.reason
    ('roll_back', 'it could not score 10 of 50 rows (20.0 %, allowed are 1.0 %): ValueError: no')
    """
    checks = [_loads(facts), _errors(plan, facts), _latency(plan, facts), *_quality(plan, facts)]
    bad = [sentence for passed, sentence in checks if passed is False]
    said = tuple(bad + [sentence for passed, sentence in checks if passed is not False])
    numbers = _numbers(facts)
    if bad:
        return Verdict("roll_back", bad[0], said, numbers)
    wanted, late = plan.steps[step], plan.late_after(step)
    missing = _missing(wanted.minutes, wanted.requests, facts)
    if not missing and facts.canary.error_rate > plan.max_errors:
        missing = "some rows failed, too few to tell"
    if not missing and (proof := facts.proof) is not None:
        said = (proof.said, *said)
        if proof.passed is False:
            return Verdict("roll_back", f"it is not better on live rows: {proof.said}", said, numbers)
        missing = "" if proof.passed else proof.said
    if missing and late is not None and facts.minutes > late * 60:
        why = f"the step did not end within {late:g} hours: {missing}"
        return Verdict("roll_back", why, (why, *said), numbers)
    if missing:
        return Verdict("wait", missing, said, numbers)
    return Verdict("advance", _good(facts), said, numbers)


def _missing(minutes: float, requests: int, facts: CanaryMetrics) -> str:
    if not facts.replicas:
        return "no replica is alive"
    if facts.loaded < facts.replicas:
        have = agreeing(facts.loaded, "has", "have")
        return f"{facts.loaded} of {counted(facts.replicas, 'replica')} {have} loaded it"
    if facts.canary.answered < requests:
        return f"{facts.canary.answered:,} of {counted(requests, 'row')} answered"
    if facts.minutes < minutes:
        return f"{facts.minutes:.1f} of {minutes:g} minutes over"
    return ""


def _loads(facts: CanaryMetrics) -> tuple[bool | None, str]:
    if facts.unloadable is not None:
        return False, f"a replica cannot load it: {facts.unloadable}"
    verb = agreeing(facts.loaded, "answers", "answer")
    return None, f"{facts.loaded} of {counted(facts.replicas, 'replica')} {verb} with it"


def _errors(plan: "RolloutConfig", facts: CanaryMetrics) -> tuple[bool | None, str]:
    count = facts.canary
    asked = count.answered + count.failed
    said = (
        f"it could not score {count.failed:,} of {counted(asked, 'row')} ({count.error_rate * 100:.1f} %, "
        f"allowed are {plan.max_errors * 100:.1f} %)"
    )
    if count.failed >= _FEW_FAILURES and count.error_rate > plan.max_errors:
        return False, f"{said}: {count.error}" if count.error else said
    return True, said


def _latency(plan: "RolloutConfig", facts: CanaryMetrics) -> tuple[bool | None, str]:
    calls = [sum(count.seconds.values()) for count in (facts.canary, facts.champion)]
    if min(calls) < _FEW_CALLS:
        return None, f"latency: {calls[0]:,} and {calls[1]:,} calls of the models are too few to compare"
    mine, theirs = (1000 * (quantile(c.seconds, 0.99) or 0.0) for c in (facts.canary, facts.champion))
    said = (
        f"p99 of a call of the model {mine:.2f} ms, the champion's {theirs:.2f} ms (allowed is "
        f"{plan.max_latency_ratio:g} times that, and always {plan.free_ms:g} ms more)"
    )
    allowed = max(plan.max_latency_ratio * theirs, theirs + plan.free_ms)
    if mine <= allowed:
        return True, said
    slow = calls_above(facts.canary.seconds, allowed / 1000)
    # Of a hundred calls one is the p99: what waited for the processor once is no slow version.
    if _chance_of_more(slow, calls[0], 0.01) >= _CHANCE:
        return None, f"{said}: {counted(slow, 'slow call')} of {calls[0]:,} may be chance"
    return False, said


def _chance_of_more(slow: int, calls: int, share: float) -> float:
    """Return the probability that at least ``slow`` of ``calls`` are slow if ``share`` of all are.

    >>> round(_chance_of_more(2, 100, 0.01), 2), _chance_of_more(20, 100, 0.01) < 1e-9
    (0.26, True)
    """
    if slow > 2 * share * calls + 100:  # of many calls: beyond doubt
        return 0.0
    fewer = range(slow)
    return 1 - math.fsum(math.exp(_log_of_binomial(n, calls, share)) for n in fewer)


def _log_of_binomial(slow: int, calls: int, share: float) -> float:
    ways = math.lgamma(calls + 1) - math.lgamma(slow + 1) - math.lgamma(calls - slow + 1)
    return ways + slow * math.log(share) + (calls - slow) * math.log1p(-share)


def _quality(plan: "RolloutConfig", facts: CanaryMetrics) -> list[tuple[bool | None, str]]:
    if facts.quality is not None:
        found = facts.quality
        allowed = plan.loss_allowed(found.name, found.theirs)
        return [(found.high >= -allowed, f"{_sentence(found)}; a loss of {allowed:.3g} is allowed")]
    if facts.contradicted is not None:
        return [
            (
                None,
                f"quality: no estimate counts while labels contradict the champion's scores (alert "
                f"{facts.contradicted}), and both versions have too few labels",
            )
        ]
    checks: list[tuple[bool | None, str]] = []
    if facts.estimate is not None:
        found = facts.estimate
        passed = found.high >= -plan.loss_allowed(found.name.removeprefix("expected "), found.theirs)
        checks.append((passed, f"no labels yet: {_sentence(found)}, if both versions' scores are calibrated"))
    if facts.scores is not None and plan.max_score_gap is not None:
        found, gap = facts.scores, plan.max_score_gap
        checks.append(
            (
                found.low <= gap and found.high >= -gap,
                f"{_sentence(found)}; keys are divided at random, so scores that can be trusted agree within "
                f"{gap:g}",
            )
        )
    return checks or [(None, "quality: there are neither labels nor scores enough to judge by")]


def _sentence(found: Difference) -> str:
    digits, metric = digits_apart((found.ours, found.theirs)), metric_of(found.name)
    gain = f"{metric.remark}: a gain of" if metric.remark else ":"
    return (
        f"{metric.said(found.ours, digits)}, the champion's {metric.number(found.theirs, digits)}{gain} "
        f"{found.gain:+.{digits}f} (95 % sure: {found.low:+.4f} to {found.high:+.4f}; "
        f"{found.answers[0]:,} and {found.answers[1]:,} answers)"
    )


def _good(facts: CanaryMetrics) -> str:
    if facts.quality is not None:
        return "errors, latency and quality are as they should be"
    if facts.estimate is not None:
        return "errors, latency and estimated quality are as they should be"
    return "errors and latency are as they should be; quality could not be judged"


def _numbers(facts: CanaryMetrics) -> dict[str, Any]:
    return {
        "minutes": round(facts.minutes, 2),
        "replicas": facts.replicas,
        "answered": facts.canary.answered,
        "failed": facts.canary.failed,
        "p99_ms": [
            None if seconds is None else round(1000 * seconds, 3)
            for seconds in (quantile(count.seconds, 0.99) for count in (facts.canary, facts.champion))
        ],
        **{
            name: None if found is None else [found.gain, found.low, found.high]
            for name, found in (
                ("quality", facts.quality),
                ("estimate", facts.estimate),
                ("scores", facts.scores),
            )
        },
        **({} if facts.proof is None else {"proof": facts.proof.numbers}),
    }
