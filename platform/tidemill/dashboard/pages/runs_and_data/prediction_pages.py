"""The predictions of a model in its log: a list from the newest backwards, and one with its explanation."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Annotated, Any, Literal

import polars as pl
from fastapi import FastAPI, Query

from tidemill.dashboard.page import add_page
from tidemill.dashboard.records.prediction_reading import Explained, explain, labels_of, prediction_of
from tidemill.dashboard.visit import Here
from tidemill.errors import BeingComputed, PredictionNotFound
from tidemill.prediction_log.search.newest_first import Wanted, newest_first
from tidemill.project import Project
from tidemill.tasks.task import Task
from tidemill.tasks.task_choice import make_task

__all__ = ["Prediction", "Predictions", "add_to", "prediction", "predictions"]


@dataclass(frozen=True)
class ListedPrediction:
    """A prediction in the list."""

    prediction_id: str
    at: datetime
    """Event time."""
    version: str
    score: float | None
    answer: str
    """In the task's words."""
    decision: str
    flags: Sequence[str]
    role: str
    test: bool


@dataclass(frozen=True)
class Predictions:
    """Some predictions, the latest first."""

    model: str
    predictions: Sequence[ListedPrediction]
    following: str | None
    """Value of ``after`` for those before; None where the log ends."""
    version: str
    flag: str
    first: date | None
    last: date | None
    id: str = ""


@dataclass(frozen=True)
class Label:
    """A label that a prediction was given."""

    value: str
    at: datetime
    """When it became known, event time."""
    received_at: datetime


@dataclass(frozen=True)
class Prediction:
    """One prediction as the log holds it."""

    model: str
    prediction_id: str
    version: str
    at: datetime
    score: float | None
    answer: str
    """In the task's words."""
    decision: Mapping[str, str]
    flags: Sequence[str]
    facts: Mapping[str, str]
    request: Mapping[str, str]
    """What the request held; what is personal, as it was hidden when it was logged."""
    keys: Mapping[str, str]
    """By which features were looked up, or rows are known, and which the request does not show already."""
    features: Mapping[str, str]
    """As the model saw them."""
    features_as_sent: bool
    """Whether they are those of the request."""
    labels: Sequence[Label]
    labels_trouble: str | None
    explained: Explained | None
    why_not: str | None
    """Why it is not explained."""
    ticket: str | None = None
    """Of the explanation while it is being computed: its end is told by it."""


def predictions(
    visit: Here,
    model: str,
    version: Annotated[str, Query(max_length=100, description="Only of this version.")] = "",
    flag: Annotated[str, Query(max_length=200, description="Only with this flag.")] = "",
    first: Annotated[date | Literal[""] | None, Query(description="First day, event time.")] = None,
    last: Annotated[date | Literal[""] | None, Query(description="Last day, event time.")] = None,
    after: Annotated[str, Query(max_length=200, description="Where the page before ended.")] = "",
    id: Annotated[str, Query(max_length=200, description="Only the one with this id.")] = "",
) -> Predictions:
    """Return some predictions of a model, the latest first."""
    project = visit.installation.load(visit.project(model))
    if id.strip():
        record = prediction_of(project, id.strip())
        found = [] if record is None else [_listed(_task_of(project), record)]
        return Predictions(model, found, None, "", "", None, None, id)
    since, until = _day(first), _day(last)
    wanted = Wanted(
        version or None,
        flag or None,
        datetime(since.year, since.month, since.day, tzinfo=UTC) if since else None,
        _after(until),
    )
    newest = newest_first(project.predictions, model, wanted, after or None)
    task = _task_of(project)
    listed = [_listed(task, record) for record in newest.records]
    return Predictions(model, listed, newest.following, version, flag, since, until)


def _day(given: date | str | None) -> date | None:
    return given if isinstance(given, date) else None  # a form sends an empty text


def _after(day: date | None) -> datetime | None:
    """Return the moment after a day; None after the last day that there is."""
    if day is None or day == date.max:
        return None
    following = day + timedelta(days=1)
    return datetime(following.year, following.month, following.day, tzinfo=UTC)


def _listed(task: Task, record: Mapping[str, Any]) -> ListedPrediction:
    decision = record.get("decision")
    shown = decision.items() if isinstance(decision, Mapping) else ()
    return ListedPrediction(
        record["prediction_id"],
        datetime.fromisoformat(record["at"]),
        str(record.get("version")),
        _finite(record.get("score")),
        _answered(task, record),
        ", ".join(f"{name} {_plain(value)}" for name, value in shown),
        list(record.get("flags") or ()),
        record.get("role") or "champion",
        bool(record.get("test")),
    )


def prediction(
    visit: Here,
    model: str,
    prediction_id: str,
    explained: Annotated[bool, Query(alias="explain", description="Load the model and explain it.")] = False,
) -> Prediction:
    """Return one prediction of a model as the log holds it."""
    project = visit.installation.load(visit.project(model))
    record = prediction_of(project, prediction_id)
    if record is None:
        raise PredictionNotFound(
            f"the log of {model} holds no prediction {prediction_id!r}",
            hint="predictions leave the log by serve.log.retention_days and by erasure",
        )
    labels, trouble = labels_of(project, prediction_id)
    found, why_not, ticket = _explained(project, record) if explained else (None, None, None)
    names = ("served_at", "replica", "role", "shadow_of", "test", "milliseconds", "caller", "request_id")
    answer = record.get("answer")
    request, features = _texts(record.get("instance")), _texts(record.get("features"))
    return Prediction(
        model,
        prediction_id,
        str(record.get("version")),
        datetime.fromisoformat(record["at"]),
        _finite(record.get("score")),
        _answered(_task_of(project), record),
        _texts(record.get("decision")),
        list(record.get("flags") or ()),
        {
            name.replace("_", " "): _plain(record[name])
            for name in names
            if record.get(name) not in (None, False)
        }
        | ({} if answer is None else {"answer": _plain(_short(answer))}),
        request,
        {name: value for name, value in _texts(record.get("keys")).items() if name not in request},
        features,
        features == request,
        [_label(_task_of(project), one) for one in labels],
        trouble,
        found,
        why_not,
        ticket,
    )


def _explained(
    project: Project, record: Mapping[str, Any]
) -> tuple[Explained | None, str | None, str | None]:
    """Return the explanation, why there is none, and the ticket by which it can be waited for."""
    try:
        return *explain(project, record), None
    except BeingComputed as error:
        return None, str(error), error.ticket


def _label(task: Task, found: Mapping[str, Any]) -> Label:
    value = found.get("label")
    return Label(
        _plain(found.get("target") if value is None else task.written(pl.Series([value])).item()),
        datetime.fromisoformat(found["at"]),
        datetime.fromisoformat(found["received_at"]),
    )


def _texts(values: Any) -> dict[str, str]:
    return {name: _plain(value) for name, value in values.items()} if isinstance(values, Mapping) else {}


def _plain(value: Any) -> str:
    """Return a value of the log as text.

    >>> _plain(17.26169999), _plain(None), _plain("B6"), _plain([1, 2])
    ('17.2617', 'not known', 'B6', '[1, 2]')
    """
    match value:
        case None:
            return "not known"
        case bool():
            return "yes" if value else "no"
        case float():
            return f"{value:.6g}"
        case str():
            return value
        case _:
            return json.dumps(value, ensure_ascii=False, default=str)


def _task_of(project: Project) -> Task:
    """Return the task without the project's own metric: no code of the project runs in the dashboard."""
    return make_task(project.target, lambda _: _measure_nothing)


def _measure_nothing(truth: Any, answers: Any) -> float:
    raise AssertionError("pages show answers and measure none")


def _answered(task: Task, record: Mapping[str, Any]) -> str:
    """Return an answer in the task's words: ``value 12.5``, ``class setosa (0.97)``, JSON."""
    score, whole = _finite(record.get("score")), record.get("answer")
    name = task.answer_fields[0].name
    if whole is None:
        return "–" if score is None else f"{name} {score:.4g}"
    [answer] = task.answers_of_log(pl.Series([score], dtype=pl.Float64), pl.Series([json.dumps(whole)]))
    value = task.shown(answer)[name]
    if not isinstance(value, str):
        return _plain(_short(value))
    return f"{name} {value}" + ("" if score is None else f" ({_chance(score)})")


def _chance(score: float) -> str:
    """Return a probability to four digits; none that is not certain is shown as 1.

    >>> _chance(0.97123), _chance(0.999998), _chance(1.0)
    ('0.9712', 'over 0.9999', '1')
    """
    return "over 0.9999" if 0.99995 <= score < 1 else f"{score:.4g}"


def _short(value: Any) -> Any:
    """Return a JSON value with numbers of four digits.

    >>> _short({"q10": 51.23456, "q90": [0.123456, "a"]})
    {'q10': 51.23, 'q90': [0.1235, 'a']}
    """
    match value:
        case float():
            return float(f"{value:.4g}")
        case list():
            return [_short(one) for one in value]
        case Mapping():
            return {name: _short(one) for name, one in value.items()}
        case _:
            return value


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def add_to(app: FastAPI) -> None:
    """Add the pages."""
    read = ("read", "prediction")
    of = "/models/{model}/predictions"
    add_page(app, of, predictions, template="predictions.html", needs=read, title="Predictions")
    add_page(
        app, f"{of}/{{prediction_id}}", prediction, template="prediction.html", needs=read, title="Prediction"
    )
