"""Finds the model versions that were trained on a subject, and the runs that store its rows."""

from collections.abc import Sequence
from dataclasses import dataclass

from tidemill.errors import ModelNotFound, TidemillError
from tidemill.plurals import counted
from tidemill.privacy.stores.earlier_versions import StoredContents
from tidemill.privacy.stores.run_samples import RunSamples
from tidemill.privacy.subject import Subject
from tidemill.project import Project
from tidemill.registry.versions.model_versions import list_versions
from tidemill.registry.versions.version_record import ModelVersion

__all__ = ["ModelKnowledge", "trained_on", "verdicts_on"]


_WORST_FIRST = ("yes", "in its data", "unknown", "no")


@dataclass(frozen=True)
class ModelKnowledge:
    """Whether one model version was trained on the subject, and whether its run stores the subject's rows."""

    model: str
    version: str
    aliases: tuple[str, ...]
    trained_on: str
    """``yes``: the training set has rows of it; ``in its data``: only the data that the training set was made
    from has; ``no``; ``unknown``: the content is missing, or Tidemill did not train the version."""
    data_revision: str | None
    samples: str
    """How many of its rows the run stores: ``2 rows``, ``none of it``, ``unknown``; ``none``: no run."""


def trained_on(project: Project, subject: Subject, contents: StoredContents | None) -> list[ModelKnowledge]:
    """Return for each version of the project's model whether it was trained on the subject.

    Raises:
        RegistryError: the registry cannot be read.
    """
    try:
        versions = list_versions(project)
    except ModelNotFound:
        return []
    samples = RunSamples(project, subject, contents)
    verdicts = verdicts_on(versions, project.config.dataset.path, contents)
    return [
        ModelKnowledge(
            model=version.model,
            version=version.version,
            aliases=version.aliases,
            trained_on=verdicts[version.version],
            data_revision=version.lineage.git_commit if version.lineage else None,
            samples=_samples(samples, version),
        )
        for version in versions
    ]


def verdicts_on(
    versions: Sequence[ModelVersion], dataset: str, contents: StoredContents | None
) -> dict[str, str]:
    """Return the verdict on each version; one that went on from another has learnt what that one had."""
    found: dict[str, str] = {}
    for version in sorted(versions, key=lambda one: int(one.version)):
        own = _verdict(version, dataset, contents)
        before = None if version.lineage is None else version.lineage.parent
        taught = "no" if before is None else found.get(before["version"], "unknown")
        found[version.version] = next(each for each in _WORST_FIRST if each in (own, taught))
    return found


def _verdict(version: ModelVersion, dataset: str, contents: StoredContents | None) -> str:
    if version.lineage is None or version.lineage.imported is not None or contents is None:
        return "unknown"
    held = {path: contents.hold(md5, path) for path, md5 in version.lineage.data.items()}
    if held.get(dataset):
        return "yes"
    if True in held.values():
        return "in its data"
    return "unknown" if None in held.values() or not held else "no"


def _samples(samples: RunSamples, version: ModelVersion) -> str:
    """Search the sample and the hold-out rows that a run stores."""
    if not version.run_id:
        return "none"
    try:
        rows = samples.count(version.run_id)
    except TidemillError:
        return "unknown"
    return "unknown" if rows is None else counted(rows, "row") if rows else "none of it"
