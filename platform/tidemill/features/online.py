"""The latest feature values, for serving: read from Feast's online store, judged by the request's moment."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from feast import FeatureService, FeatureStore

from tidemill.errors import FeatureError
from tidemill.features.defaults import declared_defaults
from tidemill.features.encoding import microseconds
from tidemill.features.engine import feast_errors, get_service
from tidemill.features.lookups import lookups, numeric_features, reader
from tidemill.features.on_demand import Transformation
from tidemill.features.outage import FALLBACK, GuardedRead, Outage

__all__ = ["FeatureRow", "OnlineFeatures"]


@dataclass(frozen=True)
class FeatureRow:
    """The features of one request."""

    values: dict[str, float | None]
    """Feature → value, in the service's order; none where nothing valid is known and no default declared."""
    flags: tuple[str, ...]
    """What to know about them: ``missing:<view>``, ``expired:<view>``, ``future:<view>``,
    ``default:<feature>``, ``fallback:features`` (the store is away, so nothing is known of any view)."""


@dataclass(frozen=True)
class _Place:
    """Where an answer of the online store has the values of one view."""

    name: str
    event: int
    """Position of the event time; the values follow."""
    end: int
    ttl: int | None


class OnlineFeatures:
    """Reads a service's features for requests.

    A value that is older than its view's TTL at the moment of the request is not served: it is none, and so
    it is for the on-demand views that build on it, exactly as in a training frame. A value from *after* that
    moment is served but flagged: the online store holds only the latest value of a key, so for a moment in
    the past there is no better one. What is none in the end gets the default that its view declares.

    Definitions are those of the registry at construction. Several threads may read at once; another process,
    a forked child included, opens its own store.
    """

    def __init__(
        self, store: FeatureStore, service: FeatureService | str, outage: Outage | None = None
    ) -> None:
        """Resolve the views of ``service``.

        Args:
            store: where they are read.
            service: whose features these are.
            outage: stands between requests and a store that is away: rows are made of defaults then.

        Raises:
            FeatureError: the service was not applied, has a feature that is no number, or a wrong default.
        """
        service = get_service(store, service) if isinstance(service, str) else service
        with feast_errors(f"resolving the views of service {service.name!r}"):
            views = {view.name: view for view in store.list_on_demand_feature_views()}
            projections = service.feature_view_projections
            on_demand = [views[p.name].with_projection(p) for p in projections if p.name in views]
            self._lookups = lookups(store, projections, on_demand)
            self._on_demand = tuple(map(Transformation, on_demand))
            read = reader(store, self._lookups)
            self._read: GuardedRead = outage.guard(store, read) if outage else read
        self.features = numeric_features(service)
        self.keys = tuple(sorted({column for lookup in self._lookups for column in lookup.columns}))
        """The columns of a request that are entity keys."""
        self._defaults = declared_defaults(service, on_demand)
        self._doing = (
            f"reading {', '.join(repr(lookup.name) for lookup in self._lookups)} from the online store"
        )
        self._resolve()

    def _resolve(self) -> None:
        """Work out once where each value will be: first what is read, then what is computed."""
        at: dict[tuple[str, str], int] = {}
        places, end = [], 0
        for lookup in self._lookups:
            event, end = end, end + 1 + len(lookup.features)
            places.append(_Place(lookup.name, event, end, lookup.ttl))
            at |= {(lookup.name, feature): event + 1 + n for n, feature in enumerate(lookup.features)}
        self._width = end
        for view in self._on_demand:
            at |= {(view.name, feature): end + n for n, feature in enumerate(view.features)}
            end += len(view.features)
        self._places = tuple(places)
        self._inputs = [
            {name: at[source] for name, source in view.sources.items()} for view in self._on_demand
        ]
        self._served = tuple((name, at[view, name], self._defaults.get(name)) for view, name in self.features)

    def read(self, rows: Sequence[Mapping[str, object]], at: Sequence[datetime]) -> list[FeatureRow]:
        """Return the features of each row, in the order of ``rows``.

        Args:
            rows: Join keys and what the on-demand views read from a request; a key that is none is unknown.
            at: The moment of each request, as event time (naive means UTC); as many as ``rows``.

        Raises:
            FeatureError: a key is absent from a row or of another type, the online store cannot be read, or a
                transformation failed.
        """
        if len(rows) != len(at):
            raise FeatureError(f"there are {len(rows)} rows but {len(at)} moments")
        if not rows:
            return []
        keys = [[lookup.key(row) for lookup in self._lookups] for row in rows]
        with feast_errors(self._doing):
            answers = self._read(keys)
        if answers is None:
            found: list[list[Any]] = [[None] * self._width for _ in rows]
            flags = [[FALLBACK] for _ in rows]
        else:
            found = [list(answer) for answer in answers]
            flags = [self._judge(*pair) for pair in zip(found, map(microseconds, at), strict=True)]
        for view, places in zip(self._on_demand, self._inputs, strict=True):
            inputs = {name: view.requested(name, rows) for name in view.request}
            inputs |= {name: [values[place] for values in found] for name, place in places.items()}
            for column in view.run(inputs, len(rows)):
                for values, value in zip(found, column, strict=True):
                    values.append(value)
        try:
            return [self._answer(*pair) for pair in zip(found, flags, strict=True)]
        except (TypeError, ValueError) as error:
            raise FeatureError(
                f"a feature is no number: {error}",
                hint="did its type change? definitions are those of the time when this reader was made",
            ) from error

    def _judge(self, values: list[Any], moment: int) -> list[str]:
        """Blank what has expired; return the flags."""
        flags = []
        for place in self._places:
            known = values[place.event]
            if known is None:
                flags.append(f"missing:{place.name}")
            elif place.ttl is not None and moment - known > place.ttl:
                flags.append(f"expired:{place.name}")
                values[place.event : place.end] = [None] * (place.end - place.event)
            elif known > moment:
                flags.append(f"future:{place.name}")
        return flags

    def _answer(self, values: Sequence[Any], flags: list[str]) -> FeatureRow:
        answer: dict[str, float | None] = {}
        for name, place, default in self._served:
            value = values[place]
            if value is not None:
                value = float(value)
                if value != value:  # NaN
                    value = None
            if value is None and default is not None:
                value = default
                flags.append(f"default:{name}")
            answer[name] = value
        return FeatureRow(answer, tuple(flags))
