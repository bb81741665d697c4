"""Estimate the memory of a join, and provide a temporary folder for what does not fit."""

import errno
import os
import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from tidemill.errors import FeatureError
from tidemill.features.offline.asof_rules import Lookup
from tidemill.files.locks import close_locked, try_lock

__all__ = [
    "JoinResources",
    "delete_parts",
    "estimate_join_bytes",
    "estimate_row_bytes",
    "read_part",
    "sizes_of",
    "spilling",
    "temporary",
    "write_parts",
]

_COPIES = 3  # how often a join in memory holds a value: as read, sorted, joined
_FULL = {errno.ENOSPC, errno.EFBIG, errno.EDQUOT}
_PART = "__part"
_PREFIX, _LOCK = "tidemill-join-", "lock"
_PAUSES = (0.0, 0.05, 0.2, 1.0)  # seconds


@dataclass(frozen=True)
class JoinResources:
    """The memory and the temporary folder that a join may use.

    >>> JoinResources(memory=512 * 2**20).folder is None
    True
    """

    memory: int = 1 << 30
    """Rough limit of a join's memory beyond its rows and result, in bytes; larger joins use the disk."""
    folder: Path | None = None
    """The folder for these files; None means the system's temporary folder (``TMPDIR``)."""


def sizes_of(lookups: Sequence[Lookup]) -> list[int]:
    """Return how many rows each history has; parquet files have the number in their metadata.

    Raises:
        FeatureError: a source cannot be read.
    """
    sizes = []
    for lookup in lookups:
        with spilling(lookup.history.name, None):
            sizes.append(int(lookup.history.values.select(pl.len()).collect().item()))
    return sizes


def estimate_join_bytes(rows: int, lookups: Sequence[Lookup], sizes: Sequence[int]) -> int:
    """Estimate the bytes that a join of so many rows and histories of ``sizes`` takes in memory."""
    return sum(
        _COPIES * (size + rows) * estimate_row_bytes(lookup)
        for lookup, size in zip(lookups, sizes, strict=True)
    )


def estimate_row_bytes(lookup: Lookup) -> int:
    """Estimate the bytes that a row of the history takes."""
    columns = [*lookup.keys.values(), *lookup.features.values()]
    return 16 + sum(_bytes(lookup.schema[column]) for column in columns)


@contextmanager
def temporary(room: JoinResources) -> Iterator[Path]:
    """Make a folder and delete it afterwards, along with folders that killed processes left behind.

    Raises:
        FeatureError: it cannot be made.
    """
    try:
        folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=room.folder))
        lock = os.open(folder / _LOCK, os.O_CREAT | os.O_RDWR)
        try_lock(lock)
    except OSError as error:
        raise FeatureError(
            f"there is no room for a join that does not fit into memory: {error}",
            hint="name a folder that exists and can be written, or set TMPDIR",
        ) from error
    try:
        _sweep(folder.parent)
        yield folder
    finally:
        _remove(folder)
        close_locked(lock)


@contextmanager
def spilling(view: str, folder: Path | None) -> Iterator[None]:
    """Raise an error that names the view, and the folder if that is full, when reading or spilling fails.

    Raises:
        FeatureError: in place of the error of Polars or the system.
    """
    try:
        yield
    except (OSError, pl.exceptions.PolarsError) as error:
        full = isinstance(error, OSError) and error.errno in _FULL
        full |= any(os.strerror(code) in str(error) for code in _FULL)
        if folder is None or not full:
            raise FeatureError(
                f"feature view {view!r} cannot be joined: {error}", hint="check that the sources can be read"
            ) from error
        free = shutil.disk_usage(folder).free if folder.exists() else 0
        raise FeatureError(
            f"feature view {view!r}: the disk of {folder} is full, {free / 1e9:.1f} GB are free: {error}",
            hint="name a folder with more space for temporary files, or set TMPDIR",
        ) from error


def write_parts(frame: pl.LazyFrame, part: pl.Expr, folder: Path) -> None:
    """Stream ``frame`` to ``folder``, one part for each value of ``part``, each in the order of the frame."""
    folder.mkdir(parents=True)
    frame.with_columns(part.cast(pl.UInt32).alias(_PART)).sink_ipc(
        pl.PartitionBy(folder, key=_PART, include_key=False, approximate_bytes_per_file=None),
        mkdir=True,
        maintain_order=True,
        engine="streaming",
    )


def read_part(folder: Path, part: int) -> pl.LazyFrame | None:
    """Read the rows of ``part`` from disk; None if there are none."""
    files = sorted((folder / f"{_PART}={part}").glob("*.ipc"))
    return pl.scan_ipc(files, glob=False, hive_partitioning=False) if files else None


def delete_parts(folder: Path, part: int) -> None:
    """Delete the rows of ``part`` from disk."""
    shutil.rmtree(folder / f"{_PART}={part}", ignore_errors=True)


def _remove(folder: Path) -> None:
    """Delete a folder in which Polars' threads may still write for a moment after one of them has failed."""
    for pause in _PAUSES:
        time.sleep(pause)
        shutil.rmtree(folder, ignore_errors=True)
        if not folder.exists():
            return
    (folder / _LOCK).touch()  # the lock is free by then: the next join deletes what is left


def _sweep(parent: Path) -> None:
    """Delete the folders whose lock is free."""
    for lock in parent.glob(f"{_PREFIX}*/{_LOCK}"):
        try:
            descriptor = os.open(lock, os.O_RDWR)
            try:
                if try_lock(descriptor):
                    shutil.rmtree(lock.parent, ignore_errors=True)
            finally:
                close_locked(descriptor)
        except OSError:  # gone meanwhile, or another user's
            continue


def _bytes(dtype: pl.DataType) -> int:
    if isinstance(dtype, pl.Struct):
        return sum(_bytes(_instance(field.dtype)) for field in dtype.fields)
    if isinstance(dtype, pl.Array):
        return dtype.size * _bytes(_instance(dtype.inner))
    if isinstance(dtype, pl.List):
        return 16 + 8 * _bytes(_instance(dtype.inner))
    if dtype in (pl.String, pl.Binary):
        return 32
    return 16 if isinstance(dtype, pl.Decimal) else 8


def _instance(dtype: object) -> pl.DataType:
    return dtype if isinstance(dtype, pl.DataType) else dtype()  # type: ignore[operator]
