"""Notices runs whose process was killed: MLflow has them as running until somebody goes on with their turn.

Where machines share the records, another one may make the turn, so nothing is said of its process.
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace

from tidemill.files.locks import is_locked
from tidemill.project import ProjectFolder
from tidemill.state.record_reader import Records
from tidemill.training.tracking.run_values import TrackedRun

__all__ = ["KILLED", "TurnsAtRest"]

KILLED = "its process was killed"
"""How a run ended that nobody ended."""
_GOES_ON = f"{KILLED}: `tidemill run --resume` goes on with it"


class TurnsAtRest:
    """Whether no process makes a turn of a project. Made before turns or runs are read, and asked after.

    Args:
        folder: the project.
    """

    def __init__(self, folder: ProjectFolder) -> None:
        self._records = Records(folder.state_url)
        self._lock = folder.home / "turn.lock"
        self.began = self._at_rest()

    def lasted(self) -> bool:
        """Return whether no process made one when this was made, nor does now."""
        return self.began and self._at_rest()

    def killed(self, turns: Mapping[str, str]) -> frozenset[str]:
        """Return the runs whose process was killed, of runs on record as running: run → its turn."""
        if not turns or not self.lasted():
            return frozenset()
        of = f"id IN ({', '.join('?' * len(turns))})"
        known = {row.id for row in self._records.select("turns", of, *turns.values(), columns="id")}
        return frozenset(run for run, turn in turns.items() if turn in known)

    def shown(self, runs: Iterable[TrackedRun]) -> list[TrackedRun]:
        """Return runs with the status of those that were killed."""
        found = list(runs)
        going = {run.run_id: run.turn_id for run in found if run.status == "RUNNING" and run.turn_id}
        killed = self.killed(going)
        return [
            replace(run, status="KILLED", end=_GOES_ON if run.role == "search" else KILLED, left=True)
            if run.run_id in killed
            else run
            for run in found
        ]

    def _at_rest(self) -> bool:
        return self._records.path is not None and not is_locked(self._lock)
