"""The features of a request, and those whose values come in the request itself. Imports no engine."""

import math
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple, Protocol

from tidemill.clock import parse_moment, utc
from tidemill.errors import FeatureError
from tidemill.project.feature_columns import REFUSED, UNSEEN, FeatureColumn, FeatureValue

__all__ = ["REQUEST", "FeatureRow", "RequestFeatures", "StoreAndRequest", "StoredFeatures"]

REQUEST = "request"
"""Name of the view of features that come in the request, and begin of the flag that names one of them."""


class FeatureRow(NamedTuple):
    """The features of one request."""

    values: dict[str, FeatureValue]
    """Feature → value, in the service's order; none where nothing valid is known and no default declared."""
    flags: tuple[str, ...]
    """Flags of these values: ``missing:<view>``, ``expired:<view>``, ``future:<view>``,
    ``default:<feature>``, ``infinite:<feature>`` (the store's value, which counts as missing),
    ``unseen:<feature>`` and ``refused:<feature>`` (a category that was not seen in
    training, see `tidemill.features.unseen_categories`), ``fallback:features`` (the store is down, so the
    features that it holds are unknown)."""


class RequestFeatures:
    """Takes all features from the rows that requests bring.

    >>> features = RequestFeatures([FeatureColumn("wind", "number"),
    ...                             FeatureColumn("origin", "text", True, ("EWR", "JFK"), "flag")])
    >>> features.read([{"wind": 3, "origin": "LGA"}], [datetime(2013, 1, 1)])
    [FeatureRow(values={'wind': 3.0, 'origin': 'LGA'}, flags=('unseen:origin',))]
    """

    def __init__(self, columns: Sequence[FeatureColumn], keys: Sequence[FeatureColumn] = ()) -> None:
        """Take the columns and the keys of ``features.yaml``."""
        self.features = tuple((REQUEST, column.name) for column in columns)
        self.keys = tuple(column.name for column in keys or columns)
        """What decides which version answers a row; all that it brings where no key is declared."""
        self.inputs = tuple(column.name for column in columns)
        self.truths = _truths(columns)
        self.gaps = _gaps(columns)
        self._columns = [_Reader(column) for column in columns]

    def read(self, rows: Sequence[Mapping[str, object]], at: Sequence[datetime]) -> list[FeatureRow]:
        """Return the features of each row; a column that is not in a row is unknown.

        Args:
            rows: values by column.
            at: the moment of each row, which changes nothing.

        Raises:
            FeatureError: a value is not of its column's type.
        """
        return [self._of(row) for row in rows]

    def _of(self, row: Mapping[str, object]) -> FeatureRow:
        values = {column.name: column.value(row.get(column.name)) for column in self._columns}
        flags = tuple(column.flag for column in self._columns if column.is_unseen(values[column.name]))
        return FeatureRow(values, flags)


class StoredFeatures(Protocol):
    """The features of a service, as `tidemill.features.online.online_features.OnlineFeatures` has them."""

    features: tuple[tuple[str, str], ...]
    """View and feature, in the service's order."""
    keys: tuple[str, ...]
    inputs: tuple[str, ...]
    """The columns of a row, beside the keys, that features are computed from."""
    truths: frozenset[str]
    """The features that are truth values."""

    def read(
        self,
        rows: Sequence[Mapping[str, object]],
        at: Sequence[datetime],
        brought: Sequence[Mapping[str, object]] = (),
    ) -> list[FeatureRow]:
        """Return the features of each row, as of its moment; views compute from the values it brought."""


class StoreAndRequest:
    """Reads features from the online store; values that a row brings win, and are flagged ``request:…``."""

    def __init__(
        self, store: StoredFeatures, columns: Sequence[FeatureColumn], requested: frozenset[str] = frozenset()
    ) -> None:
        """Take the reader of the service, and the columns of ``features.yaml``.

        Args:
            store: reads what is looked up.
            columns: what rows may bring.
            requested: the columns of views that are not looked up; they are flagged in each row.
        """
        served = {name for _, name in store.features}
        further = [column for column in columns if column.name not in served]
        own = ((REQUEST if name in requested else view, name) for view, name in store.features)
        self.features = (*own, *((REQUEST, column.name) for column in further))
        self.keys = store.keys
        self.inputs = (*store.inputs, *(column.name for column in columns))
        self.truths = store.truths | _truths(columns)
        self.gaps = _gaps(columns)
        self._store = store
        self._columns = [_Reader(column) for column in columns]
        self._requested = requested
        self._views: dict[str, set[str]] = {}
        for view, name in store.features:
            self._views.setdefault(view, set()).add(name)

    def read(self, rows: Sequence[Mapping[str, object]], at: Sequence[datetime]) -> list[FeatureRow]:
        """Return the features of each row, in the order of ``rows``.

        Args:
            rows: entity keys and request inputs, and the values of columns that win over the store's.
            at: the moment of each row.

        Raises:
            FeatureError: the online store cannot be read, or a value is not of its column's type.
        """
        absent = dict.fromkeys((*self.keys, *(column.name for column in self._columns)))
        brought = [
            {column.name: column.given(row.get(column.name)) for column in self._columns} for row in rows
        ]
        found = self._store.read([{**absent, **row} for row in rows], at, brought)
        return [self._overlaid(stored, row) for stored, row in zip(found, rows, strict=True)]

    def _overlaid(self, stored: "FeatureRow", row: Mapping[str, object]) -> "FeatureRow":
        values: dict[str, Any] = dict(stored.values)
        brought = {column.name: column.value(row.get(column.name)) for column in self._columns}
        given = {name for name, value in brought.items() if value is not None}
        told = [flag for flag in stored.flags if not self._is_replaced(flag, given)]
        for column in self._columns:
            if column.name in given:
                values[column.name] = brought[column.name]
                told.append(f"{REQUEST}:{column.name}")
            else:
                values.setdefault(column.name, None)
                if column.name in self._requested:
                    told.append(f"{REQUEST}:{column.name}")
            if column.is_unseen(values[column.name]):
                told.append(column.flag)
        return stored._replace(values=values, flags=tuple(dict.fromkeys(told)))

    def _is_replaced(self, flag: str, given: set[str]) -> bool:
        """Return whether a flag is about values of the store that the row brings itself."""
        kind, _, about = flag.partition(":")
        if kind in ("default", "infinite", UNSEEN, REFUSED):
            return about in given
        return kind in ("missing", "expired", "future") and self._views.get(about, {""}) <= given


def _truths(columns: Sequence[FeatureColumn]) -> frozenset[str]:
    return frozenset(column.name for column in columns if column.type == "truth")


def _gaps(columns: Sequence[FeatureColumn]) -> Mapping[str, Callable[[object], object]]:
    """Return what makes None of words for gaps, by the names of the columns that have some."""
    return {column.name: column.without_gap for column in columns if column.has_gap_words}


class _Reader:
    """Reads the values of one column."""

    def __init__(self, column: FeatureColumn) -> None:
        self.name = column.name
        self.flag = f"{REFUSED if column.unseen == 'refuse' else UNSEEN}:{column.name}"
        self._meant = column.meant
        self._is_moment = column.type == "moment"
        self._without_gap = column.without_gap if column.has_gap_words else None
        self._convert = _list_of(column.length) if column.type == "list" else _CONVERTERS[column.type]
        self._seen = frozenset(column.categories) if column.unseen != "unknown" else None

    def value(self, given: object) -> FeatureValue:
        if self._without_gap is not None:
            given = self._without_gap(given)
        if given is None:
            return None
        try:
            return self._convert(given)
        except (TypeError, ValueError) as error:
            raise FeatureError(
                f"feature {self.name!r} must be of type {self._meant}, and {given!r:.100} was given",
                hint="features.yaml declares the types",
            ) from error

    def given(self, given: object) -> object:
        """Return a value as on-demand views compute from it: of a moment the moment itself."""
        value = self.value(given)
        if value is None or not self._is_moment:
            return None if value is None else given
        return datetime.fromtimestamp(value, UTC)  # type: ignore[arg-type]

    def is_unseen(self, given: object) -> bool:
        return self._seen is not None and given is not None and given not in self._seen


def _number(given: Any) -> float:
    if isinstance(given, str):
        raise TypeError("text is not a number")
    return float(given)


def _element(given: Any) -> float:
    return math.nan if given is None else _number(given)


def _text(given: Any) -> str:
    if not isinstance(given, str):
        raise TypeError("it is not text")
    return given


def _seconds(given: Any) -> float:
    """Return a moment as a model takes it, in seconds since 1970.

    >>> _seconds("1970-01-01T00:01:00Z")
    60.0
    """
    moment = parse_moment(given) if isinstance(given, str) else given
    if not isinstance(moment, datetime):
        raise TypeError("it is not a moment")
    return utc(moment).timestamp()


def _list_of(length: int) -> Callable[[Any], FeatureValue]:
    """Return what reads lists of a length: NaN for each gap inside, and None for a list of gaps alone."""

    def convert(given: Any) -> FeatureValue:
        if isinstance(given, str) or len(given) != length:
            raise ValueError("it is no list of that length")
        found = tuple([one if type(one) is float else _element(one) for one in given])
        return None if all(value != value for value in found) else found

    return convert


_CONVERTERS: Mapping[str, Callable[[Any], FeatureValue]] = {
    "number": _number,
    "integer": _number,
    "truth": _number,
    "text": _text,
    "moment": _seconds,
}
