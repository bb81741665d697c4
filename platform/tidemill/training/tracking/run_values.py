"""The values of runs that are shown, and the tags by which they are known. Imports no engine."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from tidemill.training.tracking.run_lineage import Lineage
    from tidemill.training.tracking.training_result import TrainedModel

__all__ = [
    "CELLS",
    "END",
    "IMPORT_PREFIX",
    "LINEAGE_PREFIX",
    "ORIGIN_PREFIX",
    "PARENT",
    "ROLE",
    "STATUSES",
    "SUMMARY_BEFORE",
    "SUMMARY_TAG",
    "TURN",
    "UNCOMMITTED",
    "RunList",
    "Shown",
    "TrackedRun",
    "WholeRun",
    "has_summary",
    "named_files",
    "run_moment",
    "tracked_run",
]

TURN = "tidemill.turn"
ROLE = "tidemill.role"
END = "tidemill.end"
PARENT = "mlflow.parentRunId"
SUMMARY_TAG = "tidemill.summary.sha256"
"""The last tag that a training writes: a run with it is complete."""
SUMMARY_BEFORE = "tidemill.summary"
"""Tag with the summary itself: how earlier versions of Tidemill kept it."""
LINEAGE_PREFIX = "tidemill.lineage."
ORIGIN_PREFIX = "tidemill_origin."
"""How the tags of plain runs inside a project begin. Those that begin with ``tidemill.`` are trusted, and
MLflow behind the dashboard takes them from few people; these are a script's own word."""
IMPORT_PREFIX = "tidemill_import."
"""How the tags begin that tell where the run of another tool came from."""
CELLS = f"{ORIGIN_PREFIX}cells"
"""The digest of the cells that the notebook of a run had run, or why they are not kept."""
UNCOMMITTED = f"{ORIGIN_PREFIX}uncommitted"
"""How many files of code no commit holds, and the first names."""
FRONT = "search/pareto.json"
"""The run's file with the trials that no other one beats in all of ``train.metrics``."""
STATUSES = ("FINISHED", "FAILED", "KILLED", "RUNNING", "SCHEDULED")
"""The statuses of MLflow's runs."""
Shown = Literal["searches", "trials", "all"]

_NAMED = 200


def has_summary(tags: Mapping[str, str]) -> bool:
    """Return whether a run or version with these tags comes from a complete training of Tidemill.

    >>> has_summary({SUMMARY_TAG: "9a0e"}), has_summary({"team": "rivers"})
    (True, False)
    """
    return SUMMARY_TAG in tags or SUMMARY_BEFORE in tags


def named_files(files: Sequence[str]) -> str:
    """Return how many files, and the first names, for a tag.

    >>> named_files(("a.py", "b.py")), named_files(())
    ('2: a.py, b.py', '')
    """
    return f"{len(files)}: {', '.join(files)}"[:_NAMED] if files else ""


@dataclass(frozen=True)
class TrackedRun:
    """A run as MLflow's store has it."""

    run_id: str
    experiment_id: str
    name: str
    status: str
    """One of `STATUSES`."""
    role: str | None
    """``search``, ``trial``, or None for a run that Tidemill did not make."""
    parent: str | None
    """The run that this run is a trial of."""
    started_at: datetime | None
    """Wall-clock, UTC."""
    ended_at: datetime | None
    end: str | None
    """How it ended, in words."""
    metrics: Mapping[str, float]
    params: Mapping[str, str]
    turn_id: str | None
    data_revision: str | None
    commit: str | None
    """The code's commit, as MLflow itself recorded it."""
    feature_service: str | None
    feature_definition: str | None
    deleted: bool
    origin: Mapping[str, str] = field(default_factory=dict)
    """What tags tell of a plain run inside a project."""
    imported: Mapping[str, str] = field(default_factory=dict)
    """What tags tell of the run of another tool."""
    left: bool = False
    """Its process was killed, and nobody has gone on with it: MLflow has it as running."""


@dataclass(frozen=True)
class RunList:
    """Some runs of a list, and where the list goes on."""

    runs: Sequence[TrackedRun]
    following: str | None
    """Given to `list_runs` for the next ones; None at the end."""


@dataclass(frozen=True)
class WholeRun:
    """A run with all that is on record of what it was made from."""

    run: TrackedRun
    lineage: "Lineage | None"
    """Of a run that Tidemill made."""
    trained: "TrainedModel | None"
    origin: Mapping[str, Any] | None
    """Of a plain run inside a project."""
    patch: bytes
    """The changes of its code that no commit holds."""
    versions: tuple[str, ...]
    """Versions of the project's model that were registered from it."""
    trouble: str | None
    """What cannot be read of it."""

    @property
    def commit(self) -> str | None:
        """The commit of its code."""
        return (self.origin or {}).get("commit") or self.run.commit


def tracked_run(
    facts: Mapping[str, Any],
    tags: Mapping[str, str],
    metrics: Mapping[str, float],
    params: Mapping[str, str],
) -> TrackedRun:
    """Return a run by what MLflow's store says of it.

    Args:
        facts: by the names of MLflow's own table of runs.
        tags: of the run.
        metrics: the latest value of each.
        params: all of them.
    """
    return TrackedRun(
        run_id=facts["run_uuid"],
        experiment_id=str(facts["experiment_id"]),
        name=facts["name"] or "",
        status=facts["status"],
        role=tags.get(ROLE),
        parent=tags.get(PARENT),
        started_at=run_moment(facts["start_time"]),
        ended_at=run_moment(facts["end_time"]),
        end=tags.get(END),
        metrics=dict(metrics),
        params=dict(params),
        turn_id=tags.get(TURN),
        data_revision=tags.get(f"{LINEAGE_PREFIX}git_commit"),
        commit=tags.get("mlflow.source.git.commit"),
        feature_service=tags.get(f"{LINEAGE_PREFIX}feature_service"),
        feature_definition=tags.get(f"{LINEAGE_PREFIX}feature_definition"),
        deleted=facts["lifecycle_stage"] == "deleted",
        origin=_under(ORIGIN_PREFIX, tags),
        imported=_under(IMPORT_PREFIX, tags),
    )


def _under(prefix: str, tags: Mapping[str, str]) -> dict[str, str]:
    return {key.removeprefix(prefix): value for key, value in tags.items() if key.startswith(prefix)}


def run_moment(milliseconds: int | None) -> datetime | None:
    """Return a moment by MLflow's milliseconds since 1970."""
    return datetime.fromtimestamp(milliseconds / 1000, UTC) if milliseconds else None
