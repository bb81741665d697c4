"""Says in about ten lines what was found and assumed about a table, and where each is changed."""

import math
from collections.abc import Iterable

from tidemill.data.profiling.number_notations import is_notation
from tidemill.plurals import counted
from tidemill.quickstart.calendar_effects import calendar_effects
from tidemill.quickstart.calibration import Thresholds
from tidemill.quickstart.choices import Assumption, Choices, default_metric
from tidemill.quickstart.far_values import far_values
from tidemill.quickstart.init_options import alike
from tidemill.tasks.natural_metric import metric_of

__all__ = ["assumptions"]

_NAMED = 4
_WIDE = 1.0
"""Standard deviations; thresholds of categories are smaller."""


def assumptions(choices: Choices, source: str, found: Thresholds) -> list[Assumption]:
    """Return one line for each subject."""
    profile = choices.profile
    lines = [
        Assumption(
            "data",
            f"{source}: {counted(profile.rows, 'row')}, {counted(len(profile.columns), 'column')}",
            "params.yaml: data.source",
        ),
        Assumption("target", _target(choices), "params.yaml: project.task, dataset"),
        Assumption("time", _time(choices), "params.yaml: dataset.time, data.labels_after"),
        Assumption("key", _key(choices), "params.yaml: data.key; features.yaml"),
        Assumption("split", _split(choices), "params.yaml: split, gate"),
        Assumption("features", _features(choices), "features.yaml"),
    ]
    if personal := [feature.name for feature in choices.features.chosen if feature.personal]:
        named = _some(f"{name} (looks like {profile.columns[name].personal})" for name in personal)
        what = "is learnt from, and kept out of the log and the monitors"
        lines.append(
            Assumption("personal", f"{named}: {what}", "features.yaml: personal, or remove its line")
        )
    if written := _written(choices):
        lines.append(Assumption("written", written, "params.yaml: data.formats"))
    if (months := choices.readings.months) and choices.time is None:
        named = _some(f"{name} (periods without a day, as {value!r})" for name, value in months.items())
        lines.append(Assumption("text", named, "write their first days, as 2013-12-01, to have a time"))
    if clock := choices.readings.clock:
        named = _some(f"{name} (times of day or durations, as {value!r})" for name, value in clock.items())
        lines.append(Assumption("text", named, "write numbers of one unit, as minutes, and init again"))
    texts = {
        name: value
        for name, value in choices.readings.nearly_numbers.items()
        if profile.columns[name].personal is None
    }
    if texts:
        named = _some(f"{name} (numbers, but {value!r})" for name, value in texts.items())
        where = "write plain numbers and empty cells in the source, and init again"
        lines.append(Assumption("text", f"{named}", where))
    if mixed := choices.readings.nearly_moments:
        named = _some(f"{name} (moments as {one!r} and as {two!r})" for name, (one, two) in mixed.items())
        lines.append(Assumption("text", named, "write them alike in the source, and init again"))
    if twins := _alike(choices):
        lines.append(Assumption("beware", twins, "make them one in the source, and init again"))
    if far := _far(choices):
        where = "correct the source, or narrow min and max in expectations.yaml"
        lines.append(Assumption("beware", f"{far}: far from all others, are they right?", where))
    if left_out := choices.features.left_out:
        named = _some(f"{name} ({why})" for name, why in left_out.items())
        lines.append(Assumption("left out", named, "features.yaml: add a line to use one"))
    if prose := [name for name in choices.features.left_out if profile.columns[name].is_prose]:
        what = f"{_some(prose)}: no ready-made family reads the words of a text; one of your own can"
        lines.append(Assumption("words", what, "docs/free-text.md"))
    if effects := calendar_effects(choices):
        named = " and ".join(f"the {part} ({share:.0%})" for part, share in effects.items())
        what = f"what the features leave of {choices.target.column} goes with {named}: no feature says it"
        where = "add columns for it to the source, which requests then bring, too, and init again"
        lines.append(Assumption("calendar", what, where))
    if suspicious := choices.features.suspicious:
        named = _some(f"{name} {why}" for name, why in suspicious.items())
        lines.append(Assumption("beware", f"{named}: is it known at the prediction?", "features.yaml"))
    return lines + _watched(found)


def _watched(found: Thresholds) -> list[Assumption]:
    """Say which columns look broken in parts of the table, before a model learns from these."""
    lines, where = [], "monitoring/monitors.yaml"
    if odd := found.odd:
        named = _some(f"{name} (in {many} of {found.blocks})" for name, many in odd.items())
        told = f"{named} far from all else in some parts of the table: did the unit change?"
        lines.append(Assumption("beware", told, f"correct the table, or {where}"))
    wide = {name: value for name, value in found.columns.items() if value >= _WIDE}
    if wide := {name: value for name, value in wide.items() if name not in found.exclude}:
        named = _some(f"{name} ({value:g})" for name, value in wide.items())
        told = f"{named}: alarms only beyond so many standard deviations, as it moved by itself in the table"
        lines.append(Assumption("wide", told, f"{where}: thresholds, if that was not usual"))
    if found.exclude:
        named = _some(f"{name} ({how})" for name, how in found.exclude.items())
        told = f"{named}: broken in parts of the table, so drift would alarm by itself, and is not judged"
        lines.append(Assumption("unwatched", told, f"{where}: exclude"))
    return lines


def _written(choices: Choices) -> str:
    """Say how numbers are written; of moments the time alone matters, which has its own line."""
    others = choices.readings.other_formats
    return _some(
        f"{name} as {form}" + (f" (or {others[name]}?)" if name in others else "")
        for name, form in choices.readings.formats.items()
        if is_notation(form)
    )


def _alike(choices: Choices) -> str:
    rows, column = choices.target.rows, choices.target.column
    classes = [
        " and ".join(f"{name!r} ({rows[name]:,} rows)" for name in group) for group in choices.target.alike
    ]
    found = [f"{column}: {one} look like one class" for one in classes]
    for feature in choices.features.chosen:
        found += [f"{feature.name}: {' and '.join(map(repr, group))}" for group in alike(feature.categories)]
    return _some(found)


def _far(choices: Choices) -> str:
    """Name the features, and the target, that have values far from all others; of personal ones none."""
    sample, columns = choices.profile.sample, choices.profile.columns
    names = [choices.target.column] if not choices.target.classes else []
    names += [one.name for one in choices.features.chosen if one.type in ("number", "integer")]
    found = {
        name: values
        for name in names
        if columns[name].personal is None and (values := far_values(sample[name]))
    }
    return _some(
        f"{name} ({', '.join(f'{value:.6g}' for value in values[:3])}{' …' if len(values) > 3 else ''})"
        for name, values in found.items()
    )


def _target(choices: Choices) -> str:
    target = choices.target
    gap = " (or with NA or ?)" if target.column in choices.readings.gaps else ""
    are = "is" if target.missing == 1 else "are"
    missing = f"; {counted(target.missing, 'row')} without it{gap} {are} not learnt from"
    missing = missing if target.missing else ""
    assumed = f"; {target.assumed}" if target.assumed else ""
    if not target.classes:
        profile = choices.profile.columns[target.column]
        what = f"a number ({profile.low:.4g} to {profile.high:.4g})"
    else:
        shares = _some(
            f"{_shown(name)} {_share(count, target.labelled)}" for name, count in target.rows.items()
        )
        what = f"{len(target.classes)} classes ({shares})"
        if target.positive is not None:
            what += f", the probability of {target.positive} is predicted"
    return f"{target.column}: {what}, judged by {metric_of(default_metric(choices)).name}{missing}{assumed}"


def _time(choices: Choices) -> str:
    time = choices.time
    if time is None:
        why = f" ({choices.yet_to_come} is later than now in all rows)" if choices.yet_to_come else ""
        return f"none{why}: rows are split at random, monitors go by the arrival of requests"
    known = f"labels known {choices.labels_after} later" if choices.labels_after else "labels known at once"
    assumed = ("" if time.zoned else "; it has no zone: taken as UTC") + (
        f"; {time.assumed}" if time.assumed else ""
    )
    if time.later:
        assumed += f"; {counted(time.later, 'row')} later than now: left out until then"
    if time.zeros:
        assumed += f"; {counted(time.zeros, 'row')} of 1970-01-01, which often means that none is known"
    return f"{time.column}, {time.first:%Y-%m-%d} to {time.last:%Y-%m-%d}; {known}{assumed}"


def _key(choices: Choices) -> str:
    if choices.key is None:
        return "none"
    if not choices.key_repeats:
        assumed = f"; {choices.key_assumed}" if choices.key_assumed else ""
        return f"{choices.key}, one row each{assumed}"
    number = choices.profile.columns[choices.key].distinct
    more = (
        "rows of one stay on one side of the split" if choices.group else "no feature: add a line to use it"
    )
    return f"{choices.key}, {number:,} of them; {more}"


def _split(choices: Choices) -> str:
    split = choices.split
    if (found := split.periods) is not None:
        last, judge, them = "last day", "judges", "it"
        if found.holdout_days != 1:
            last, judge, them = f"last {found.holdout_days} days", "judge", "them"
        return (
            f"the {last} ({counted(found.holdout_rows, 'row')}) {judge} versions, "
            f"the {found.validation_days} before {them} ({counted(found.validation_rows, 'row')}) trials"
        )
    how = {"random": "at random", "stratified": "at random, by class", "group": f"by {choices.key}"}[split.by]
    why = f"; not by time: {split.not_by_time}" if split.not_by_time else ""
    return f"15 % of the rows judge versions, 15 % trials, chosen {how}{why}"


def _features(choices: Choices) -> str:
    kinds = [feature.type for feature in choices.features.chosen]
    parts = ", ".join(f"{kind}: {kinds.count(kind)}" for kind in dict.fromkeys(sorted(kinds)))
    return f"{counted(len(kinds), 'column')} ({parts})"


def _share(count: int, of: int) -> str:
    """Return a share in percent, with a digit more where it would look like none or all.

    >>> _share(1, 3), _share(112, 100_000), _share(99_888, 100_000), _share(3, 1_000_000)
    ('33%', '0.1%', '99.9%', '0.0003%')
    """
    share = count / of
    if 0.01 <= share <= 0.99 or share in (0, 1):
        return f"{share:.0%}"
    digits = max(0, -math.floor(math.log10(min(share, 1 - share))) - 2) if share else 0
    return f"{share:.{digits}%}"


def _shown(name: str) -> str:
    return name if name == name.strip() else repr(name)


def _some(items: Iterable[str]) -> str:
    listed = list(items)
    more = len(listed) - _NAMED
    return ", ".join(listed[:_NAMED]) + (f", {more} more" if more > 0 else "")
