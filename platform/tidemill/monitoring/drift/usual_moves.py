"""Measures how far windows without an alert lie from what they are compared with, by a block bootstrap. Pure.

Time is cut into blocks of half a window. Windows are two blocks that follow each other, as they were, and two
blocks drawn at random: rows of one day that resemble each other stay together, and so does a season as long
as a block. What chance alone brings to so few rows is in these distances, too.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import polars as pl

from tidemill.monitoring.drift.column_pair import FEW, ColumnPair

__all__ = ["Blocks", "UsualMoves", "cut_blocks", "rounded_up", "usual_moves"]

Blocks = Mapping[int, pl.DataFrame]
"""The rows of each block, by its number in time; blocks with few rows are left out."""

_DRAWS = 60
_MOST_ROWS = 4_000
_RARELY = 0.99


class UsualMoves(NamedTuple):
    """How far columns move by themselves."""

    distances: Mapping[str, float]
    """Column → what 99 of 100 windows stay below."""
    methods: Mapping[str, str | None]
    missing: float
    """The same of the change in the share of missing values, over all columns."""
    windows: int
    """Windows as they were."""
    draws: int
    """Windows of blocks drawn at random."""


def cut_blocks(rows: pl.DataFrame, at: pl.Series, start: datetime, half: timedelta, least: int) -> Blocks:
    """Return rows by half windows since ``start``, without those of fewer than ``least`` rows."""
    number = ((at - start).dt.total_microseconds() // (half // timedelta(microseconds=1))).alias("\0block")
    parts = rows.with_columns(number).partition_by("\0block", as_dict=True, maintain_order=True)
    return {int(key[0]): part.drop("\0block") for key, part in sorted(parts.items()) if part.height >= least}


def usual_moves(blocks: Blocks, before: pl.DataFrame | int) -> UsualMoves:
    """Return how far windows made of blocks lie from a reference, or from blocks so many places earlier.

    >>> moves = np.random.default_rng(1).normal(size=4000)
    >>> blocks = {n: pl.DataFrame({"a": moves[200 * n : 200 * n + 200]}) for n in range(20)}
    >>> found = usual_moves(blocks, pl.DataFrame({"a": moves}))
    >>> found.windows, found.draws, found.distances["a"] < 0.3
    (19, 60, True)
    """
    far = dict[str, list[float]]()
    methods, missing = dict[str, str | None](), [0.0]
    shift = before if isinstance(before, int) else 0
    places = [place for place in blocks if not shift or place - shift in blocks]
    adjacent = [pair for pair in pairwise(places) if pair[1] == pair[0] + 1]
    drawn = list(_drawn(places))
    for pair in [*adjacent, *drawn]:
        now = pl.concat([blocks[place] for place in pair], how="diagonal_relaxed")
        if isinstance(before, pl.DataFrame):
            reference = before
        else:
            reference = pl.concat([blocks[place - shift] for place in pair], how="diagonal_relaxed")
        for name in reference.columns:
            if name not in now.columns:
                continue
            columns = [_sample(side[name]) for side in (reference, now)]
            both = ColumnPair.of(*columns)
            method, _ = both.method(FEW)
            methods.setdefault(name, method)
            missing.append(abs(both.missing_now - both.missing_before))
            if (value := both.distance(method)) is not None:
                far.setdefault(name, []).append(value)
    distances = {name: float(np.quantile(values, _RARELY)) for name, values in far.items()}
    return UsualMoves(distances, methods, float(np.quantile(missing, _RARELY)), len(adjacent), len(drawn))


def rounded_up(value: float) -> float:
    """Return a number with two digits, rounded up.

    >>> rounded_up(0.1234), rounded_up(7.0)
    (0.13, 7.0)
    """
    if value <= 0:
        return 0.0
    step = 10.0 ** (math.floor(math.log10(value)) - 1)
    return float(f"{math.ceil(value / step - 1e-9) * step:.2g}")


def _drawn(places: Sequence[int]) -> Iterator[tuple[int, int]]:
    rng = np.random.default_rng(0)
    for _ in range(_DRAWS if len(places) > 1 else 0):
        one, other = rng.choice(len(places), 2, replace=False)
        yield places[int(one)], places[int(other)]


def _sample(column: pl.Series) -> pl.Series:
    if len(column) <= _MOST_ROWS:
        return column
    return column[np.sort(np.random.default_rng(0).permutation(len(column))[:_MOST_ROWS])]
