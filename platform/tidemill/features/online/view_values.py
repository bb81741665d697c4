"""One view's part of a feature row: its served values, with defaults and flags."""

from collections.abc import Mapping, Sequence
from math import inf
from typing import Any, NamedTuple

from tidemill.features.lookups import Lookup
from tidemill.features.on_demand import Transformation
from tidemill.features.online.served_types import Convert, as_list, as_number, is_infinite
from tidemill.features.unseen_categories import Categories
from tidemill.project.feature_columns import FeatureValue

__all__ = ["ComputedView", "StoredView", "ViewValues", "blank_values"]

Features = Sequence[tuple[str, str]]
"""View and name of each feature of a service, in its order."""


NUMBERS: Mapping[str, Convert] = {}
"""Converters where all features are numbers."""
NO_CATEGORIES: Mapping[str, Categories] = {}


class ViewValues(NamedTuple):
    """One view's part of a row."""

    event: int
    """Event time, microseconds."""
    raw: Sequence[Any]
    """The values as they are stored, in the order of the view's features: for on-demand views."""
    served: Sequence[FeatureValue]
    """The values that are served of it, in the service's order."""
    flags: tuple[str, ...]
    """A flag for each of them that is a default, infinite (an element of it, too), or a category that was
    not seen in training."""


class _Served:
    """The values of a view that are served, and their defaults."""

    def __init__(
        self,
        name: str,
        given: Sequence[str],
        features: Features,
        defaults: Mapping[str, FeatureValue],
        converters: Mapping[str, Convert] = NUMBERS,
        categories: Mapping[str, Categories] = NO_CATEGORIES,
    ) -> None:
        names = [feature for view, feature in features if view == name]
        self._places = [given.index(feature) for feature in names]
        self._all = self._places == list(range(len(given)))
        self._defaults = [defaults.get(feature) for feature in names]
        self._flags = [f"default:{feature}" for feature in names]
        self._infinite = [f"infinite:{feature}" for feature in names]
        self._convert = [converters.get(feature, as_number) for feature in names]
        self._plain = not any(feature in converters for feature in names)
        self._lists = [place for place, convert in enumerate(self._convert) if convert is as_list]
        self._categories = [
            (place, categories[feature]) for place, feature in enumerate(names) if feature in categories
        ]

    def known(self, event: int, raw: Sequence[Any]) -> ViewValues:
        """Return the view's part of a row.

        Raises:
            TypeError, ValueError: a value is not of its feature's type.
        """
        picked = raw if self._all else [raw[place] for place in self._places]
        values: list[FeatureValue]
        if self._plain:  # the common case, and the faster one
            values = [
                value if value is None or (type(value) is float and abs(value) < inf) else as_number(value)
                for value in picked
            ]
        else:
            values = [convert(value) for value, convert in zip(picked, self._convert, strict=True)]
        flags = self._unseen(values) if self._categories else []
        flags += [self._infinite[n] for n in self._lists if values[n] is not None and is_infinite(picked[n])]
        if None not in values:
            return ViewValues(event, raw, tuple(values), tuple(flags))
        for place, default in enumerate(self._defaults):
            if values[place] is not None:
                continue
            if is_infinite(picked[place]):
                flags.append(self._infinite[place])
            if default is not None:
                values[place] = default
                flags.append(self._flags[place])
        return ViewValues(event, raw, tuple(values), tuple(flags))

    def _unseen(self, values: Sequence[FeatureValue]) -> list[str]:
        """Return the flags of values that are not among their feature's categories."""
        return [
            one.flag
            for place, one in self._categories
            if values[place] is not None and values[place] not in one.known
        ]


class StoredView:
    """A view that is looked up."""

    def __init__(
        self,
        lookup: Lookup,
        features: Features,
        defaults: Mapping[str, FeatureValue],
        converters: Mapping[str, Convert] = NUMBERS,
        categories: Mapping[str, Categories] = NO_CATEGORIES,
    ) -> None:
        """Take the view's lookup, and the service's features with what is declared of them."""
        self.name = lookup.name
        self.features = lookup.features
        self.ttl = lookup.ttl
        self.missing, self.expired, self.future = (
            f"{what}:{lookup.name}" for what in ("missing", "expired", "future")
        )
        self._served = _Served(lookup.name, lookup.features, features, defaults, converters, categories)
        self.blank = self._served.known(0, (None,) * len(lookup.features))
        """Where nothing valid is known."""

    def known(self, row: Sequence[Any]) -> ViewValues:
        """Return the view's part from a stored row: its event time, then its values."""
        return self._served.known(row[0], row[1:])

    def expires(self, known: ViewValues) -> int | None:
        """Return the last event time, in microseconds, at which the row is valid; None for always."""
        return None if self.ttl is None else known.event + self.ttl


class ComputedView:
    """An on-demand view."""

    def __init__(
        self,
        transformation: Transformation,
        stored: Sequence[StoredView],
        features: Features,
        defaults: Mapping[str, FeatureValue],
        converters: Mapping[str, Convert] = NUMBERS,
        categories: Mapping[str, Categories] = NO_CATEGORIES,
    ) -> None:
        """Take the transformation, the views that are looked up, and what is served."""
        self.name = transformation.name
        self._transformation = transformation
        self._served = _Served(
            transformation.name, transformation.features, features, defaults, converters, categories
        )
        places = {view.name: n for n, view in enumerate(stored)}
        self._inputs = {
            name: (places[view], stored[places[view]].features.index(feature))
            for name, (view, feature) in transformation.sources.items()
            if view in places
        }
        self._requested = [n for n, (view, _) in transformation.sources.items() if view not in places]

    def run(
        self,
        rows: Sequence[Mapping[str, object]],
        blocks: Sequence[Sequence[ViewValues]],
        brought: Sequence[Mapping[str, object]] = (),
    ) -> list[ViewValues]:
        """Compute its features for each row, from the row itself, what it brought, and what was looked up.

        Raises:
            FeatureError: a row lacks what it reads, or the project's code failed.
            TypeError, ValueError: it gave something that is not of its feature's type.
        """
        transformation = self._transformation
        inputs = {name: transformation.requested(name, rows) for name in transformation.request}
        for name, (view, place) in self._inputs.items():
            inputs[name] = [known.raw[place] for known in blocks[view]]
            if brought:
                inputs[name] = transformation.replaced(name, inputs[name], brought)
        for name in self._requested:
            inputs[name] = transformation.replaced(name, [None] * len(rows), brought or rows)
        columns = transformation.run(inputs, len(rows))
        return [self._served.known(0, row) for row in zip(*columns, strict=True)]


def blank_values(
    view: str,
    features: Features,
    defaults: Mapping[str, FeatureValue],
    converters: Mapping[str, Convert],
    categories: Mapping[str, Categories],
) -> ViewValues:
    """Return the values of a view whose features come in the request, before those are put in."""
    given = [name for of_view, name in features if of_view == view]
    served = _Served(view, given, features, defaults, converters, categories)
    return served.known(0, (None,) * len(given))
