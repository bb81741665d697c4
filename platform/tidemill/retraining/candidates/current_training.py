"""Trains on the data version that the project's folder has now, with the project's features."""

from datetime import datetime
from typing import TYPE_CHECKING

from tidemill.data.repository.uncommitted_code import UncommittedCode
from tidemill.features.project_features import feature_names, feature_source, features_digest, hidden_fields
from tidemill.project import Project

if TYPE_CHECKING:
    from tidemill.training.search.search_budget import Progress
    from tidemill.training.search.search_plan import SearchPlan
    from tidemill.training.tracking.training_result import TrainedModel

__all__ = ["train_current"]


def train_current(
    project: Project,
    as_of: datetime,
    turn_id: str,
    *,
    uncommitted: UncommittedCode,
    plan: "SearchPlan",
    on_progress: "Progress | None" = None,
    must_resume: bool = False,
) -> "TrainedModel":
    """Train as `tidemill.training.train.train` does; arguments and errors are its own."""
    from tidemill.data.versioning.data_versions import current
    from tidemill.training.train import train

    return train(
        project,
        current(project),
        as_of,
        turn_id,
        features=feature_names(project),
        service=feature_source(project),
        definition=features_digest(project),
        uncommitted=uncommitted,
        plan=plan,
        personal=hidden_fields(project),
        on_progress=on_progress,
        must_resume=must_resume,
    )
