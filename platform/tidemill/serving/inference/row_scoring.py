"""Score rows with one lookup for the versions that share a reader, and one call of each model."""

import logging
import time
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from tidemill.errors import ServingError
from tidemill.features.request_features import REQUEST, FeatureRow
from tidemill.plurals import counted
from tidemill.project.feature_columns import REFUSED
from tidemill.serving.inference.calls import Call, Failure, Refused
from tidemill.serving.inference.refused_values import refused_gaps
from tidemill.serving.observability.version_counters import VersionCounters
from tidemill.serving.routing.loaded_version import LoadedModel
from tidemill.serving.routing.traffic_split import CHAMPION, NAMED

__all__ = ["FALLBACK", "GIVEN", "ModelFailed", "Row", "read_features", "score_rows"]

GIVEN = "features:given"
"""Flag of a prediction whose features came with the request."""
FALLBACK = "fallback:champion"
"""Flag of a prediction that the champion made because the version that was to make it failed."""
_log = logging.getLogger(__name__)
_MOST = 100  # gaps in one answer


class ModelFailed(ServingError):
    """The model raised an error, or gave something that is not an answer of its task."""

    def __init__(self, message: str, *, hint: str | None = None, version: str = "") -> None:
        super().__init__(message, hint=hint)
        self.version = version
        """Which is to blame; empty if none is, but what is composed of them."""


class _Fallen(NamedTuple):
    """In place of an answer: why a version beside the champion gave none."""

    error: Exception


class Row(NamedTuple):
    """One row to score."""

    call: Call
    moment: datetime
    model: LoadedModel
    role: str
    instance: Any = None
    keys: Mapping[str, object] | None = None
    given: Sequence[Any] | None = None
    """Features that came with the request; NaN and None mean "not known"."""
    flags: tuple[str, ...] = ()
    """Beside those of its features."""
    place: int = 0
    """Its place in the call."""


def read_features(rows: Sequence[Row]) -> list[FeatureRow]:
    """Return the features of each row: one lookup for the versions that share a reader.

    Raises:
        FeatureError: they cannot be read.
        Refused: one has a category that was not seen in training, and is declared to be refused.
    """
    found: list[FeatureRow | None] = [None] * len(rows)
    for reader in {id(row.model.features): row.model.features for row in rows}.values():
        names = [name for _, name in reader.features]
        places = []
        for place, row in enumerate(rows):
            if row.model.features is not reader:
                continue
            if row.given is None:
                places.append(place)
            else:
                values = [None if value != value else value for value in row.given]  # NaN
                found[place] = FeatureRow(dict(zip(names, values, strict=True)), (GIVEN,))
        if places:
            keys = [rows[place].keys or {} for place in places]
            read = reader.read(keys, [rows[place].moment for place in places])
            for place, values_read in zip(places, read, strict=True):
                found[place] = values_read
                if values_read.flags:
                    _refuse_unseen(values_read, rows[place].place)
    return [row for row in found if row is not None]


def _refuse_unseen(row: FeatureRow, place: int) -> None:
    for flag in row.flags:
        kind, _, name = flag.partition(":")
        if kind == REFUSED:
            message = f"Feature {name} has a category that was not seen in training"
            problem = {"loc": ["body", "instances", place, name], "msg": message, "type": "unseen_category"}
            raise Refused(Failure("malformed", [problem]))


def score_rows(
    rows: list[Row], features: list[FeatureRow], champion: LoadedModel, name: str, counters: VersionCounters
) -> tuple[list[Row], list[FeatureRow], list[Any]]:
    """Return the answer to each row, and the rows and features as they are then.

    The champion answers for a version beside it that fails: those rows come back as the champion's, flagged,
    and are counted as failures of that version. What the champion refuses too is the client's mistake, and
    counts as nobody's.

    Args:
        rows: at least one.
        features: of each row.
        champion: answers what it is assigned, and for others that fail.
        name: of the registered model, for messages.
        counters: is told what each version did.

    Raises:
        ModelFailed: the champion cannot score this.
        Refused: the champion takes no gaps, and a request left a feature of its out.
        FeatureError: what the champion needs in another's place cannot be read.
    """
    first = rows[0].role
    # If no version stands in, the calls of a batch are answered again, each alone: failures count then.
    alone = rows[0].call is rows[-1].call
    if all(row.role == first for row in rows) and first == CHAMPION:
        return rows, features, _counted(rows, features, name, counters, failures=alone)
    answers = _by_version(rows, features, name, counters, alone)
    fallen = {place: answer.error for place, answer in enumerate(answers) if isinstance(answer, _Fallen)}
    if not fallen:
        return rows, features, answers
    failed = [(rows[place], error) for place, error in fallen.items()]
    rows, features = list(rows), list(features)
    for place in fallen:
        flags = (*rows[place].flags, FALLBACK)
        rows[place] = rows[place]._replace(model=champion, role=CHAMPION, flags=flags)
    try:
        read = read_features([rows[place] for place in fallen])
        stood_in = _counted([rows[place] for place in fallen], read, name, counters, failures=alone)
    except Exception as error:
        if alone and not isinstance(error, Refused):
            _count_failed(failed, counters)
        raise
    _count_failed(failed, counters)
    for place, values, given in zip(fallen, read, stood_in, strict=True):
        features[place], answers[place] = values, given
    return rows, features, answers


def _by_version(
    rows: list[Row], features: list[FeatureRow], name: str, counters: VersionCounters, alone: bool
) -> list[Any]:
    """Return each row's answer by the version that it is assigned, or `_Fallen` where that one failed."""
    groups: dict[tuple[str, str], list[int]] = {}
    for place, row in enumerate(rows):
        groups.setdefault((row.role, row.model.version), []).append(place)
    answers: list[Any] = [None] * len(rows)
    for (role, _), places in groups.items():
        group, of_group = [rows[place] for place in places], [features[place] for place in places]
        if role in (CHAMPION, NAMED):
            found: Sequence[Any] = _counted(group, of_group, name, counters, failures=alone)
        else:
            found = _each(group, of_group, name, counters)
        for place, answer in zip(places, found, strict=True):
            answers[place] = answer
    return answers


def _count_failed(failed: Sequence[tuple[Row, Exception]], counters: VersionCounters) -> None:
    for row, error in failed:
        _log.warning("version %s (%s): the champion answers for it: %s", row.model.version, row.role, error)
        counters.failed(row.role, row.model.version, 1, error)


def _each(
    rows: Sequence[Row], features: Sequence[FeatureRow], name: str, counters: VersionCounters
) -> Sequence[Any]:
    """Return the answer to each row, or why there is none: a row that fails takes no other with it."""
    try:
        return _counted(rows, features, name, counters, failures=False)
    except ModelFailed as error:
        if len(rows) > 1:
            pairs = zip(rows, features, strict=True)
            return [answer for row, values in pairs for answer in _each([row], [values], name, counters)]
        gaps = [(rows[0], gap) for gap in refused_gaps(rows[0].model, features)[0]]
        return [_Fallen(_gap_failure(*gaps[0], name) if gaps else error)]


def _counted(
    rows: Sequence[Row],
    features: Sequence[FeatureRow],
    name: str,
    counters: VersionCounters,
    *,
    failures: bool = True,
) -> list[Any]:
    """Return the answers of the version of some rows, all of the same one, and count them."""
    model, role = rows[0].model, rows[0].role
    began = time.perf_counter()
    try:
        answers = _call(model, features, name)
    except ModelFailed as error:
        if not failures:
            raise
        raise _failure(rows, features, name, counters, error) from error
    counters.scored(role, model.version, len(features), time.perf_counter() - began)
    return answers


def _failure(
    rows: Sequence[Row],
    features: Sequence[FeatureRow],
    name: str,
    counters: VersionCounters,
    error: ModelFailed,
) -> Exception:
    """Return the error of a version that failed, and count it, unless a request left out what it needs."""
    model, role = rows[0].model, rows[0].role
    gaps = refused_gaps(model, features)
    here = [(row, gap) for row, of_row in zip(rows, gaps, strict=True) for gap in of_row]
    asked = [pair for pair in here if _is_asked(*pair)]
    if asked:
        problems = [
            {
                "loc": ["body", "instances", row.place, gap],
                "msg": _no_gaps(model, gap, name),
                "type": "missing_value",
            }
            for row, gap in asked[:_MOST]
        ]
        return Refused(Failure("malformed", problems))
    if here:
        error = _gap_failure(*here[0], name)
    counters.failed(role, model.version, len(features), error)
    return error


def _no_gaps(model: LoadedModel, gap: str, name: str) -> str:
    must = "be a list without gaps" if gap in model.scorer.lists else "not be missing"
    return f"Input should {must}: version {model.version} of {name} takes no gaps in it"


def _gap_failure(row: Row, gap: str, name: str) -> ModelFailed:
    """Return the error of a version that does not take a gap."""
    version, asked = row.model.version, _is_asked(row, gap)
    where = "the request" if asked else "the store"
    advice = "" if asked else ": its view may declare a default"
    hint = "train a family that takes gaps"
    return ModelFailed(
        f"version {version} of {name} takes no gaps, and {where} has no {gap} for row {row.place}{advice}",
        hint=hint if asked else f'tags={{"default": "0.0"}} at the field; or {hint}',
        version=version,
    )


def _is_asked(row: Row, name: str) -> bool:
    """Return whether a feature's value comes in the request."""
    return row.given is not None or (REQUEST, name) in row.model.features.features


def _call(model: LoadedModel, features: Sequence[FeatureRow], name: str) -> list[Any]:
    try:
        answers = model.answers(features)
    except Exception as error:  # a model can raise anything
        raise ModelFailed(
            f"version {model.version} of {name} cannot score this: {error!r}",
            hint="`tidemill rollback` goes back to the version before",
            version=model.version,
        ) from error
    if not model.gives_all(answers, len(features)):
        raise ModelFailed(
            f"version {model.version} of {name} gave {answers[:3]} … for {counted(len(features), 'row')}",
            hint="`tidemill rollback` goes back to the version before",
            version=model.version,
        )
    return answers
