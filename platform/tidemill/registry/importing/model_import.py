"""Import a model from elsewhere as a version of the project's model, a candidate for the gate."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory

import pandas as pd
import polars as pl

from tidemill.data.repository.revisions import DataVersion, current
from tidemill.data.repository.uncommitted_code import find_uncommitted
from tidemill.errors import DataError, RegistryError, TidemillError
from tidemill.features.project_features import feature_names, feature_source, features_digest
from tidemill.project import Project
from tidemill.registry.importing.example_rows import read_examples, typed_examples
from tidemill.registry.importing.foreign_model import ForeignModel
from tidemill.registry.importing.import_checks import (
    OutputParity,
    check_output,
    check_task,
    choose_features,
    compare_outputs,
    output_places,
)
from tidemill.registry.importing.import_record import ImportedRecord, record_import
from tidemill.registry.importing.model_origins import open_model
from tidemill.registry.versions.model_signature import ModelSignature
from tidemill.registry.versions.model_versions import compiled_record, get_version
from tidemill.registry.versions.original_models import read_original
from tidemill.training.feature_table import as_features, lengths_of
from tidemill.training.fitting.final_fit import SplitRows, read_split
from tidemill.training.spec_loading import load_spec
from tidemill.training.tracking.run_lineage import Lineage, installed

__all__ = ["ImportRequest", "ImportedVersion", "ProjectState", "import_model", "import_version"]

_ROWS = 2000


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


@dataclass(frozen=True)
class ProjectState:
    """What the import is recorded against: the project's data and features, as they are now."""

    data: DataVersion
    features: tuple[str, ...]
    service: str
    definition: str
    uncommitted: tuple[str, ...] | None = None


@dataclass(frozen=True)
class ImportedVersion:
    """A model from elsewhere that has become a version."""

    model: str
    version: str
    kind: str
    source: str
    sha256: str
    features: tuple[str, ...]
    metrics: dict[str, float]
    """On the project's hold-out."""
    parity: OutputParity
    """Of what is served, beside the original."""
    compiled: str | None
    """Why it is not compiled to ONNX; None if it is, or is ONNX already."""
    runs_code: bool
    """Whether ``serve.trust_pickled`` must name it before it can be judged and served."""
    run_id: str


def import_model(project: Project, request: ImportRequest) -> ImportedVersion:
    """Import a model from elsewhere as a version of the project's model.

    It is read without executing what it brings along, unless the request allows that; what will be served is
    compared with it on real rows; it is judged on the project's hold-out. A failure, or a kill at any moment,
    leaves no version.

    Raises:
        UsageError: there is no such file, or its kind, its features or its classes are not told.
        ModelUnsafe: loading it could execute code, and the request does not allow that.
        DataError: it takes other columns, or gives other answers, than the project's.
        TrainingError: there is no training set to judge it on.
        RegistryError: it is damaged, is not served as it answers, or MLflow refused.
    """
    return import_version(
        project,
        request,
        ProjectState(
            current(project),
            feature_names(project),
            feature_source(project),
            features_digest(project),
            find_uncommitted(project.root).files,
        ),
    )


def import_version(project: Project, request: ImportRequest, now: ProjectState) -> ImportedVersion:
    """Import a model like `import_model`, into a project of this state."""
    with TemporaryDirectory() as scratch:
        place = Path(scratch)
        origin = open_model(project, request.address, place, request.allow_code, request.tracking_uri)
        model, task = origin.model, project.task
        check_task(model, task)
        places = output_places(model, request.classes, task)
        examples = None if request.examples is None else read_examples(request.examples, place)
        rows = read_split(project, now.features, request.as_of)
        lists = lengths_of(rows.fit.schema, now.features)
        columns = None if examples is None else examples.columns
        features = choose_features(model, columns, now.features, _others(project), lists)
        sample = _sample(rows, features, examples)
        signature = ModelSignature(tuple(map(str, sample.columns)), _words(sample), task, places)
        parity = _save(project, model, signature, sample, place / "model")
        record = ImportedRecord(
            kind=model.kind,
            source=origin.source,
            sha256=origin.sha256,
            allowed_code=model.unsafe or model.runs_code,
            parity=parity,
        )
        lineage = Lineage(
            now.data.revision,
            now.data.outputs,
            now.service,
            now.definition,
            rows.split,
            request.as_of,
            installed(),
            now.uncommitted,
            record.facts(),
        )
        trained, version = record_import(
            project,
            lineage,
            rows,
            place / "model",
            record,
            features,
            signature,
            tuple(model.trusted_types),
            lambda some: signature.answers(_ask(model, as_features(some, features), signature)),
        )
    compiled = compiled_record(project, get_version(project, version))
    return ImportedVersion(
        model=project.model,
        version=version,
        kind=model.kind,
        source=origin.source,
        sha256=origin.sha256,
        features=features,
        metrics=dict(trained.metrics),
        parity=parity,
        compiled=None if compiled is None or compiled.is_onnx else compiled.reason,
        runs_code=model.runs_code,
        run_id=trained.run_id,
    )


def _others(project: Project) -> tuple[str, ...]:
    dataset = project.config.dataset
    return tuple(
        name for name in (dataset.label, dataset.time, dataset.label_known, dataset.group) if name is not None
    )


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
    """Return what the original says, after checking that it can be answers of the task.

    Raises:
        DataError: it does not take the rows, or answers something else.
    """
    try:
        output = model.answer(rows, signature.task)
    except TidemillError:
        raise
    except Exception as error:  # any package's
        said = str(error).strip().splitlines()
        raise DataError(
            f"the {model.kind} model does not take the project's rows: {said[0] if said else repr(error)}",
            hint="numbers come as float64 with NaN for gaps, text as objects with None, moments as seconds "
            "since 1970; the model must take them so, in columns of the same names",
        ) from error
    check_output(output, len(rows), signature.task, signature.places)
    return output


def _save(
    project: Project, model: ForeignModel, signature: ModelSignature, sample: pd.DataFrame, folder: Path
) -> OutputParity:
    """Write what will be served into a folder, load it again, and compare it with the original.

    Raises:
        RegistryError: it cannot be saved or loaded, or does not answer as the original does.
    """
    output = _ask(model, sample, signature)
    model.save(folder, signature.task, sample.head(5), _head(output, 5))
    scorer = read_original(
        folder,
        "to be",
        model.trusted_types,
        lambda: load_spec(project).trusted_types,
        trusted=model.runs_code,
        task=signature.task,
        places=signature.places,
    )
    parity = compare_outputs(signature.answers(output), scorer.predict(sample), signature.task)
    if not parity.passed:
        raise RegistryError(
            f"what would be served does not answer as the {model.kind} model does: {parity}",
            hint="save the model again with the installed version of its package, or as ONNX",
        )
    return parity


def _head(output: object, rows: int) -> object:
    return output.head(rows) if hasattr(output, "head") else output[:rows]  # type: ignore[index]
