"""Takes up the trials that an earlier process of a search made, by its journal."""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tidemill.plurals import counted
from tidemill.training.model_spec import TrainingSpec
from tidemill.training.search.parameter_spaces import params_at
from tidemill.training.search.proposals import Proposals
from tidemill.training.search.schedulers.trial_schedulers import replay
from tidemill.training.search.search_journal import KnownTrial
from tidemill.training.search.trial_checkpoints import checkpoint_file, read_checkpoint
from tidemill.training.search.trial_records import TrialLog, TrialRecord

__all__ = ["take_up"]

_log = logging.getLogger(__name__)


def take_up(proposals: Proposals, scheduler: Any, log: TrialLog, spec: TrainingSpec) -> list[int]:
    """Give log, proposals and scheduler what is known already, and return the numbers of the trials to make.

    A trial that was running goes on from its checkpoint with the parameters that it had. It begins anew where
    there is none, and a warning says so.
    """
    known = log.journal.trials if log.journal is not None else {}
    records = {}
    for number, trial in sorted(known.items()):
        if trial.point is not None:
            params = params_at(spec.family(trial.family), trial.point)
            proposals.remember(number, trial.family, params)
        if trial.end is not None:
            records[number] = _record(trial, proposals)
            proposals.tell(number, log.values_of(records[number]))
    ended = sorted(records, key=lambda number: known[number].place)
    replay(scheduler, [known[number] for number in ended])
    log.restore([records[number] for number in ended])
    if log.journal is not None:
        _tell_of_lost_rounds(log.journal.folder, known, spec)
    return [number for number in range(proposals.total) if number not in records]


def _tell_of_lost_rounds(search: Path, known: Mapping[int, KnownTrial], spec: TrainingSpec) -> None:
    """Warn of the trials that were running, and of which nothing is left to go on from."""
    for number, trial in sorted(known.items()):
        if trial.end is not None or not trial.rounds or read_checkpoint(checkpoint_file(search, number)):
            continue
        can = spec.family(trial.family).steps is not None
        why = "no checkpoint was kept yet" if can else f"family {trial.family!r} keeps no checkpoints"
        _log.warning("trial %d begins anew after %s: %s", number, counted(len(trial.rounds), "round"), why)


def _record(trial: KnownTrial, proposals: Proposals) -> TrialRecord:
    proposed = proposals.propose(trial.number)
    return TrialRecord(
        proposed.number,
        proposed.family,
        proposed.params,
        proposed.rounds,
        trial.run_id,
        history=[dict(metrics) for metrics in trial.rounds],
        error=trial.error,
        cpu_seconds=trial.cpu_seconds,
        gpu_seconds=trial.gpu_seconds,
        status=trial.end or "",
    )
