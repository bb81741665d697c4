"""Judges requests by the rules that ``expectations.yaml`` declares of single rows."""

from collections.abc import Mapping, Set
from dataclasses import asdict, dataclass

import polars as pl

from tidemill.data.expectations.declarations import declared_sets
from tidemill.data.expectations.rules import DatasetRules, sql
from tidemill.data.personal.pseudonyms import is_pseudonym
from tidemill.data.tables.column_names import literal_names
from tidemill.monitoring.drift.chance import share_beyond_chance
from tidemill.monitoring.drift.knowing_versions import knowing
from tidemill.monitoring.example_predictions import worst_ids
from tidemill.monitoring.findings import Finding, Judged
from tidemill.monitoring.kind_sections import DataQualityConfig
from tidemill.monitoring.windows.request_columns import request_fields
from tidemill.monitoring.windows.window_rows import WindowRows

__all__ = ["judge"]

_NAMED = 5


@dataclass(frozen=True)
class BrokenRule:
    """A rule, and the shares of rows that break it."""

    rule: str
    share: float
    rows: int
    """That break it."""
    of: int
    """Rows that it was asked of: those of versions that know its features."""
    in_training: float | None
    """The share in the reference; None if that does not have the columns."""

    @property
    def more(self) -> float:
        """Return how much larger the share is than in training."""
        return self.share - (self.in_training or 0.0)


def judge(window: WindowRows, config: DataQualityConfig) -> Judged:
    """Count the rows that break each rule; more than in training is alarming.

    Raises:
        ConfigError: there is no such data set, or its declaration is wrong.
        UsageError: the project declares none.
    """
    declared = declared_sets(window.project, config.dataset).datasets
    label = window.project.config.dataset.label
    sets = {n: r for n, r in declared.items() if config.dataset in (None, n) and r.mode != "off"}
    names = {name for rules in sets.values() for name in _mentioned(rules)} - {label}
    features = window.features
    more = request_fields(window.rows, sorted(names - set(features.columns)))
    rows = features.select(literal_names(name for name in features.columns if name in names)).with_columns(
        *more.values()
    )
    hidden = {each for each, values in more.items() if _is_hidden(values)}
    found: dict[str, tuple[BrokenRule, pl.Series]] = {}
    for name, rules in sets.items():
        before = _broken(rules, window.reference.features)
        for rule, mask in _broken(rules, rows).items():
            ignored = rule in config.ignore or f"{name}.{rule}" in config.ignore
            if not ignored and _can_be_told(rules, rule, hidden):
                known = before.get(rule)
                usual = None if known is None else float(known.mean() or 0.0)  # type: ignore[arg-type]
                asked = _asked(window, rules, rule)
                count, of = int((mask & asked).sum()), int(asked.sum())
                one = BrokenRule(f"{name}.{rule}", count / max(of, 1), count, of, usual)
                found[one.rule] = one, mask & asked
    if not found:
        hint = f"the data set {config.dataset} declares" if config.dataset else "the data sets declare"
        return Judged(unjudged=f"{hint} no rule of a single row for a column that requests have")
    return _judged(window, config, found)


def _is_hidden(values: pl.Series) -> bool:
    """Return whether a field of the requests is personal: the log has pseudonyms in place of its values."""
    return values.dtype == pl.String and any(map(is_pseudonym, values.drop_nulls().unique()))


def _can_be_told(rules: DatasetRules, rule: str, hidden: Set[str]) -> bool:
    """Return whether the log has what a rule asks: of hidden values only whether they are there."""
    if (text := rules.rules.get(rule)) is not None:
        return hidden.isdisjoint(sql(text).meta.root_names())
    name, _, what = rule.partition(": ")
    return name not in hidden or what == "not null"


def _judged(
    window: WindowRows, config: DataQualityConfig, found: Mapping[str, tuple[BrokenRule, pl.Series]]
) -> Judged:
    rows, of_reference = window.rows.height, window.reference.features.height
    bad = [
        one
        for one, _ in found.values()
        if one.more >= config.share
        and share_beyond_chance(
            one.in_training or 0.0,
            one.share,
            (one.of if one.in_training is None else of_reference, one.of),
            len(found),
        )
    ]
    bad.sort(key=lambda one: one.more, reverse=True)
    listed = "; ".join(map(_in_words, bad[:_NAMED]))
    more = f"; and {len(bad) - _NAMED} more" if len(bad) > _NAMED else ""
    verb, at = "is" if len(bad) == 1 else "are", f"alert at {config.share:.1%}"
    message = f"{len(bad)} of {len(found)} rules {verb} broken by requests ({at}): {listed}{more}"
    names = [one.rule for one in bad]
    details = {"rules": [asdict(one) for one in bad], "about": names, "faults": names}
    odd = sum((found[one.rule][1].cast(pl.Float64) for one in bad), pl.Series([0.0] * rows))
    worst = max((one for one, _ in found.values()), key=lambda one: one.more)
    every = [asdict(one) for one, _ in found.values()]
    return Judged(
        found=(Finding("data_quality", message, details),) if bad else (),
        results={"data_quality": {"share": config.share, "rules": every}},
        said=f"of {len(found)} rules the one that is broken most: {_in_words(worst)}, {at}",
        examples={"data_quality": worst_ids(window.rows["prediction_id"], odd)},
    )


def _in_words(one: BrokenRule) -> str:
    usual = "" if not one.in_training else f", {one.in_training:.1%} in training"
    return f"{one.rule} in {one.share:.1%} of the rows{usual}"


def _mentioned(rules: DatasetRules) -> set[str]:
    return {*rules.columns, *(name for text in rules.rules.values() for name in sql(text).meta.root_names())}


def _asked(window: WindowRows, rules: DatasetRules, rule: str) -> pl.Series:
    """Return the rows that a rule is asked of: versions that were made without its features break none."""
    text = rules.rules.get(rule)
    names = [rule.partition(": ")[0]] if text is None else sql(text).meta.root_names()
    asked = pl.repeat(True, window.rows.height, eager=True)
    for name in set(names) & set(window.features.columns):
        asked &= knowing(window.features[name], window.rows["version"], window.version)
    return asked


def _broken(rules: DatasetRules, rows: pl.DataFrame) -> dict[str, pl.Series]:
    """Return which rows break each rule whose columns are there."""
    from tidemill.data.validation.pandera_checks import coerced, comparable, row_rules  # they take seconds
    from tidemill.data.validation.row_validation import examine

    there = {
        n: c for n, c in rules.columns.items() if n in rows.columns and _is_like(c.dtype, rows.schema[n])
    }
    across = {
        n: text for n, text in rules.rules.items() if set(sql(text).meta.root_names()) <= set(rows.columns)
    }
    if not there and not across:
        return {}
    part = rules.model_copy(update={"columns": there, "rules": across, "strict": False, "coerce": True})
    casts = coerced(part, rows.schema)
    typed = rows.with_columns(casts.values())
    schema = row_rules(part, typed.schema).schema
    seen = comparable(typed)
    masks = dict(examine(seen, schema).rules)
    for name in casts:
        given = comparable(rows.select(literal_names([name])))[name]
        lost = given.is_not_null() & seen[name].is_null()
        masks[f"{name}: can be {rules.columns[name].type}"] = lost
        if (empty := masks.get(f"{name}: not null")) is not None:
            masks[f"{name}: not null"] = empty & ~lost
    return masks


def _is_like(declared: pl.DataType | None, found: pl.DataType) -> bool:
    """Return whether logged values can be compared with a declared type: moments are logged as numbers."""
    if declared is None:
        return True
    if declared.is_temporal():
        return found == pl.String or found.is_temporal()
    return declared.is_nested() == found.is_nested()
