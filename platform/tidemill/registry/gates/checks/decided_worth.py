"""Checks what a row is worth by the decisions of the project's application, with a function of the project.

Both versions answer the hold-out, the application decides on each answer as it would in service, and the
function says what each decision brought, as the label is known: the KPI that monitors measure later.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import orjson
import polars as pl
import polars.selectors as cs
from pydantic import BaseModel, ValidationError

from tidemill.errors import ConfigError, DataError
from tidemill.plurals import counted
from tidemill.project.gate_checks import KpiCheck
from tidemill.project.own_code import exits_as_errors
from tidemill.registry.gates.judged_rows import ROUNDING, GateFinding, GateRows, Judged, Measured
from tidemill.registry.versions.loaded_model import Scorer
from tidemill.tasks.paired_bootstrap import mean_interval
from tidemill.tasks.task import Answers

__all__ = ["check_kpi"]

_SHOWN = 300
"""Characters that are shown of an error of the project's own code."""


def check_kpi(check: KpiCheck, judged: Judged) -> GateFinding:
    """Return whether a row is worth enough on average, and enough more than by the champion's answers.

    Rows that the request refuses, and those for which the function returns NaN, do not count.

    Raises:
        DataError: the hold-out could not be scored, or lacks what a decision needs.
        ConfigError: there is no such function or application, or it fails, or it refuses all rows.
    """
    rows, application = judged.scored(), _application(judged)
    instances, refusal = _instances(application.request, rows.rows)
    refused = sum(each is None for each in instances)
    if refused == len(instances):
        raise ConfigError(
            f"the application's request refuses all {counted(refused, 'row')} of the hold-out: {refusal}",
            hint="mend the request, or the columns of the training set",
        )
    of = check, judged, application, instances
    mine, theirs = _worth(*of, rows.answers, judged.served), None
    if rows.champion_answers is not None:
        theirs = _worth(*of, rows.champion_answers, judged.champion_served)
    found = _measured(rows, mine, theirs)
    about = {"function": check.function, "floor": check.floor, "min_gain": check.min_gain}
    counting = {"rows": _counting(mine), "refused": refused}
    numbers = {**about, **counting, **found.facts()}
    if not math.isfinite(found.candidate):
        return GateFinding(False, f"{check.function} returned no number for any row", numbers)
    if few := _too_few(check, judged, mine, theirs):
        return GateFinding(False, few, numbers)
    passed, said = _limits(check, found, check.function.rpartition(":")[2])
    if refused:
        said += f"; {counted(refused, 'row')} that the request refuses do not count ({refusal})"
    return GateFinding(passed, said, numbers)


def _counting(worth: npt.NDArray[np.float64]) -> int:
    return int(np.isfinite(worth).sum())


def _too_few(
    check: KpiCheck, judged: Judged, mine: npt.NDArray[np.float64], theirs: npt.NDArray[np.float64] | None
) -> str | None:
    """Return of which version too few rows count for a mean to be judged; None if enough do.

    The champion's matter where they are compared.
    """
    counts = {judged.candidate.version: _counting(mine)}
    if theirs is not None and judged.champion is not None and check.min_gain is not None:
        counts[judged.champion.version] = _counting(theirs)
    for version, rows in counts.items():
        if rows < check.min_rows:
            return (
                f"{check.function} returned a number for {counted(rows, 'row')} by the decisions of version "
                f"{version}, {check.min_rows} are needed (`min_rows` of this gate)"
            )
    return None


def _limits(check: KpiCheck, found: Measured, name: str) -> tuple[bool, str]:
    """Return whether the limits are kept, in words too."""
    said, passed = [f"{name} is {found.candidate:.4g} a row"], True
    if check.floor is not None:
        said = [f"{said[0]}, the floor is {check.floor:g}"]
        passed = found.candidate >= check.floor - ROUNDING
    if check.min_gain is not None and found.champion is None:
        said.append("there is no champion to compare with")
    elif check.min_gain is not None and found.champion is not None:
        passed = passed and found.gain_reaches(check.min_gain, check.by)
        bound = f", at least {found.gain_low:+.4g} by its 90 % interval" if check.by == "interval" else ""
        said.append(
            f"a gain of {found.gain:+.4g} over the champion's {found.champion:.4g}{bound}; "
            f"needed is at least {check.min_gain:+.4g}"
        )
    return passed, "; ".join(said)


def _measured(
    rows: GateRows, mine: npt.NDArray[np.float64], theirs: npt.NDArray[np.float64] | None
) -> Measured:
    own, gain = mean_interval(mine, rows.blocks, rows.seed), None
    if theirs is not None:
        gain = mean_interval(mine, rows.blocks, rows.seed, theirs)
    return Measured(_mean(mine), None if theirs is None else _mean(theirs), own, gain)


def _mean(values: npt.NDArray[np.float64]) -> float:
    known = values[np.isfinite(values)]
    return float(known.mean()) if len(known) else math.nan


def _application(judged: Judged) -> Any:
    """Return the project's application, whose answers must be those of one version alone.

    Raises:
        ConfigError: it cannot be imported, or several models answer together in it.
    """
    named = judged.project.config.project.application
    application = judged.project.load(str(named))
    if getattr(application, "composition", None) is not None:
        raise ConfigError(
            f"{named} composes its answers of several models', so its decisions are not those of a version",
            hint="measure the version alone by `check: function`",
        )
    return application


def _instances(request: type[BaseModel], rows: pl.DataFrame) -> tuple[list[BaseModel | None], str]:
    """Return the rows as instances of the request, None where it refuses one; and the first refusal.

    Raises:
        DataError: the hold-out lacks a column that the request needs.
    """
    fields = {field.alias or name: field.is_required() for name, field in request.model_fields.items()}
    missing = [name for name, needed in fields.items() if needed and name not in rows.columns]
    if missing:
        raise DataError(
            f"the hold-out has no column {', '.join(missing)}, which the application's request needs",
            hint="if the training set has it, name it under `columns` of this gate and train again: a "
            "version keeps the columns that gates name then",
        )
    here = rows.select([name for name in rows.columns if name in fields])
    instances, first = list[BaseModel | None](), ""
    for row in here.with_columns(cs.float().fill_nan(None)).iter_rows(named=True):
        values = {name: value for name, value in row.items() if value is not None or fields[name]}
        try:
            instances.append(request.model_validate(values))
        except ValidationError as error:
            wrong = error.errors()[0]
            first = first or f"{'.'.join(map(str, wrong['loc'])) or 'row'}: {wrong['msg']}"[:_SHOWN]
            instances.append(None)
    return instances, first


def _worth(
    check: KpiCheck,
    judged: Judged,
    application: Any,
    instances: Sequence[BaseModel | None],
    answers: Answers,
    scorer: Scorer | None,
) -> npt.NDArray[np.float64]:
    """Return what each row is worth by the decisions on some answers; NaN where it does not count.

    Raises:
        ConfigError: the application's ``decide`` or the function fails, or returns something else.
    """
    rows, function = judged.scored(), judged.project.load(check.function)
    counts = np.asarray([each is not None for each in instances])
    answered = zip(instances, answers.tolist(), strict=True)
    try:
        # As the log of predictions has them, from which monitors read them.
        with exits_as_errors():
            decisions = [
                orjson.loads(orjson.dumps(dict(application.decide(one, rows.task.decided_on(answer))), str))
                for one, answer in answered
                if one is not None
            ]
    except Exception as error:  # the project's own code may raise anything
        raise _failed("the application's decide", error) from error
    frame = rows.rows.filter(pl.Series(counts))
    features = frame.select([name for name in (scorer.features if scorer else ()) if name in frame.columns])
    labels = frame[judged.project.config.dataset.label].to_list()
    try:
        with exits_as_errors():
            values = np.asarray(function(decisions, labels, features), dtype=np.float64)
    except Exception as error:
        raise _failed(check.function, error) from error
    if values.shape != (len(decisions),):
        raise ConfigError(
            f"{check.function} returned shape {values.shape} for {counted(len(decisions), 'row')}",
            hint="return one number a row; NaN for rows that do not count",
        )
    found = np.full(len(counts), np.nan)
    found[counts] = values
    return found


def _failed(what: str, error: Exception) -> ConfigError:
    return ConfigError(
        f"{what} failed: {type(error).__name__}: {error}"[:_SHOWN],
        hint="mend the function; a gate gives it what a monitor's `kpi` does: decisions, labels, features",
    )
