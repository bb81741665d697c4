"""Reads the facts of a turn from the records, from git and from MLflow, for its OpenLineage events."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit, urlunsplit

import polars as pl

from tidemill.data.repository.git import git_try
from tidemill.files.literal_paths import literal
from tidemill.lineage.sources.chain_sources import ChainRecords
from tidemill.lineage.sources.pipeline import Pipeline
from tidemill.project import Project
from tidemill.state.tables import GateDecision, Turn
from tidemill.training.tracking.run_lineage import Lineage
from tidemill.version import __version__

__all__ = ["PRODUCER", "Columns", "TurnDetails", "read_turn"]

PRODUCER = f"urn:tidemill:{__version__}"
"""The producer in OpenLineage events."""

Columns = list[tuple[str, str]]
"""Name and type of each column."""


@dataclass(frozen=True)
class TurnDetails:
    """The facts that the events of a turn contain."""

    project: str
    turn: Turn
    training_set: str
    """Path of the training set."""
    pipeline: Pipeline | None = None
    """The pipeline of the turn's data version, once there is one."""
    lineage: Lineage | None = None
    """Lineage of the run, once there is one."""
    decision: GateDecision | None = None
    schemas: Mapping[str, Columns] = field(default_factory=dict)
    """Columns and types of each data file, by path."""
    repository: str = ""
    """Address of the git repository."""


def read_turn(records: ChainRecords, turn: Turn) -> TurnDetails:
    """Return the recorded facts of a turn so far."""
    project, pipeline = records.project, records.pipeline(turn.data_revision)
    run = records.run(turn.run_id)
    return TurnDetails(
        project=project.config.project.name,
        turn=turn,
        training_set=records.training_set,
        pipeline=pipeline,
        lineage=run.lineage if run else None,
        decision=records.decision(turn.decision_id),
        schemas=_schemas(project, pipeline),
        repository=_repository(project),
    )


def _schemas(project: Project, pipeline: Pipeline | None) -> dict[str, Columns]:
    """Return the columns of a version's Parquet files that are still in DVC's cache."""
    found: dict[str, Columns] = {}
    for path, digest in (pipeline.outputs if pipeline else {}).items():
        kept = project.root / ".dvc" / "cache" / "files" / "md5" / digest[:2] / digest[2:]
        if not path.endswith(".parquet") or not kept.is_file():
            continue
        try:
            schema = pl.read_parquet_schema(literal(kept))
        except (OSError, pl.exceptions.PolarsError):
            continue
        found[path] = [(name, str(kind)) for name, kind in schema.items()]
    return found


def _repository(project: Project) -> str:
    """Return the address of the git remote ``origin``, without a password; else the repository's folder."""
    origin = git_try(project.root, "remote", "get-url", "origin").stdout.strip()
    if "://" not in origin:
        return origin or project.root.resolve().as_uri()
    parts = urlsplit(origin)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
