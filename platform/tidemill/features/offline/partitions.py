"""Join point-in-time in pieces when memory is too small: partition by key on disk, join each partition.

A large history is streamed once, pruned to what can matter, and written to a temporary folder in
partitions by the hash of its keys. (Polars streams a partitioned sink; its as-of join by key it does not.)
Each partition is joined with the rows of the same hash. One that is still too large, because few keys have
most of the history, is divided by time, and what was last known of each key is carried on to the next.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from tidemill.data.tables.column_names import literal_name
from tidemill.features.offline.asof_rules import (
    AT,
    KNOWN,
    ON,
    Lookup,
    Span,
    drop_superseded,
    history_within,
    latest_features,
    request_keys,
    sort_history,
)
from tidemill.features.offline.spill import (
    JoinResources,
    delete_parts,
    estimate_row_bytes,
    read_part,
    spilling,
    temporary,
    write_parts,
)

__all__ = ["join_in_pieces"]

_ROW = "__row"
_SHARE = 8  # a partition on disk may take 1/8 of the memory: it is read, sorted and joined
_MOST = 128  # partitions: each is an open file
_FEW = 100  # above so many history rows per wanted key, the other keys are dropped first
_SAMPLE = 1_000_000  # size of the sample of moments that divisions by time are chosen from


@dataclass(frozen=True)
class _Task:
    """The join of one history to all rows."""

    rows: pl.DataFrame
    """Their moments and keys."""
    lookup: Lookup
    size: int
    """Rows of the history."""
    span: Span
    aim: int
    """Bytes of a partition."""
    batch_rows: int
    folder: Path


def join_in_pieces(
    rows: pl.DataFrame,
    lookups: Sequence[Lookup],
    sizes: Sequence[int],
    span: Span,
    room: JoinResources,
    batch_rows: int,
) -> Iterator[pl.DataFrame]:
    """Join ``rows``, whose moments are in the column ``AT``; give batches in their order.

    Raises:
        FeatureError: a source cannot be read, or the disk is full.
    """
    aim = max(1, room.memory // _SHARE)
    with temporary(room) as folder:
        answers: list[Callable[[int], pl.DataFrame]] = []
        for index, (lookup, size) in enumerate(zip(lookups, sizes, strict=True)):
            mine = rows.select(AT, *map(literal_name, set(lookup.history.keys.values())))
            task = _Task(mine, lookup, size, span, aim, batch_rows, folder / str(index))
            with spilling(lookup.history.name, folder):
                small = size <= 2 * batch_rows and size * estimate_row_bytes(lookup) <= aim
                answers.append(_small(task) if small else _large(task))
        for number in range(-(-rows.height // batch_rows)):
            yield pl.concat([answer(number) for answer in answers], how="horizontal")


def _small(task: _Task) -> Callable[[int], pl.DataFrame]:
    """Hold the history in memory, and join each batch of rows to it on demand."""
    known = sort_history(history_within(task.lookup, task.span), task.lookup).collect()

    def answer(number: int) -> pl.DataFrame:
        first = number * task.batch_rows
        rows = pl.int_range(
            first, min(first + task.batch_rows, task.rows.height), dtype=pl.UInt32, eager=True
        )
        return pl.concat(_matches(task, rows, known)).sort(_ROW).drop(_ROW)

    return answer


def _large(task: _Task) -> Callable[[int], pl.DataFrame]:
    """Join the whole history now, and keep the results on disk by batch until they are read."""
    folders: list[Path] = []
    waiting: list[pl.DataFrame] = []

    def flush() -> None:
        folders.append(task.folder / f"answers-{len(folders)}")
        write_parts(pl.concat(waiting).lazy(), pl.col(_ROW) // task.batch_rows, folders[-1])
        waiting.clear()

    for piece in _pieces(task):
        waiting.append(piece)
        if sum(frame.height for frame in waiting) >= task.batch_rows:
            flush()
    if waiting:
        flush()

    def answer(number: int) -> pl.DataFrame:
        with spilling(task.lookup.history.name, task.folder):
            parts = [part for folder in folders if (part := read_part(folder, number)) is not None]
            batch = pl.concat(pl.collect_all(parts)).sort(_ROW).drop(_ROW)
            for folder in folders:
                delete_parts(folder, number)
            return batch

    return answer


def _pieces(task: _Task) -> Iterator[pl.DataFrame]:
    """Join partition by partition; give the features of some rows, and each row's number in ``_ROW``."""
    keys = list(task.lookup.keys)
    asked = request_keys(task.rows.lazy(), task.rows.schema, task.lookup)
    known = history_within(task.lookup, task.span)
    count = 1
    if keys:
        count = min(_MOST, -(-max(task.size, task.rows.height) * estimate_row_bytes(task.lookup) // task.aim))
        wanted = asked.select(keys).drop_nulls()
        different = wanted.select(_hash(keys).approx_n_unique()).collect(engine="streaming").item()
        if different * _FEW <= task.size:
            known = known.join(wanted.unique(), on=keys, how="semi", maintain_order="left")
    part = _hash(keys) % count
    write_parts(known, part, task.folder / "known")
    parts = asked.select(part.cast(pl.UInt16)).collect(engine="streaming").to_series()
    if parts.len() != task.rows.height:  # without keys that is a single value
        parts = parts.new_from_index(0, task.rows.height)
    for number in range(count):
        rows = (parts == number).arg_true()
        partition = read_part(task.folder / "known", number)
        if partition is None:
            nulls = pl.DataFrame(schema=task.lookup.result).clear(rows.len())
            yield nulls.with_columns(rows.alias(_ROW))
        elif rows.len():
            yield from _join(task, rows, partition, task.folder / f"times-{number}")
        delete_parts(task.folder / "known", number)


def _join(task: _Task, rows: pl.Series, known: pl.LazyFrame, folder: Path) -> Iterator[pl.DataFrame]:
    """Join the rows at the positions ``rows`` to one partition of the history."""
    size = known.select(pl.len()).collect().item()
    count = min(_MOST, -(-size * estimate_row_bytes(task.lookup) // task.aim))
    if count <= 2:
        yield from _matches(task, rows, sort_history(known, task.lookup).collect())
        return
    sample = known.select(KNOWN).gather_every(max(1, size // _SAMPLE)).collect(engine="streaming")
    moments = sample.to_series().sort()
    ends = moments[[moments.len() * index // count for index in range(1, count)]].unique().sort()
    write_parts(known, _division(KNOWN, ends), folder)
    asked = request_keys(task.rows[rows].lazy(), task.rows.schema, task.lookup)
    divisions = asked.select(_division(ON, ends)).collect().to_series()
    carried = pl.DataFrame(schema=sort_history(known, task.lookup).collect_schema())
    for number in range(ends.len() + 1):
        division = read_part(folder, number)
        if division is not None:
            more = pl.concat([carried.lazy(), sort_history(division, task.lookup)])
            carried = drop_superseded(more, task.lookup).collect()
            delete_parts(folder, number)
        yield from _matches(task, rows.filter(divisions == number), carried)
        keys = list(task.lookup.keys)
        carried = carried.unique(keys, keep="last", maintain_order=True) if keys else carried.tail(1)


def _matches(task: _Task, rows: pl.Series, known: pl.DataFrame) -> Iterator[pl.DataFrame]:
    """Join the rows at the positions ``rows`` to a history sorted by `sort_history`, in limited batches."""
    for first in range(0, rows.len(), task.batch_rows):
        some = rows.slice(first, task.batch_rows)
        asked = request_keys(task.rows[some].lazy(), task.rows.schema, task.lookup)
        in_time = asked.with_columns(some.alias(_ROW)).sort(AT).collect()
        found = latest_features(in_time.drop(_ROW).lazy(), known.lazy(), task.lookup).collect()
        yield found.with_columns(in_time[_ROW])


def _hash(keys: Sequence[str]) -> pl.Expr:
    """Hash the keys: equal keys of rows and histories get equal numbers."""
    return sum((pl.col(key).hash(seed) for seed, key in enumerate(keys)), pl.lit(0, pl.UInt64))


def _division(column: str, ends: pl.Series) -> pl.Expr:
    """Return how many of ``ends`` the moment is after."""
    moment = pl.col(column).to_physical()
    return pl.sum_horizontal(
        pl.lit(0, pl.UInt32), *((moment > end).cast(pl.UInt32) for end in ends.to_physical())
    )
