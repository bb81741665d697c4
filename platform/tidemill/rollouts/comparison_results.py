"""The results of comparing versions that are deployed at the same time, and what they show, in sentences."""

from dataclasses import dataclass, field

from tidemill.plurals import agreeing, counted
from tidemill.rollouts.group_differences import Difference, SampleRatioCheck
from tidemill.tasks.natural_metric import metric_of

__all__ = ["Agreement", "Comparison", "agreement_conclusions", "conclusions"]


@dataclass(frozen=True)
class Comparison:
    """A version against the champion, on different keys."""

    role: str
    version: str
    champion: str
    share: float
    answers: tuple[int, int]
    """The version's, the champion's; those of times at which both answered."""
    keys: tuple[int, int]
    labelled: tuple[int, int]
    quality: Difference | None
    """By the gate's metric; none without enough labels."""
    score: Difference | None
    decisions: tuple[Difference, ...]
    """Of each field of the decision: how its mean, or the share of each of its values, differs."""
    mismatch: SampleRatioCheck | None
    """Whether the keys are divided by the declared shares, since the shares last changed."""
    says: tuple[str, ...] = field(default=())
    """Conclusions, in sentences."""


@dataclass(frozen=True)
class Agreement:
    """A version against the champion, on the same requests."""

    role: str
    version: str
    champion: str
    answers: int
    mean_difference: float | None
    """Mean absolute difference of the scores."""
    largest_difference: float | None
    changed: float | None
    """Share of the decisions that differ."""
    other_class: float | None
    """Share of the answers that are another class; None where answers are no classes."""
    quality: Difference | None
    says: tuple[str, ...] = field(default=())


def conclusions(found: Comparison, metric: str) -> list[str]:
    """Return what a comparison by a metric, as it is on record, shows, in sentences."""
    says, named = [], metric_of(metric)
    if found.mismatch is not None and found.mismatch.found:
        says.append(
            f"do not trust this: {found.mismatch.keys[0]:,} and {found.mismatch.keys[1]:,} keys cannot be a "
            f"division of {found.mismatch.expected[0]:,.0f} to {found.mismatch.expected[1]:,.0f} "
            f"(p = {found.mismatch.p_value:.1g}): something loses or repeats keys of one version"
        )
    quality = found.quality
    if quality is None:
        says.append(
            f"{named.name} cannot be compared yet: {counted(found.labelled[0], 'answer')} of version "
            f"{found.version} and {found.labelled[1]:,} of the champion have labels"
        )
    elif quality.certain:
        better = "better" if quality.gain > 0 else "worse"
        says.append(
            f"version {found.version} is {better} than champion {found.champion}: "
            f"{named.said(quality.ours)} instead of {named.number(quality.theirs)}{named.remark}, a gain of "
            f"{quality.gain:+.4f}, with 95 % confidence {quality.low:+.4f} to {quality.high:+.4f}"
        )
    else:
        says.append(
            f"no difference in {named.name} is certain yet: a gain of {quality.gain:+.4f}, "
            f"with 95 % confidence {quality.low:+.4f} to {quality.high:+.4f}; a difference of "
            f"±{(quality.high - quality.low) / 2:.4f} would be certain"
        )
    differing = [one for one in (found.score, *found.decisions) if one is not None and one.certain]
    says += [
        f"{one.name}: {one.ours:.4f} instead of {one.theirs:.4f} ({one.low:+.4f} to {one.high:+.4f})"
        for one in differing
    ]
    return says


def agreement_conclusions(found: Agreement) -> list[str]:
    """Return what an agreement shows, in sentences."""
    if not found.answers:
        return ["there is nothing to compare yet"]
    says = [f"{counted(found.answers, 'request')} {agreeing(found.answers, 'was', 'were')} answered by both"]
    if found.mean_difference is not None and found.largest_difference is not None:
        says = [
            f"on {counted(found.answers, 'request')} the scores differ by {found.mean_difference:.4f} on "
            f"average, by {found.largest_difference:.4f} at most"
        ]
    if found.other_class is not None:
        says.append(f"{found.other_class * 100:.1f} % of the answers would have been another class")
    if found.changed is not None:
        says.append(f"{found.changed * 100:.1f} % of the decisions would have been different")
    if found.quality is not None:
        sure = "certain" if found.quality.certain else "not certain"
        named = metric_of(found.quality.name)
        says.append(
            f"{named.said(found.quality.ours)} instead of {named.number(found.quality.theirs)}"
            f"{named.remark}: the gain of {found.quality.gain:+.4f} is {sure} "
            f"({found.quality.low:+.4f} to {found.quality.high:+.4f} with 95 % confidence)"
        )
    return says
