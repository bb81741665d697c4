"""Find values that are refused: gaps that a model does not take, whole numbers that no record can hold."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

from pydantic import BaseModel
from pydantic_core import PydanticCustomError

from tidemill.features.request_features import FeatureRow
from tidemill.project.feature_columns import FeatureValue
from tidemill.serving.inference.calls import Failure, Refused
from tidemill.serving.routing.loaded_version import LoadedModel

__all__ = ["loggable", "refuse_large_integers", "refused_gaps"]

_TRIED = 64  # features that are tried one by one
_LEAST, _MOST = -(2**63), 2**64 - 1
_LIMITS = {"least": _LEAST, "most": _MOST}
_EXPECTED: Final = "Input should be a whole number of at most 64 bits ({least} to {most})"


def refused_gaps(model: LoadedModel, rows: Sequence[FeatureRow]) -> list[list[str]]:
    """Return for each row that a model failed on the features whose absence it does not take.

    A list with a gap inside counts as absent. The model is asked again with zeros and empty texts in place
    of gaps. If it answers then, the gaps are why it failed; if not, no row has any.
    """
    scorer = model.scorer
    stand_ins: dict[str, Any] = {
        name: "" if name in scorer.words else (0.0,) * scorer.lists[name] if name in scorer.lists else 0.0
        for name in scorer.features
    }
    gaps = [[name for name in stand_ins if _has_gap(row.values[name])] for row in rows]
    there = {name: row.values[name] for row, of_row in zip(rows, gaps, strict=True) for name in of_row}
    if not there:
        return gaps
    filled = [
        row._replace(
            values={**row.values, **{name: _filled(row.values[name], stand_ins[name]) for name in of_row}}
        )
        for row, of_row in zip(rows, gaps, strict=True)
    ]
    if not _answers(model, filled):
        return [[] for _ in rows]
    if len(there) <= _TRIED:
        first = filled[0]
        refused = {
            name
            for name, gap in there.items()
            if not _answers(model, [first._replace(values={**first.values, name: gap})])
        } or set(there)
        gaps = [[name for name in of_row if name in refused] for of_row in gaps]
    return gaps


def _has_gap(value: FeatureValue) -> bool:
    return value is None or (isinstance(value, tuple) and any(map(math.isnan, value)))


def _filled(value: FeatureValue, stand_in: FeatureValue) -> FeatureValue:
    if isinstance(value, tuple):
        return tuple(0.0 if math.isnan(element) else element for element in value)
    return stand_in


def _answers(model: LoadedModel, rows: Sequence[FeatureRow]) -> bool:
    try:
        return model.gives_all(model.answers(rows), len(rows))
    except Exception:  # noqa: BLE001 — a model can raise anything; why it failed is known already
        return False


def loggable(value: int) -> int:
    """Return a whole number that a record can hold.

    Raises:
        PydanticCustomError: it is beyond 64 bits.
    """
    if not _LEAST <= value <= _MOST:
        raise PydanticCustomError("out_of_range", _EXPECTED, _LIMITS)
    return value


def refuse_large_integers(instances: Sequence[BaseModel], first: int = 0) -> None:
    """Look through instances for whole numbers that no record can hold.

    Args:
        instances: of a request, validated.
        first: place of the first of them in the request.

    Raises:
        Refused: there is one; the refusal names instance and field.
    """
    for place, instance in enumerate(instances, start=first):
        inside = _large(instance.model_dump(mode="json", by_alias=True))
        if inside is not None:
            said, where = _EXPECTED.format(**_LIMITS), ["body", "instances", place, *inside]
            problem = {"loc": where, "msg": said, "type": "out_of_range"}
            raise Refused(Failure("malformed", [problem]))


def _large(value: Any) -> tuple[str | int, ...] | None:
    """Return where in a value the first such number is.

    >>> _large({"depot": "north", "sizes": [1, 2**70]})
    ('sizes', 1)
    """
    if type(value) is int:
        return None if _LEAST <= value <= _MOST else ()
    if isinstance(value, Mapping):
        inner: Any = value.items()
    elif isinstance(value, list):
        inner = enumerate(value)
    else:
        return None
    found = ((name, _large(one)) for name, one in inner)
    return next(((name, *inside) for name, inside in found if inside is not None), None)
