"""What one view contributes to a row of features: values as they are served, with defaults and flags."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from tidemill.features.lookups import Lookup
from tidemill.features.on_demand import Transformation

__all__ = ["ComputedView", "Known", "StoredView"]

Features = Sequence[tuple[str, str]]
"""View and name of each feature of a service, in its order."""


class Known(NamedTuple):
    """One view's part of a row."""

    event: int
    """Event time, microseconds."""
    raw: Sequence[Any]
    """The values as they are stored, in the order of the view's features: for on-demand views."""
    served: Sequence[float | None]
    """The values that are served of it, in the service's order."""
    defaulted: tuple[str, ...]
    """A flag for each of them that is a default."""


class _Served:
    """Which values of a view are served, and with which defaults."""

    def __init__(
        self, name: str, given: Sequence[str], features: Features, defaults: Mapping[str, float]
    ) -> None:
        names = [feature for view, feature in features if view == name]
        self._places = [given.index(feature) for feature in names]
        self._all = self._places == list(range(len(given)))
        self._defaults = [defaults.get(feature) for feature in names]
        self._flags = [f"default:{feature}" for feature in names]

    def known(self, event: int, raw: Sequence[Any]) -> Known:
        """Return what the view contributes.

        Raises:
            TypeError, ValueError: a value is no number.
        """
        picked = raw if self._all else [raw[place] for place in self._places]
        values = [
            value if value is None or (type(value) is float and value == value) else _number(value)
            for value in picked
        ]
        if None not in values:
            return Known(event, raw, tuple(values), ())
        flags = []
        for place, default in enumerate(self._defaults):
            if default is not None and values[place] is None:
                values[place] = default
                flags.append(self._flags[place])
        return Known(event, raw, tuple(values), tuple(flags))


class StoredView:
    """A view that is looked up."""

    def __init__(self, lookup: Lookup, features: Features, defaults: Mapping[str, float]) -> None:
        """Take how it is looked up, the service's features, and their defaults."""
        self.name = lookup.name
        self.features = lookup.features
        self.ttl = lookup.ttl
        self.missing, self.expired, self.future = (
            f"{what}:{lookup.name}" for what in ("missing", "expired", "future")
        )
        self._served = _Served(lookup.name, lookup.features, features, defaults)
        self.blank = self._served.known(0, (None,) * len(lookup.features))
        """Where nothing valid is known."""

    def known(self, row: Sequence[Any]) -> Known:
        """Return what a stored row contributes: its event time, then its values."""
        return self._served.known(row[0], row[1:])

    def expires(self, known: Known) -> int | None:
        """Return the last moment at which that is valid, event time, microseconds; none for always."""
        return None if self.ttl is None else known.event + self.ttl


class ComputedView:
    """An on-demand view."""

    def __init__(
        self,
        transformation: Transformation,
        stored: Sequence[StoredView],
        features: Features,
        defaults: Mapping[str, float],
    ) -> None:
        """Take the transformation, the views that are looked up, and what is served."""
        self.name = transformation.name
        self._transformation = transformation
        self._served = _Served(transformation.name, transformation.features, features, defaults)
        places = {view.name: n for n, view in enumerate(stored)}
        self._inputs = {
            name: (places[view], stored[places[view]].features.index(feature))
            for name, (view, feature) in transformation.sources.items()
        }

    def run(self, rows: Sequence[Mapping[str, object]], blocks: Sequence[Sequence[Known]]) -> list[Known]:
        """Return what it computes for each row, from the rows themselves and what was looked up.

        Raises:
            FeatureError: a row lacks what it reads, or the project's code failed.
            TypeError, ValueError: it gave something that is no number.
        """
        transformation = self._transformation
        inputs = {name: transformation.requested(name, rows) for name in transformation.request}
        for name, (view, place) in self._inputs.items():
            inputs[name] = [known.raw[place] for known in blocks[view]]
        columns = transformation.run(inputs, len(rows))
        return [self._served.known(0, row) for row in zip(*columns, strict=True)]


def _number(value: Any) -> float | None:
    if value is None:
        return None
    number = float(value)
    return None if number != number else number
