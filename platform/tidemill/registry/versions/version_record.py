"""One version of a model, as it is written to the registry and read back."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from tidemill.training.tracking.mlflow_tracking import TURN
from tidemill.training.tracking.run_lineage import Lineage
from tidemill.training.tracking.training_result import SUMMARY, TrainedModel

__all__ = ["DECISION", "ModelVersion", "describe", "read_version", "version_tags"]

DECISION = "tidemill.gate"
"""Tag of a version with what the gate last said of it, as JSON."""


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
    lineage: Lineage | None = field(repr=False)
    """None for a model that Tidemill did not train."""
    trained: TrainedModel | None = field(repr=False)
    """How it was trained; None likewise."""

    @property
    def metrics(self) -> Mapping[str, float]:
        """On its own validation and hold-out rows (`training_result.TrainedModel.metrics`)."""
        return self.trained.metrics if self.trained else {}

    @property
    def turn_id(self) -> str | None:
        """The turn that registered it."""
        return self.tags.get(TURN)

    @property
    def decision(self) -> dict[str, Any] | None:
        """What the gate last said of it."""
        found = self.tags.get(DECISION)
        return json.loads(found) if found else None


def version_tags(trained: TrainedModel, lineage: Lineage, turn_id: str | None) -> dict[str, str]:
    """Return the tags that a version gets at birth."""
    tags = {**lineage.tags(), **trained.tags()}
    return {**tags, TURN: turn_id} if turn_id else tags


def read_version(found: Any, aliases: Sequence[str] | None = None) -> ModelVersion:
    """Read what MLflow returned; a search brings no aliases along, they are given then."""
    tags = dict(found.tags)
    ours = SUMMARY in tags
    return ModelVersion(
        model=found.name,
        version=str(found.version),
        aliases=tuple(sorted(found.aliases if aliases is None else aliases)),
        run_id=found.run_id or "",
        source=found.source,
        registered_at=datetime.fromtimestamp(found.creation_timestamp / 1000, UTC),
        description=found.description or "",
        tags=tags,
        lineage=Lineage.from_tags(tags) if ours else None,
        trained=TrainedModel.from_tags(found.run_id, tags) if ours else None,
    )


def describe(trained: TrainedModel, lineage: Lineage, metric: str) -> str:
    """Return one sentence on how a version came about."""
    found = trained.metrics.get(f"holdout_{metric}")
    held = f", {metric} {found:.4f} on {lineage.split.holdout}" if found is not None else ""
    return (
        f"{trained.family}, fitted on {lineage.split.fit}{held}; best of {trained.trials} trials, "
        f"data {lineage.git_commit[:10]}, known as of {lineage.as_of:%Y-%m-%d %H:%M} UTC."
    )
