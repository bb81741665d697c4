"""Find versions by tag, metric, parameter, data version and date. Imports no engine."""

import operator
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from tidemill.errors import UsageError
from tidemill.registry.versions.registry_reader import ShownVersion
from tidemill.tasks.natural_metric import natural_values

__all__ = ["VersionQuery", "matching_versions"]

_COMPARED: Final = re.compile(r"(?P<name>[^<>=\s]+)\s*(?P<how><=|>=|<|>|=)\s*(?P<value>\S+)")
_HOW: Final[Mapping[str, Callable[[float, float], bool]]] = {
    "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge, "=": operator.eq,
}  # fmt: skip


@dataclass(frozen=True)
class VersionQuery:
    """What a version must have: all of it."""

    tags: Sequence[str] = ()
    """``name``, or ``name=value``."""
    metrics: Sequence[str] = ()
    """Such as ``mae<12``, with the names and signs that people see; of the hold-out unless named so."""
    params: Sequence[str] = ()
    """``name=value``; ``family`` is one of them."""
    data: str | None = None
    """First characters of the data version's commit, or of a data file's MD5."""
    since: datetime | None = None
    until: datetime | None = None


def matching_versions(versions: Sequence[ShownVersion], query: VersionQuery) -> list[ShownVersion]:
    """Return the versions that match, in their order.

    Raises:
        UsageError: a comparison cannot be read, or no version has a metric of that name.
    """
    compared = [_comparison(each) for each in query.metrics]
    _check_known([name for name, _, _ in compared], versions)
    params = [_pair(each, "--param") for each in query.params]
    return [
        one
        for one in versions
        if all(_has_metric(one, *each) for each in compared)
        and all(name in one.params and _same(one.params[name], value) for name, value in params)
        and all(_has_tag(one, each) for each in query.tags)
        and (query.data is None or _has_data(one, query.data))
        and (query.since is None or one.registered_at >= query.since)
        and (query.until is None or one.registered_at < query.until)
    ]


def _comparison(text: str) -> tuple[str, str, float]:
    """Return name, sign and value of a comparison.

    >>> _comparison("roc_auc >= 0.7")
    ('roc_auc', '>=', 0.7)
    """
    found = _COMPARED.fullmatch(text.strip())
    try:
        return found["name"], found["how"], float(found["value"])  # type: ignore[index]
    except (TypeError, ValueError) as error:
        raise UsageError(
            f"--metric {text!r} is no comparison", hint="write it like 'roc_auc>=0.7' or 'mae<12', in quotes"
        ) from error


def _check_known(names: Sequence[str], versions: Sequence[ShownVersion]) -> None:
    known = dict.fromkeys(
        name.removeprefix("holdout_") for one in versions for name in natural_values(one.metrics)
    )
    for name in names:
        if known and name.removeprefix("holdout_") not in known:
            raise UsageError(
                f"--metric {name}: no version has such a metric", hint=f"choose {', '.join(sorted(known))}"
            )


def _pair(text: str, option: str) -> tuple[str, str]:
    name, found, value = text.partition("=")
    if not found or not name:
        raise UsageError(f"{option} {text!r} is no name and value", hint="write it like family=xgboost")
    return name.strip(), value.strip()


def _has_metric(one: ShownVersion, name: str, how: str, value: float) -> bool:
    values = natural_values(one.metrics)
    found = values.get(name, values.get(f"holdout_{name}"))
    return found is not None and _HOW[how](found, value)


def _same(found: Any, value: str) -> bool:
    """Return whether a parameter has a value; numbers may be spelt otherwise.

    >>> _same(0.1, "1e-1"), _same(None, "None"), _same("xgboost", "lightgbm")
    (True, True, False)
    """
    try:
        return float(found) == float(value)
    except (TypeError, ValueError):
        return str(found) == value


def _has_tag(one: ShownVersion, wanted: str) -> bool:
    name, given, value = wanted.partition("=")
    return name in one.tags and (not given or one.tags[name] == value)


def _has_data(one: ShownVersion, beginning: str) -> bool:
    digests = [one.data_revision or "", *map(str, (one.lineage.get("data") or {}).values())]
    return any(each.startswith(beginning) for each in digests)
