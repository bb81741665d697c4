"""The record of a model version, as written to the registry and read back."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from typing import Any

from tidemill.errors import RegistryError
from tidemill.plurals import counted
from tidemill.registry.versions.alias_names import ARCHIVED
from tidemill.tasks.natural_metric import metric_of
from tidemill.training.hashed_split import HashedSplit
from tidemill.training.tracking.mlflow_tracking import TURN, shortened
from tidemill.training.tracking.run_lineage import Lineage
from tidemill.training.tracking.run_values import has_summary
from tidemill.training.tracking.training_record import (
    ReadDocument,
    read_lineage,
    read_summary,
    training_tags,
)
from tidemill.training.tracking.training_result import TrainedModel

__all__ = ["DECISION", "ModelVersion", "describe", "read_version", "version_tags"]

DECISION = "tidemill.gate"
"""Tag of a version with a summary of the gate's last decision on it, as JSON."""


@dataclass(frozen=True)
class ModelVersion:
    """One version of a model, as the registry knows it."""

    model: str
    version: str
    aliases: tuple[str, ...]
    run_id: str
    """The run that made it; empty for a model that came from elsewhere."""
    source: str = field(repr=False)
    registered_at: datetime
    """Wall-clock time."""
    description: str = field(repr=False)
    tags: Mapping[str, str] = field(repr=False)
    read: ReadDocument = field(repr=False, compare=False)
    """Reads the JSON files of its run."""

    @cached_property
    def lineage(self) -> Lineage | None:
        """The data, code and features it was made from; None for a model that Tidemill did not train.

        Raises:
            RegistryError: the file of its run that tells cannot be read.
        """
        return read_lineage(self.tags, self.read) if has_summary(self.tags) else None

    @cached_property
    def trained(self) -> TrainedModel | None:
        """How it was trained; None for a model that Tidemill did not train.

        Raises:
            RegistryError: the file of its run that tells cannot be read.
        """
        return read_summary(self.run_id, self.tags, self.read) if has_summary(self.tags) else None

    @property
    def metrics(self) -> Mapping[str, float]:
        """On its own validation and hold-out rows (`training_result.TrainedModel.metrics`)."""
        return self.trained.metrics if self.trained else {}

    def refuse_archived(self) -> None:
        """Raise `RegistryError` if somebody has put it away."""
        if ARCHIVED in self.tags:
            told = json.loads(self.tags[ARCHIVED])
            because = f": {told['reason']}" if told["reason"].strip() else ""
            raise RegistryError(
                f"{self.model} {self.version} was archived by {told['by']}{because}",
                hint=f"`tidemill models unarchive {self.version}` brings it back",
            )

    @property
    def digest(self) -> str | None:
        """SHA-256 of the model's file as it was registered; None where that is on no record."""
        imported = (self.lineage.imported if self.lineage else None) or {}
        served = self.trained.files.get("served") if self.trained else None
        return served or imported.get("sha256")

    @property
    def turn_id(self) -> str | None:
        """The turn that registered it."""
        return self.tags.get(TURN)

    @property
    def decision(self) -> dict[str, Any] | None:
        """A summary of the gate's last decision on it; the whole of it is in our records."""
        found = self.tags.get(DECISION)
        return json.loads(found) if found else None


def version_tags(run_tags: Mapping[str, str], turn_id: str | None) -> dict[str, str]:
    """Return the tags that a version of a run with these tags gets when it is registered."""
    tags = training_tags(run_tags)
    return {**tags, TURN: turn_id} if turn_id else tags


def read_version(found: Any, read: ReadDocument, aliases: Sequence[str] | None = None) -> ModelVersion:
    """Convert MLflow's version.

    Args:
        found: the version from MLflow.
        read: reads the JSON files of its run.
        aliases: of the version; default: those in ``found``, where a search puts none.
    """
    return ModelVersion(
        model=found.name,
        version=str(found.version),
        aliases=tuple(sorted(found.aliases if aliases is None else aliases)),
        run_id=found.run_id or "",
        source=found.source,
        registered_at=datetime.fromtimestamp(found.creation_timestamp / 1000, UTC),
        description=found.description or "",
        tags=dict(found.tags),
        read=read,
    )


def describe(trained: TrainedModel, lineage: Lineage, metric: str) -> str:
    """Return one sentence on how a version came about."""
    found, split = trained.metrics.get(f"holdout_{metric}"), lineage.split
    if lineage.imported is not None:
        on = "the rows held out" if isinstance(split, HashedSplit) else f"{split.holdout}"
        held = f"; {metric_of(metric).said(found)} on {on}" if found is not None else ""
        source, digest = shortened(str(lineage.imported["from"]), 200), str(lineage.imported["sha256"])
        return f"{trained.family}, imported from {source} (SHA-256 {digest[:12]}){held}."
    if isinstance(split, HashedSplit):
        on, fitted = "the rows held out", f"{split}"
    else:
        on, fitted = f"{split.holdout}", f"{split.fit}"
    whose = ""
    if trained.refitted_on is not None:
        whose = f" of its twin, which was fitted on {fitted}"
        fitted = f"all {trained.refitted_on:,} rows with a label"
    held = f", {metric_of(metric).said(found)}{whose} on {on}" if found is not None else ""
    family = shortened(trained.family, 100)
    if lineage.parent is not None:
        family += f", gone on from version {lineage.parent['version']}"
    changed = " with uncommitted changes" if lineage.uncommitted else ""
    return (
        f"{family}, fitted on {fitted}{held}; best of {counted(trained.trials, 'trial')}, "
        f"data {lineage.git_commit[:10]}{changed}, known as of {lineage.as_of:%Y-%m-%d %H:%M} UTC."
    )
