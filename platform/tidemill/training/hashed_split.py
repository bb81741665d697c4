"""Split rows without time into train, validation and hold-out by a hash of their content or of their group.

The same row gets the same number between 0 and 1 in every training, so it stays on the same side while rows
are added, and of any rows it can be said whether a version may have learnt from them.
"""

import hashlib
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl

from tidemill.errors import TrainingError

if TYPE_CHECKING:
    from tidemill.project.project_config import DatasetConfig, SplitConfig

__all__ = ["ROW_NUMBER", "HashedSplit", "Sides", "split_by_hash"]

ROW_NUMBER = "tidemill.row_number"
"""Column of the hold-out with each row's number."""

_ALL = ""
"""The stratum of all rows, where they are not split by class."""


class Sides(NamedTuple):
    """The rows of each side, in the order in which they were given; those held out with their numbers."""

    train: pl.DataFrame
    validation: pl.DataFrame
    fit: pl.DataFrame
    """Train and validation together."""
    holdout: pl.DataFrame


@dataclass(frozen=True)
class HashedSplit:
    """How the rows were split: enough to say of any row whether it was held out.

    >>> split = HashedSplit("random", 0, ("wind",), "late", None, False, {"": 0.15}, {"": 0.3}, 100)
    >>> HashedSplit.from_dict(split.as_dict()) == split, str(split)
    (True, '100 rows split at random')
    """

    by: str
    """``random``, ``stratified`` or ``group``."""
    seed: int
    columns: tuple[str, ...]
    """The features that were hashed, in order of their names."""
    label: str
    group: str | None
    copies: bool
    """Whether most rows are copies of others, so that each copy has a number of its own."""
    holdout: Mapping[str, float]
    """By class (of a stratified split; otherwise one entry): rows whose number is below it are held out."""
    validation: Mapping[str, float]
    """By class: rows whose number is below it, and not held out, chose the trial."""
    rows: int
    """How many rows were split."""
    sizes: Mapping[str, int] | None = None
    """Rows of train, validation and holdout; versions of earlier releases have none."""

    def held_out(self, rows: pl.DataFrame, split: object) -> npt.NDArray[np.bool_]:
        """Return which rows of another training's hold-out are held out here too, shape (rows,).

        Args:
            rows: the hold-out of that training; with numbers, if `split_by_hash` made it.
            split: that training's split.
        """
        if isinstance(split, HashedSplit) and self._rule() == split._rule():
            numbers = rows[ROW_NUMBER].to_numpy()
        elif self.copies or not {*self.columns, self.label, *filter(None, [self.group])} <= set(rows.columns):
            return np.zeros(rows.height, dtype=np.bool_)  # which rows these were, nothing says
        else:
            numbers = _numbers(_contents(rows, self.columns, self.label, self.group), self.seed, copies=False)
        return numbers < self._limits(rows, self.holdout)

    def sides(self, rows: pl.DataFrame, numbers: npt.NDArray[np.float64]) -> Sides:
        """Return the side of each row, by its number."""
        held = numbers < self._limits(rows, self.holdout)
        chosen = ~held & (numbers < self._limits(rows, self.validation))
        numbered = rows.with_columns(pl.Series(ROW_NUMBER, numbers))
        return Sides(
            train=rows.filter(~held & ~chosen),
            validation=rows.filter(chosen),
            fit=rows.filter(~held),
            holdout=numbered.filter(held),
        )

    def as_dict(self) -> dict[str, Any]:
        """Return it as JSON values."""
        plain = {"holdout": dict(self.holdout), "validation": dict(self.validation)}
        sizes = None if self.sizes is None else dict(self.sizes)
        return {**vars(self), "columns": list(self.columns), **plain, "sizes": sizes}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "HashedSplit":
        """Read it back from plain values."""
        return cls(**{**values, "columns": tuple(values["columns"])})

    def __str__(self) -> str:
        how = {"random": "at random", "stratified": "at random, each class alike"}
        return f"{self.rows:,} rows split {how.get(self.by, f'by {self.group}')}"

    def _rule(self) -> tuple[object, ...]:
        """Return what decides the number of a row."""
        return (self.seed, self.columns, self.label, self.group, self.copies)

    def _limits(self, rows: pl.DataFrame, limits: Mapping[str, float]) -> npt.NDArray[np.float64]:
        found = [limits.get(name, 0.0) for name in _strata(rows, self.label, self.by)]
        return np.array(found, dtype=np.float64)


def split_by_hash(
    rows: pl.DataFrame, features: Sequence[str], dataset: "DatasetConfig", config: "SplitConfig", seed: int
) -> tuple[HashedSplit, Sides]:
    """Split rows into shares, reproducibly by ``seed``.

    Args:
        rows: labelled rows with features as Float64 or String.
        features: names of the features.
        dataset: names the label and the group.
        config: how to split, and the shares.
        seed: another seed holds out other rows.

    Raises:
        TrainingError: there are too few rows, groups, or rows of a class for three sides.
    """
    group = dataset.group if config.by == "group" else None
    contents = _contents(rows, features, dataset.label, group)
    copies = group is None and 2 * len(set(contents)) < len(contents)
    numbers = _numbers(contents, seed, copies)
    strata = np.array(_strata(rows, dataset.label, config.by), dtype=object)
    holdout, validation = {}, {}
    for stratum in sorted(set(strata)):
        units = np.unique(numbers[strata == stratum])
        if len(units) < 3:
            raise _too_few(config.by, dataset, stratum, len(units), rows.height)
        chosen = max(1, min(round(len(units) * config.validation), len(units) - 2))
        held = max(1, min(round(len(units) * config.holdout), len(units) - chosen - 1))
        holdout[stratum], validation[stratum] = float(units[held]), float(units[held + chosen])
    columns = tuple(sorted(features))
    split = HashedSplit(
        config.by, seed, columns, dataset.label, group, copies, holdout, validation, rows.height
    )
    sides = split.sides(rows, numbers)
    sizes = {name: getattr(sides, name).height for name in ("train", "validation", "holdout")}
    return replace(split, sizes=sizes), sides


def _numbers(contents: Sequence[bytes], seed: int, copies: bool) -> npt.NDArray[np.float64]:
    """Return a number from 0 to 1 for each row, which depends only on its content and the seed.

    Equal rows get equal numbers, so that copies of a row stay together; with ``copies`` the second copy of a
    row gets another number, the third another, and so on.

    >>> first, second, third = _numbers([b"a", b"b", b"a"], 0, copies=False)
    >>> bool(first == third), bool(first == second)
    (True, False)
    """
    salt = seed.to_bytes(8, "big", signed=True)
    if not copies:
        return np.array([_number(salt, content) for content in contents])
    seen: Counter[bytes] = Counter()
    found = []
    for content in contents:
        found.append(_number(salt, content, seen[content].to_bytes(8, "big") if seen[content] else b""))
        seen[content] += 1
    return np.array(found)


def _number(*parts: bytes) -> float:
    digest = hashlib.blake2b(b"".join(parts), digest_size=8).digest()
    return math.ldexp(int.from_bytes(digest, "big") >> 11, -53)


def _contents(rows: pl.DataFrame, features: Sequence[str], label: str, group: str | None) -> list[bytes]:
    """Return what is hashed of each row: bytes that do not depend on the order or types of columns."""
    names = [group] if group is not None else [*sorted(features), label]
    columns = []
    for name in names:
        column = rows[name]
        if name != group and column.dtype.is_numeric():
            values = column.cast(pl.Float64).fill_null(math.nan).to_numpy() + 0.0  # no -0.0
            values[np.isnan(values)] = math.nan
            columns.append([one.tobytes() for one in values.astype(">f8")])
        else:
            columns.append([_text(value) for value in column.to_list()])
    return [b"".join(parts) for parts in zip(*columns, strict=True)]


def _text(value: object) -> bytes:
    if value is None:
        return b"\xff"
    encoded = str(value).encode(errors="surrogatepass")
    return len(encoded).to_bytes(4, "big") + encoded


def _strata(rows: pl.DataFrame, label: str, by: str) -> list[str]:
    if by != "stratified":
        return [_ALL] * rows.height
    return list(map(str, rows[label].to_list()))


def _too_few(by: str, dataset: "DatasetConfig", stratum: str, units: int, rows: int) -> TrainingError:
    if by == "group":
        return TrainingError(
            f"column {dataset.group} has {units} values in {rows:,} rows: a split by group needs at least 3, "
            f"one each for training, validation and hold-out",
            hint="name another column in dataset.group, or set split.by to random",
        )
    if by == "stratified":
        return TrainingError(
            f"class {stratum!r} of {dataset.label} has {units} different row{'' if units == 1 else 's'}: "
            f"each class needs at least 3, one each for training, validation and hold-out",
            hint="add rows of this class, merge it with another, remove it, or set split.by to random",
        )
    return TrainingError(
        f"there are {units} different labelled rows: at least 3 are needed, one each for training, "
        f"validation and hold-out, and many more to learn anything",
        hint="add rows to the training set",
    )
