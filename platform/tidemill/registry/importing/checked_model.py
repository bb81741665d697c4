"""Check a model from elsewhere against the project, and save what will be served; nothing is recorded yet."""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl

from tidemill.data.repository.revisions import DataVersion
from tidemill.errors import DataError, RegistryError, TidemillError
from tidemill.project import Project
from tidemill.project.own_code import exits_as_errors
from tidemill.registry.importing.example_rows import read_examples, typed_examples
from tidemill.registry.importing.foreign_model import ForeignModel
from tidemill.registry.importing.import_checks import (
    OutputParity,
    check_output,
    check_task,
    choose_features,
    compare_outputs,
)
from tidemill.registry.importing.known_models import KnownModel, find_known
from tidemill.registry.importing.model_origins import Origin, open_model
from tidemill.registry.importing.output_classes import output_places
from tidemill.registry.versions.model_signature import ModelSignature, whole
from tidemill.registry.versions.original_models import UNNUMBERED, read_original
from tidemill.tasks.task import Answers
from tidemill.training.feature_table import as_features, lengths_of
from tidemill.training.fitting.split_rows import SplitRows, read_split
from tidemill.training.spec_loading import load_spec
from tidemill.training.tracking.mlflow_tracking import quiet_mlflow

__all__ = ["CheckedModel", "ImportRequest", "ProjectState", "check_model"]

_ROWS = 2000
_NO_WORD = "\x1f no word of any table"


@dataclass(frozen=True)
class ImportRequest:
    """What is to be imported, and what its file does not tell."""

    address: str
    """A path, an MLflow address (``runs:/…``, ``models:/…``), or ``module:Class``."""
    as_of: datetime
    """The split of this moment gives the rows that the model is judged on."""
    examples: Path | None = None
    """Rows with its columns, in its order."""
    classes: tuple[str, ...] = ()
    """The project's classes in the order of its outputs; default: what the file says."""
    allow_code: bool = False
    """Whether the file may execute code while it is loaded."""
    tracking_uri: str | None = None
    """Of the MLflow that ``address`` is in; default: the project's."""

    @property
    def command(self) -> str:
        """The command that asks for it, without the classes."""
        parts = ["tidemill", "models", "import", self.address]
        parts += ["--examples", str(self.examples)] if self.examples else []
        parts += ["--allow-code"] if self.allow_code else []
        parts += ["--tracking-uri", self.tracking_uri] if self.tracking_uri else []
        return shlex.join(parts)


@dataclass(frozen=True)
class ProjectState:
    """What the import is recorded against: the project's data and features, as they are now."""

    data: DataVersion
    features: tuple[str, ...]
    service: str
    definition: str
    uncommitted: tuple[str, ...] | None = None


@dataclass(frozen=True)
class CheckedModel:
    """A model from elsewhere that fits the project, with a saved copy that answers as it does."""

    origin: Origin
    features: tuple[str, ...]
    """The project's features that it takes, in its order."""
    signature: ModelSignature
    """Of its columns: of a list each element is one."""
    rows: SplitRows
    """The project's rows that it is judged on."""
    folder: Path
    """The MLflow model that will be served."""
    parity: OutputParity
    known: KnownModel | None = None
    """The version of this project that it is a copy of."""

    @property
    def model(self) -> ForeignModel:
        """The original."""
        return self.origin.model

    @property
    def lists(self) -> dict[str, int]:
        """Those of ``features`` that are lists, and the length of each."""
        return lengths_of(self.rows.fit.schema, self.features)

    def answer(self, rows: pl.DataFrame) -> Answers:
        """Return what the original answers to rows of the training set."""
        return self.signature.answers(_ask(self.model, as_features(rows, self.features), self.signature))


def check_model(project: Project, request: ImportRequest, now: ProjectState, scratch: Path) -> CheckedModel:
    """Read a model, check it, and save what will be served into the folder ``scratch``.

    Raises:
        TidemillError: as `tidemill.registry.importing.model_import.import_model` raises it.
    """
    quiet_mlflow()
    origin = open_model(project, request.address, scratch, request.allow_code, request.tracking_uri)
    check_task(origin.model, project.task)
    known = find_known(project, origin)
    classes = request.classes or (() if known is None else known.classes)
    places = output_places(origin.model, classes, project.task, request.command)
    examples = None if request.examples is None else read_examples(request.examples, scratch)
    rows = read_split(project, now.features, request.as_of)
    lists = lengths_of(rows.fit.schema, now.features)
    columns = None if examples is None else examples.columns
    features = choose_features(origin.model, columns, now.features, _others(project), lists)
    sample = _sample(rows, features, examples)
    signature = ModelSignature(tuple(map(str, sample.columns)), _words(sample), project.task, places)
    folder = scratch / "model"
    parity = _save(project, origin.model, signature, sample, folder)
    return CheckedModel(origin, features, signature, rows, folder, parity, known)


def _others(project: Project) -> tuple[str, ...]:
    dataset, data = project.config.dataset, project.params.get("data")
    key = data.get("key") if isinstance(data, dict) else None
    names = dataset.label, dataset.time, dataset.label_known, dataset.group, key
    return tuple(name for name in names if isinstance(name, str))


def _sample(rows: SplitRows, features: Sequence[str], examples: pl.DataFrame | None) -> pd.DataFrame:
    """Return the rows that the answers are compared on: of the hold-out, and the examples."""
    held = as_features(rows.holdout.head(_ROWS), features)
    if examples is None:
        return held
    given = typed_examples(examples, features, rows.holdout)
    return pd.concat([given, held], ignore_index=True)


def _words(sample: pd.DataFrame) -> tuple[str, ...]:
    return tuple(str(name) for name, kind in sample.dtypes.items() if kind.kind == "O")


def _ask(model: ForeignModel, rows: pd.DataFrame, signature: ModelSignature) -> object:
    """Return the original's answers, after checking that the task can take them.

    Raises:
        DataError: it does not take the rows, or answers something else.
    """
    try:
        with exits_as_errors():
            output = whole(model.answer(rows.copy(), signature.task))  # it may write into its rows
        check_output(output, len(rows), signature.task, signature.places, model.sums_to_one)
        return output
    except TidemillError:
        raise
    except Exception as error:  # any package's
        said = str(error).strip().splitlines()
        raise DataError(
            f"the {model.kind} model does not take the project's rows: {said[0] if said else repr(error)}",
            hint="numbers come as float64 with NaN for gaps, text as objects with None, moments as seconds "
            "since 1970; the model must take them so, in columns of the same names, and answer each row",
        ) from error


def _save(
    project: Project, model: ForeignModel, signature: ModelSignature, sample: pd.DataFrame, folder: Path
) -> OutputParity:
    """Write what will be served into a folder, load it again, and compare it with the original.

    Raises:
        DataError: the original does not take the rows.
        RegistryError: it cannot be saved or loaded, or does not answer as the original does.
    """
    output = _ask(model, sample, signature)
    answers = signature.answers(output)
    if not signature.task.sound(answers).any():
        raise DataError(
            f"the {model.kind} model gives no usable answer to any of {len(sample):,} rows of the project",
            hint="see what it gives where it was made; it must take the project's values and gaps",
        )
    _check_gaps(model, signature, sample, answers)
    _ask(model, sample.head(1), signature)  # replicas ask for single rows, too
    places = _with_text(sample, signature)
    example = sample.iloc[places].copy()
    for name in signature.words:
        if example[name].isna().all():
            example[name] = ""
    model.save(folder, signature.task, example, _taken(output, places))
    scorer = read_original(
        folder,
        UNNUMBERED,
        model.trusted_types,
        lambda: load_spec(project).trusted_types,
        trusted=model.runs_code,
        task=signature.task,
        places=signature.places,
    )
    parity = compare_outputs(answers, scorer.predict(sample.copy()), signature.task)
    if not parity.passed:
        raise RegistryError(
            f"what would be served does not answer as the {model.kind} model does: {parity}",
            hint="save the model again with the installed version of its package, or as ONNX",
        )
    return parity


def _check_gaps(
    model: ForeignModel, signature: ModelSignature, sample: pd.DataFrame, answers: Answers
) -> None:
    """Check that a model which knows gaps in text knows them as None, as they are served, and not as NaN.

    Raises:
        DataError: it takes None for a word that it never saw, and NaN for something else.
    """
    words = list(signature.words)
    rows = sample[words].isna().any(axis=1).to_numpy() if words else np.zeros(len(sample), np.bool_)

    def same_as_none(gap: Any) -> bool:
        given = sample[rows].copy()
        given[words] = given[words].astype(object).where(given[words].notna(), gap)
        try:
            otherwise = signature.answers(_ask(model, given, signature))
        except DataError:
            return False
        return compare_outputs(answers[rows], otherwise, signature.task).passed

    if rows.any() and same_as_none(_NO_WORD) and not same_as_none(np.nan):
        raise DataError(
            f"the {model.kind} model knows gaps in text as NaN, and takes None for a word that it never saw: "
            f"{', '.join(words)}",
            hint="gaps in text come as None: fit it on a frame that has None there "
            "(`frame.astype(object).where(frame.notna(), None)` for text), and save it again",
        )


def _with_text(sample: pd.DataFrame, signature: ModelSignature) -> list[int]:
    """Return the places of a few rows in which each column of text has one: MLflow tells types by values."""
    found = dict.fromkeys(range(min(5, len(sample))))
    for name in signature.words:
        known = np.flatnonzero(sample[name].notna().to_numpy())
        found |= dict.fromkeys(known[:1].tolist())
    return list(found)


def _taken(output: Any, places: list[int]) -> object:
    if isinstance(output, Mapping):
        return {name: _taken(column, places) for name, column in output.items()}
    if hasattr(output, "iloc"):
        return output.iloc[places]
    return output[places] if isinstance(output, np.ndarray) else [output[place] for place in places]
