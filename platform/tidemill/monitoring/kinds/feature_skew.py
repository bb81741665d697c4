"""Judges whether features were served with the values that training would see."""

from collections.abc import Sequence
from itertools import chain, islice, zip_longest

from tidemill.features.skew.skew_report import FeatureSkew, SkewReport
from tidemill.monitoring.findings import Finding, Judged
from tidemill.monitoring.kind_sections import FeatureSkewConfig
from tidemill.monitoring.windows.window_rows import WindowRows
from tidemill.plurals import counted

__all__ = ["judge"]

_NAMED = 5
_EXAMPLES = 5


def judge(window: WindowRows, config: FeatureSkewConfig) -> Judged:
    """Compare served features with those of a training set, of the rows of all versions.

    Raises:
        FeatureError: the feature store fails.
        ConfigError: the project has none.
    """
    from tidemill.monitoring.quality.skew_monitor import LogSlice, measure_skew  # Feast takes seconds

    least, wanted = window.monitor.min_rows, LogSlice(window.span.start, window.span.end)
    skew = measure_skew(window.project, wanted, config.share, config.tolerance)
    skewed = [each for each in skew.skewed if each.rows >= least]
    note = (
        f"Served beside what training would see: {skew.verdict}; {len(skew.skewed)} of "
        f"{len(skew.features)} features differ in {skew.threshold:.1%} of their rows or more."
    )
    return Judged(
        found=(_finding(skew, skewed),) if skewed else (),
        unjudged=None if skewed else _too_few_to_compare(skew, least),
        results={"feature_skew": skew.as_dict()},
        examples={"feature_skew": _examples(skewed)},
        notes=(note,),
    )


def _examples(skewed: Sequence[FeatureSkew]) -> list[str]:
    """Return ids of predictions that were served with other values, of each feature in turn."""
    in_turn = chain.from_iterable(zip_longest(*(each.examples for each in skewed)))
    return list(islice(dict.fromkeys(name for name in in_turn if name is not None), _EXAMPLES))


def _too_few_to_compare(skew: SkewReport, least: int) -> str | None:
    """Return a message that names the features with too few comparable rows to judge.

    Rows that brought a feature will never be comparable: they do not lack.
    """
    few = [each for each in skew.features if each.rows + each.brought < least]
    if not few:
        return None
    worst = min(few, key=lambda each: each.rows)
    newest = skew.reaches.get(worst.view)
    upto = f", whose newest row in the offline store is of {newest:%Y-%m-%d %H:%M} UTC" if newest else ""
    return (
        f"{len(few)} of {len(skew.features)} features: {counted(worst.rows, 'prediction')} can be compared "
        f"yet, {least} are needed (view {worst.view}{upto})"
    )


def _finding(skew: SkewReport, skewed: Sequence[FeatureSkew]) -> Finding:
    listed = "; ".join(map(_in_words, skewed[:_NAMED]))
    more = f"; and {len(skewed) - _NAMED} more" if len(skewed) > _NAMED else ""
    return Finding(
        "feature_skew",
        f"{len(skewed)} of {len(skew.features)} features were served with other values than training "
        f"would see (alert at {skew.threshold:.1%} of the rows): {listed}{more}",
        {
            "threshold": skew.threshold,
            "skewed": [
                {
                    "feature": each.feature,
                    "view": each.view,
                    "share": each.share,
                    "since": each.since.isoformat() if each.since else None,
                    "causes": [cause.name for cause in each.causes],
                }
                for each in skewed
            ],
        },
    )


def _in_words(each: FeatureSkew) -> str:
    earlier = " or earlier" if each.or_earlier else ""
    since = f" since {each.since:%Y-%m-%d %H:%M}{earlier}" if each.since else ""
    cause = each.causes[0]
    return f"{each.feature} in {each.share:.1%}{since}: {cause.name} ({cause.view})"
