"""Streams a worker's rows by Ray Data: a task beside the worker reads them, a few megabytes at a time.

The order is the caller's: one task reads, in the order that it was given, and what it reads is not reordered.
The task asks for no CPU, since the workers of a fit may hold them all.

Rows are asked for in sections, each a dataset of its own that is read to its end before its rows are used.
Ray Data 2.60 can hold a task back as well, but then looks at it without a pause: half a CPU for each worker.
"""

from collections.abc import Generator, Iterable, Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import ray
from ray.data import Datasource, ExecutionResources, ReadTask, read_datasource
from ray.data.block import Block, BlockAccessor, BlockMetadata

from tidemill.errors import TrainingError
from tidemill.training.fitting.row_pieces import pieces_of

__all__ = ["streamed_pieces"]

_COLUMN = "values"
_SECTION = 8
"""Pieces that Ray's object store may hold for a worker."""


def streamed_pieces(
    names: Sequence[str], most: int, order: npt.NDArray[np.int64] | None
) -> Generator[npt.NDArray[Any], None, None]:
    """Yield what `pieces_of` yields of the arrays in files, in pieces of about that size.

    Raises:
        TrainingError: Ray Data answers with other rows.
    """
    files = [np.load(name, mmap_mode="r") for name in names]
    if order is None:
        order = np.arange(sum(map(len, files)))
    for start in range(0, len(order), most * _SECTION):
        wanted = order[start : start + most * _SECTION]
        for piece in _section(_Rows(names, most, wanted)):
            # Objects of Ray's have numbers drawn at random, which processes that were forked draw alike.
            [first] = pieces_of(files, 1, wanted[:1])
            if len(piece) > len(wanted) or not np.array_equal(piece[:1], first, equal_nan=True):
                raise _others(names)
            yield piece
            wanted = wanted[len(piece) :]
        if len(wanted):
            raise _others(names)


def _others(names: Sequence[str]) -> TrainingError:
    return TrainingError(
        f"Ray Data streamed other rows than those of {names[0]}",
        hint="start Ray anew; are its workers forked from one process?",
    )


def _section(source: "_Rows") -> Iterator[npt.NDArray[Any]]:
    here = {"ray.io/node-id": ray.get_runtime_context().get_node_id()}
    rows = read_datasource(source, num_cpus=0, override_num_blocks=1, label_selector=here)
    context = rows.context
    context.enable_progress_bars = context.print_on_execution_start = False
    # Ray Data gathers what a task yields until it has more than this, and cuts what has 1.5 times as much.
    context.target_max_block_size = int(source.piece / 1.25)
    context.execution_options.preserve_order = True
    # No more nodes are started for it, where the cluster could.
    context.execution_options.resource_limits = ExecutionResources.for_limits(cpu=0, gpu=0)
    for batch in rows.iter_batches(batch_size=None, batch_format="numpy", prefetch_batches=1):
        yield batch[_COLUMN]


class _Rows(Datasource):  # type: ignore[misc]  # Ray's class has no types
    """Rows of arrays in files, in an order, for Ray Data."""

    def __init__(self, names: Sequence[str], most: int, order: npt.NDArray[np.int64]) -> None:
        self._names, self._most, self._rows = list(names), most, len(order)
        self._order = ray.put(order)  # once, not with each try of a task
        self._row = int(np.load(names[0], mmap_mode="r")[:1].nbytes)
        self.piece = most * self._row

    def estimate_inmemory_data_size(self) -> int:
        return self._rows * self._row

    def get_read_tasks(
        self, parallelism: int, per_task_row_limit: int | None = None, data_context: Any = None
    ) -> list[ReadTask]:
        """Return one task, whatever the parallelism: it yields the pieces in turn."""
        about = BlockMetadata(
            num_rows=self._rows,
            size_bytes=self.estimate_inmemory_data_size(),
            input_files=self._names,
            exec_stats=None,
        )
        return [ReadTask(partial(_read, self._names, self._most, self._order), about)]


def _read(names: Sequence[str], most: int, order: Any) -> Iterable[Block]:
    files = [np.load(name, mmap_mode="r") for name in names]
    for piece in pieces_of(files, most, ray.get(order)):
        yield BlockAccessor.batch_to_block({_COLUMN: piece})
