"""Gives Ray Tune the trials of a search, one after the other, and ends the search when it is to end."""

from collections import deque
from collections.abc import Callable, Iterable
from typing import Any

from ray.tune import Stopper
from ray.tune.search import Searcher

from tidemill.training.search.proposals import Proposals
from tidemill.training.search.trial_records import TrialLog

__all__ = ["EndOfSearch", "ProposedTrials"]


class ProposedTrials(Searcher):  # type: ignore[misc]
    """Proposes a trial whenever Ray Tune has room for one.

    Ray Tune pickles its searchers; another process never goes on from that, but from the journal.

    Args:
        proposals: which trials there are.
        log: says what they gave.
        todo: the numbers of those to make.
        at_once: the most that run at the same time.
        metric: what trials are compared by.
    """

    def __init__(
        self, proposals: Proposals, log: TrialLog, todo: Iterable[int], at_once: int, metric: str
    ) -> None:
        super().__init__(metric=metric, mode="max")
        self._proposals, self._log, self._at_once = proposals, log, at_once
        self._todo, self._running = deque(todo), dict[str, int]()
        self._told = {number for number, record in log.records.items() if record.status}

    def __getstate__(self) -> dict[str, Any]:
        """Leave out what only this process can use."""
        return {}

    def set_search_properties(self, metric: str | None, mode: str | None, config: Any, **spec: Any) -> bool:
        """Accept what Ray Tune says of the search, which is known."""
        return True

    def suggest(self, trial_id: str) -> Any:
        """Return the next trial; None while there is no room, or one may still have to begin again."""
        self._tell()
        self._todo.extendleft(self._log.take_begun_again())
        if len(self._running) >= self._at_once:
            return None
        if not self._todo:
            return None if self._running else Searcher.FINISHED
        number = self._todo.popleft()
        proposed = self._proposals.propose(number)
        self._running[trial_id] = number
        return {"trial": {**proposed._asdict(), "params": dict(proposed.params)}}

    def on_trial_complete(self, trial_id: str, result: Any = None, error: bool = False) -> None:
        """Note that there is room for another."""
        self._running.pop(trial_id, None)

    def save(self, checkpoint_path: str) -> None:
        """Write nothing: the journal has all."""

    def restore(self, checkpoint_path: str) -> None:
        """Read nothing."""

    def _tell(self) -> None:
        for number, record in sorted(self._log.records.items()):
            if record.status and number not in self._told:
                self._told.add(number)
                self._proposals.tell(number, self._log.values_of(record))


class EndOfSearch(Stopper):  # type: ignore[misc]
    """Ends the search when its budget is used up.

    Args:
        reason: says in words why the search is over, or returns None.
    """

    def __init__(self, reason: Callable[[], str | None]) -> None:
        self._reason = reason

    def __getstate__(self) -> dict[str, Any]:
        """Leave out what only this process can use."""
        return {}

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        """Let a single trial run: schedulers stop those."""
        return False

    def stop_all(self) -> bool:
        """Return whether the search is over."""
        return self._reason() is not None
