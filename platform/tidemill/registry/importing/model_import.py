"""Import a model from elsewhere as a version of the project's model, a candidate for the gate."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from tidemill.data.repository.revisions import current
from tidemill.data.repository.uncommitted_code import find_uncommitted
from tidemill.features.project_features import feature_names, feature_source, features_digest
from tidemill.project import Project
from tidemill.registry.importing.checked_model import ImportRequest, ProjectState, check_model
from tidemill.registry.importing.import_checks import OutputParity
from tidemill.registry.importing.import_record import facts_of, record_import
from tidemill.registry.versions.artifacts import connect_registry
from tidemill.registry.versions.model_versions import compiled_record, get_version
from tidemill.training.tracking.learnt_rows import count_learnt
from tidemill.training.tracking.run_lineage import Lineage, installed

__all__ = ["ImportRequest", "ImportedVersion", "ProjectState", "import_model", "import_version"]


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
    learnt_rows: int = 0
    """Rows of the hold-out that it is known to have learnt from: its metrics are no measure then."""


def import_model(
    project: Project, request: ImportRequest, before: Callable[[], None] | None = None
) -> ImportedVersion:
    """Import a model from elsewhere as a version of the project's model.

    It is read without executing what it brings along, unless the request allows that; what will be served is
    compared with it on real rows; it is judged on the project's hold-out. A failure, or a kill at any moment,
    leaves no version. ``before`` is called right before it becomes one.

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
        before,
    )


def import_version(
    project: Project,
    request: ImportRequest,
    now: ProjectState,
    before: Callable[[], None] | None = None,
) -> ImportedVersion:
    """Import a model like `import_model`, into a project of this state."""
    connect_registry(project)  # it also quietens MLflow, which would warn of pip while it saves
    with TemporaryDirectory() as scratch:
        checked = check_model(project, request, now, Path(scratch))
        facts = facts_of(checked)
        lineage = Lineage(
            now.data.revision,
            now.data.outputs,
            now.service,
            now.definition,
            checked.rows.split,
            request.as_of,
            installed(),
            uncommitted=now.uncommitted,
            imported=facts,
        )
        trained, version = record_import(project, lineage, checked, before)
    compiled = compiled_record(project, get_version(project, version))
    return ImportedVersion(
        model=project.model,
        version=version,
        kind=checked.model.kind,
        source=checked.origin.source,
        sha256=checked.origin.sha256,
        features=checked.features,
        metrics=dict(trained.metrics),
        parity=checked.parity,
        compiled=None if compiled is None or compiled.is_onnx else compiled.reason,
        runs_code=checked.model.runs_code,
        learnt_rows=count_learnt(facts, checked.rows.holdout, project.config.dataset),
        run_id=trained.run_id,
    )
