"""Score batches of rows, without files: features, model, business logic, rejected rows."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
from pydantic import BaseModel

from tidemill.clock import FIRST_YEAR, LAST_YEAR
from tidemill.errors import ServingError, TidemillError
from tidemill.project.feature_columns import FeatureColumn
from tidemill.registry.versions.loaded_model import Matrix, Scores
from tidemill.scoring.execution.answer_columns import answer_columns, answer_types
from tidemill.scoring.execution.application_rows import SHOWN, decide_rows, feature_rows, read_instances
from tidemill.scoring.execution.feature_values import (
    FeatureKinds,
    FeatureValues,
    brought_values,
    check_categories,
    check_required,
    given_values,
)
from tidemill.scoring.input.column_values import Wrong, moments
from tidemill.scoring.input.prediction_ids import prediction_ids
from tidemill.scoring.input.row_reading import Batch, Reject
from tidemill.scoring.scoring_job import Job
from tidemill.tasks.task import Task
from tidemill.training.feature_table import column_names

__all__ = ["Model", "Parts", "Scored", "output_schema", "score_batch"]

Texts = Mapping[str, pa.ChunkedArray]


class Model(Protocol):
    """A loaded model version, as `tidemill.registry.versions.loaded_model.Scorer` is one."""

    @property
    def score(self) -> Callable[[Matrix], Scores]:
        """Answers each row."""

    @property
    def by_name(self) -> Callable[[pd.DataFrame], Scores] | None:
        """The same for a frame, if the model takes text as well."""

    @property
    def task(self) -> Task:
        """What it predicts."""

    @property
    def words(self) -> tuple[str, ...]:
        """The features that are text."""

    @property
    def lists(self) -> Mapping[str, int]:
        """The features that are lists of numbers, and the length of each."""


@dataclass(frozen=True)
class Parts:
    """The components that score batches."""

    job: Job
    model: Model
    keyed: Any = None
    """Keys and lookup, if features are looked up (`tidemill.scoring.execution.feature_lookup`)."""
    application: Any = None
    """The project's, if rows are instances of its request."""
    columns: Sequence[FeatureColumn] = ()
    """Those of ``features.yaml``, if rows may bring features."""
    logged_keys: Sequence[str] = ()
    """Columns that are keys in the prediction log, where features are given."""
    required: Collection[str] = ()
    """The columns that no row may leave empty, as requests may not."""

    @property
    def kinds(self) -> FeatureKinds:
        """The version's features, and what each is."""
        types = {column.name: column.type for column in self.columns}
        whole = [column.name for column in self.columns if column.element == "integer"]
        gaps = {column.name: column.categories for column in self.columns if column.has_gap_words}
        return FeatureKinds(
            self.job.features, self.model.words, self.model.lists, types, self.job.formats, whole, gaps
        )


@dataclass(frozen=True)
class Scored:
    """A batch, scored."""

    table: pa.Table
    """The output's rows."""
    rejects: list[Reject]
    instances: list[BaseModel | None]
    keys: pl.DataFrame | None
    moments: pl.Series | None
    features: FeatureValues
    """The features of the output's rows."""
    answers: Scores
    """The model's answers to them."""


def score_batch(parts: Parts, batch: Batch, fragment: int, first: int) -> Scored:
    """Score the rows of a batch.

    Args:
        parts: what to score with.
        batch: the rows.
        fragment: the fragment's number.
        first: number of the fragment's rows before this batch, from which ids continue.

    Raises:
        TidemillError: features cannot be looked up, or the model fails.
    """
    job, wrong = parts.job, dict[int, str]()
    instances = read_instances(parts.application.request, batch.table, wrong) if job.decide else []
    at = _moments(job, batch.table, wrong)
    keys = None
    if parts.keyed is None:
        features = given_values(batch.table, parts.kinds, wrong)
        if parts.logged_keys:
            keys = pl.DataFrame(batch.table.select(list(parts.logged_keys)))
    else:
        keys = _keys(parts, batch.table, instances, wrong)
        names = {column.name for column in parts.columns}
        own = parts.keyed.keys
        found = parts.keyed.lookup.find(keys, at, own.brought(batch.table, wrong))
        always = own.requested.columns
        features = brought_values(found, batch.table, names, parts.kinds, wrong, always, own.views)
    features = check_categories(features, parts.columns, wrong)
    check_required(features, parts.kinds, parts.required, wrong)
    answers = _answers(parts, features, wrong)
    unsound = np.flatnonzero(~parts.model.task.sound(answers))
    gaps = features.gaps(parts.kinds) if len(unsound) else {}
    for position in unsound:
        gone = ", ".join(name for name, missing in gaps.items() if missing[position])
        told = f"the model gave {answers[position]}"
        wrong.setdefault(int(position), f"{gone}: {told} where this is missing" if gone else told)
    inputs = map(parts.model.task.decided_on, answers.tolist())
    decisions = decide_rows(parts.application, instances, inputs, wrong)
    sound = np.ones(batch.table.num_rows, bool)
    sound[list(wrong)] = False
    answered = answer_columns(parts.model.task, job.answer_fields, answers)
    table = _output(job, batch.table, (fragment, first), answered, features.flags, decisions)
    if not wrong:
        return Scored(table, list(batch.unread), instances, keys, at, features, answers)
    mask = pa.array(sound)
    return Scored(
        table.filter(mask),
        [*batch.unread, *_rejected(batch, wrong)],
        [instance for instance, good in zip(instances, sound, strict=False) if good],
        keys if keys is None else keys.filter(pl.Series(sound)),
        at if at is None else at.filter(pl.Series(sound)),
        features.filter(sound),
        answers[sound],
    )


def output_schema(job: Job) -> pa.Schema:
    """Return the columns of the output and their types; CSV has lists of flags as text."""
    listed = pa.list_(pa.string()) if job.format == "parquet" else pa.string()
    added = {
        "prediction_id": pa.string(),
        "model_version": pa.string(),
        **answer_types(job.answer_fields),
        **({"decision": pa.string()} if job.decide else {}),
        "flags": listed,
    }
    return pa.schema([*(job.schema.field(name) for name in job.keep), *added.items()])


def _moments(job: Job, table: pa.Table, wrong: Wrong) -> pl.Series | None:
    """Return the moment of each row's prediction; None if no moment is needed."""
    if job.at_column is not None:
        found = moments(table[job.at_column], job.at_column, wrong)
        for position in found.is_null().arg_true().to_list():
            wrong.setdefault(position, f"{job.at_column}: there is no moment")
        for position in (~found.dt.year().is_between(FIRST_YEAR, LAST_YEAR)).arg_true().to_list():
            wrong.setdefault(
                position, f"{job.at_column}: the moment is not in the years {FIRST_YEAR} to {LAST_YEAR}"
            )
        return found
    if job.at is None:
        return None
    return pl.Series("at", [job.at], pl.Datetime("us", "UTC")).new_from_index(0, table.num_rows)


def _keys(parts: Parts, table: pa.Table, instances: list[BaseModel | None], wrong: Wrong) -> pl.DataFrame:
    """Return the keys for the feature lookup: from the application, or from columns of these names."""
    if not parts.job.decide:
        return parts.keyed.keys.frame(table, wrong)  # type: ignore[no-any-return]
    rows = feature_rows(parts.application, instances, wrong)
    return parts.keyed.keys.frame_of(rows)  # type: ignore[no-any-return]


def _answers(parts: Parts, features: FeatureValues, wrong: Wrong) -> Scores:
    """Return the answer to each row; NaN for rows with missing values that the model refuses."""
    try:
        return _run(parts, features.texts, features.matrix)
    except TidemillError:
        raise
    except Exception as error:  # a model can raise anything
        gaps = features.gaps(parts.kinds)
        whole = ~np.any(list(gaps.values()), axis=0)
        if whole.all():
            raise ServingError(
                f"version {parts.job.version} of {parts.job.model} cannot score these rows: {error!r}",
                hint="are the columns what the version was trained on? `tidemill models show`",
            ) from error
        for position in np.flatnonzero(~whole):
            names = ", ".join(name for name, missing in gaps.items() if missing[position])
            wrong.setdefault(int(position), f"{names}: the model takes no gaps: {error}"[:SHOWN])
        last = parts.job.answer_fields[-1]
        shape = (len(whole), len(last.keys)) if last.kind == "numbers" else (len(whole),)
        answers: Scores = np.full(shape, np.nan, dtype=object if last.kind == "json" else np.float64)
        if whole.any():
            answers[whole] = _answers(parts, features.filter(whole), {})
        return answers


def _run(parts: Parts, texts: Texts, rows: Matrix) -> Scores:
    """Run the model, with columns by name if it takes text."""
    if parts.model.by_name is None:
        return parts.model.score(rows)
    frame = pd.DataFrame(rows, columns=list(column_names(parts.job.features, parts.model.lists)))
    for name, column in texts.items():
        frame[name] = column.to_pandas()
    return parts.model.by_name(frame)


def _output(
    job: Job,
    table: pa.Table,
    place: tuple[int, int],
    answers: list[pa.Array],
    flags: pl.Series | None,
    decisions: list[str | None],
) -> pa.Table:
    rows, schema = table.num_rows, output_schema(job)
    columns: list[Any] = [table[name] for name in job.keep]
    columns += [prediction_ids(job.id, *place, rows), pa.repeat(job.version, rows), *answers]
    if job.decide:
        columns.append(pa.array(decisions, pa.string()))
    if flags is None:
        columns.append(pa.repeat(pa.scalar(_given(job), schema.field("flags").type), rows))
    elif job.format == "csv":
        columns.append(flags.list.join(" ").to_arrow().cast(pa.string()))
    else:
        columns.append(flags.to_arrow().cast(pa.list_(pa.string())))
    return pa.Table.from_arrays(columns, schema=schema)


def _given(job: Job) -> Any:
    return ["features:given"] if job.format == "parquet" else "features:given"


def _rejected(batch: Batch, wrong: Wrong) -> list[Reject]:
    """Return the rejected rows as they were read."""
    positions = sorted(wrong)
    values = batch.table.take(pa.array(positions)).to_pylist()
    return [
        Reject(batch.file, int(batch.rows[position]), wrong[position], row)
        for position, row in zip(positions, values, strict=True)
    ]
