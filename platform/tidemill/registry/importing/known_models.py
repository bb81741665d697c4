"""Tell whether a model from elsewhere is one that this project made, and until when that learnt."""

from dataclasses import dataclass
from typing import Any

from tidemill.project import Project
from tidemill.registry.importing.model_origins import Origin
from tidemill.registry.versions.model_versions import ModelVersion, list_versions
from tidemill.training.hashed_split import HashedSplit

__all__ = ["KnownModel", "find_known"]


@dataclass(frozen=True)
class KnownModel:
    """A version of the project's model, or the twin that was judged in its place."""

    version: str
    learnt_until: str | None
    """Moment until which it learnt from all rows; None if that is not on record."""
    classes: tuple[str, ...]
    """The classes of its outputs, in their order."""
    is_twin: bool = False

    def facts(self) -> dict[str, Any]:
        """Return it as JSON values, for the lineage of what is imported."""
        found: dict[str, Any] = {"version": self.version}
        if self.learnt_until is not None:
            found["learnt_until"] = self.learnt_until
        return found | ({"twin": True} if self.is_twin else {})


def find_known(project: Project, origin: Origin) -> KnownModel | None:
    """Return the version that a model is a copy of, by its file's digest, or by the run that MLflow names."""
    for version in list_versions(project):
        if version.trained is None or version.lineage is None:
            continue
        files = version.trained.files
        if origin.file_sha256 is not None and files.get("judged") == origin.file_sha256:
            return _known(version, is_twin=True)
        same_file = origin.file_sha256 is not None and files.get("served") == origin.file_sha256
        if same_file or (origin.run_id is not None and version.run_id == origin.run_id):
            return _known(version, is_twin=False)
    return None


def _known(version: ModelVersion, is_twin: bool) -> KnownModel:
    trained, lineage = version.trained, version.lineage
    assert trained is not None
    assert lineage is not None
    imported, until = lineage.imported, None
    if imported is not None:
        until = imported.get("learnt_until")
    elif trained.refitted_on is not None and not is_twin:
        until = lineage.as_of.isoformat()
    elif not isinstance(lineage.split, HashedSplit):
        until = lineage.split.fit.end.isoformat()
    classes = tuple(trained.classes[place] for place in trained.places) or trained.classes
    return KnownModel(version.version, until, classes, is_twin)
