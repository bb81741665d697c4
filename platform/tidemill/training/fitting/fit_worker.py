"""Fit a model on one worker's shard of the rows. The module imports little: every worker imports it again."""

from collections.abc import Callable, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from tidemill.training.distributed import Saved
from tidemill.training.fitting.row_shards import read_shard
from tidemill.training.spec_loading import imports_of

__all__ = ["fit_in_worker"]

_STATE, _ROUNDS = "state", "rounds"


def fit_in_worker(work: Mapping[str, Any]) -> Any:
    """Fit a family's model with the other workers, from the last checkpoint on if there is one.

    Args:
        work: the project's ``root``, the ``source`` of its training spec, the ``family`` with its ``params``
            and ``rounds``, and the ``folder`` of the shards.

    Returns:
        What the family's `Distributed.fit` returns, of the first worker alone.
    """
    from ray import train

    family = work["source"].open(imports_of(work["root"])).family(work["family"])
    here = train.get_context()
    rank, workers = here.get_world_rank(), here.get_world_size()
    shard = read_shard(Path(work["folder"]), rank, workers, _network(family.distributed.engine))
    keep = _keeper(rank, work["rounds"])
    found = family.distributed.fit(work["params"], shard, work["rounds"], _saved(), keep)
    return found if rank == 0 else None


def _network(engine: str) -> Mapping[str, Any]:
    """Return LightGBM's parameters that name all workers."""
    if engine != "lightgbm":
        return {}
    from ray.train.lightgbm import get_network_params

    return dict(get_network_params())


def _saved() -> Saved | None:
    from ray import train

    checkpoint = train.get_checkpoint()
    if checkpoint is None:
        return None
    with checkpoint.as_directory() as folder:
        return Saved(int(Path(folder, _ROUNDS).read_text()), Path(folder, _STATE).read_bytes())


def _keeper(rank: int, last: int) -> Callable[[int, Callable[[], bytes]], None]:
    """Return what keeps the first worker's state after a round, but not after the last; all call it."""
    from ray import train

    def keep(rounds: int, state: Callable[[], bytes]) -> None:
        if rounds >= last:
            return
        if rank != 0:
            train.report({_ROUNDS: rounds})
            return
        with TemporaryDirectory() as folder:
            Path(folder, _ROUNDS).write_text(str(rounds))
            Path(folder, _STATE).write_bytes(state())
            train.report({_ROUNDS: rounds}, checkpoint=train.Checkpoint.from_directory(folder))

    return keep
