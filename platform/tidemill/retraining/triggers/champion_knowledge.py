"""Tells what the serving version knew when it was made: until when, and how many labels."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import polars as pl
from polars.exceptions import PolarsError
from sqlalchemy import select

from tidemill.clock import utc
from tidemill.data.tables.column_names import literal_name
from tidemill.data.tables.known_rows import known_at
from tidemill.errors import RegistryError
from tidemill.project import Project
from tidemill.registry.versions.model_versions import CHAMPION, ModelVersion, get_version
from tidemill.retraining.policies import Policy
from tidemill.state import State
from tidemill.state.tables import Promotion, Turn

__all__ = ["Knowledge", "champion_knowledge", "labels_known"]


@dataclass(frozen=True)
class Knowledge:
    """What a version knew when it was made."""

    until: datetime | None = None
    """The moment up to which it knew data; None: unknown."""
    labels: int | None = None
    """How many labels were known; None: unknown, or no policy asks."""


def champion_knowledge(
    project: Project, state: State, policies: Sequence[Policy], serving: str | None, turn: Turn | None
) -> Knowledge:
    """Return what the serving version knew.

    The record of its turn says it; of a version from elsewhere, or from before the number was recorded, the
    registry says the moment, and the training set how many labels were known then. These are read only
    if a policy asks for them.

    Args:
        project: whose training set and registry count.
        state: the records.
        policies: the policies that will be judged.
        serving: the version; None if none serves.
        turn: the turn that made it; None: it came from elsewhere.
    """
    until = utc(turn.as_of) if turn is not None else None
    labels = (turn.inputs or {}).get("labels") if turn is not None else None
    mentioned = [each for policy in policies for each in policy.mentioned]
    by_share = any(isinstance(each.new_labels, str) for each in mentioned)
    asked = (until is None and any(each.age for each in mentioned)) or (labels is None and by_share)
    if serving is None or not asked:
        return Knowledge(until, labels)
    try:
        found = get_version(project, serving)
        until, labels = until or _made_at(found), labels or (found.trained.labels if found.trained else None)
    except RegistryError:  # it was deleted, or its files cannot be read
        pass
    until = until or _promoted_at(project, state, serving)
    if labels is None and by_share and until is not None:
        labels = labels_known(project, until)
    return Knowledge(until, labels)


def labels_known(project: Project, moment: datetime) -> int | None:
    """Return how many rows of the training set had a label that was known at a moment.

    None where the training set cannot be read, as in a clone whose data were not pulled.
    """
    dataset = project.config.dataset
    try:
        rows = pl.scan_parquet(project.dataset_path, glob=False).filter(
            known_at(moment, dataset.time, dataset.label_known)
            & pl.col(literal_name(dataset.label)).is_not_null()
        )
        return int(rows.select(pl.len()).collect().item())
    except (OSError, PolarsError):
        return None


def _made_at(version: ModelVersion) -> datetime | None:
    """Return the moment up to which a version knew data, as far as its lineage tells."""
    if version.lineage is None:
        return None
    until = (version.lineage.imported or {}).get("learnt_until")
    return datetime.fromisoformat(until) if until else version.lineage.as_of


def _promoted_at(project: Project, state: State, version: str) -> datetime | None:
    """Return the moment at which a version first became the champion; None if that is not on record."""
    query = select(Promotion.at).where(
        Promotion.model == project.model,
        Promotion.alias == CHAMPION,
        Promotion.to_version == version,
        Promotion.status == "done",
    )
    with state.transaction() as session:
        first = session.scalars(query.order_by(Promotion.at).limit(1)).first()
    return None if first is None else utc(first)
