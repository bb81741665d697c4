"""Read the latest features for serving from Feast's online store, valid at each request's moment."""

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime
from functools import partial
from itertools import chain

from feast import FeatureService, FeatureStore, OnDemandFeatureView

from tidemill.errors import FeatureError
from tidemill.features.defaults import declared_defaults
from tidemill.features.encoding import microseconds
from tidemill.features.feast_session import feast_errors, get_service
from tidemill.features.lookups import lookups, reader
from tidemill.features.on_demand import Transformation
from tidemill.features.online.circuit_breaker import FALLBACK, CircuitBreaker, GuardedRead
from tidemill.features.online.feature_cache import FeatureCache, cache_seconds
from tidemill.features.online.served_types import Convert, converters, served_features, truth_features
from tidemill.features.online.view_values import ComputedView, StoredView, ViewValues, blank_values
from tidemill.features.request_features import FeatureRow
from tidemill.features.unseen_categories import Categories, declared_categories
from tidemill.project.feature_columns import FeatureValue

__all__ = ["OnlineFeatures"]

Lookups = Callable[[], Sequence[tuple[str, int, int]]]
"""Returns of each cached view how many rows the cache had so far, and how many it had not."""


class OnlineFeatures:
    """Reads a service's features for requests.

    A value that is older than its view's TTL at the moment of the request is not served: it counts as
    missing, also for the on-demand views that build on it, exactly as in a training frame. A value from
    *after* that moment is served but flagged: the online store holds only the latest value of a key, so for
    a moment in the past there is no better one. Missing values get the default that their view declares.

    Definitions are those of the registry at construction. Several threads may read at once; another process,
    a forked child included, opens its own store.
    """

    def __init__(
        self,
        store: FeatureStore,
        service: FeatureService | str,
        outage: CircuitBreaker | None = None,
        *,
        cached_rows: int = 0,
        report: Callable[[Lookups], None] | None = None,
        clock: Callable[[], float] = time.monotonic,
        requested: Collection[str] = (),
    ) -> None:
        """Resolve the views of ``service``.

        Args:
            store: where they are read.
            service: whose features these are.
            outage: circuit breaker: while the store is down, rows consist of defaults.
            cached_rows: how many rows to keep of views that declare ``cache_seconds``; 0: read all afresh.
            report: gets, once, what returns the cache's hits and misses.
            clock: the wall clock that rows are kept by, seconds from anywhere; never goes back.
            requested: the views whose features come in the request: they are neither looked up nor computed.

        Raises:
            FeatureError: the service was not applied, has a feature of a type that no model takes,
                a wrong default, or a view that would be cached for longer than it is valid.
        """
        service = get_service(store, service) if isinstance(service, str) else service
        with feast_errors(f"resolving the views of service {service.name!r}"):
            on_demand = _on_demand(store, service, requested)
            self._lookups = lookups(store, service.feature_view_projections, on_demand, requested)
            read = reader(store, self._lookups)
            self._read: GuardedRead = outage.guard(store, read) if outage else read
        self.features = served_features(service)
        self.truths = truth_features(service)
        self.gaps: Mapping[str, Callable[[object], object]] = {}  # text in the store is text
        self.keys = tuple(sorted({column for lookup in self._lookups for column in lookup.columns}))
        """The columns of a request that are entity keys."""
        self.key_types = {
            column: kind.name
            for lookup in self._lookups
            for column, (_, kind) in zip(lookup.columns, lookup.kinds, strict=True)
        }
        """The names of their types in the store."""
        seconds = [cache_seconds(lookup.view) for lookup in self._lookups]
        kept = cached_rows and any(seconds)
        self._cache = FeatureCache[ViewValues](seconds, cached_rows, clock) if kept else None
        transformations = list(map(Transformation, on_demand))
        self.inputs = tuple(dict.fromkeys(name for each in transformations for name in each.request))
        read_from = ", ".join(repr(lookup.name) for lookup in self._lookups)
        self._doing = f"reading {read_from} from the online store"
        defaults, known = declared_defaults(service, on_demand), declared_categories(service, on_demand)
        self._resolve(transformations, requested, defaults, converters(service), known)
        if report is not None:
            self._report_cache(report)

    def _report_cache(self, report: Callable[[Lookups], None]) -> None:
        if self._cache is not None:
            kept = [n for n in range(len(self._views)) if self._cache.keeps(n)]
            report(partial(_lookups_of, [(self._views[n].name, self._cache.lookups[n]) for n in kept]))

    def _resolve(
        self,
        on_demand: Sequence[Transformation],
        requested: Collection[str],
        defaults: Mapping[str, FeatureValue],
        types: Mapping[str, Convert],
        known: Mapping[str, Categories],
    ) -> None:
        """Work out once which view gives which of the served values."""
        self._views = [StoredView(lookup, self.features, defaults, types, known) for lookup in self._lookups]
        self._computed = [
            ComputedView(each, self._views, self.features, defaults, types, known) for each in on_demand
        ]
        order = dict.fromkeys(name for name, _ in self.features)
        requested = [name for name in order if name in requested]
        self._blank = [blank_values(name, self.features, defaults, types, known) for name in requested]
        names = [*(view.name for view in self._views), *(view.name for view in self._computed), *requested]
        self._order = tuple(names.index(name) for name in order)
        self._names = tuple(feature for name in order for view, feature in self.features if view == name)
        same = {(lookup.columns, lookup.kinds): lookup for lookup in reversed(self._lookups)}
        self._keyed = list(same.values())
        which = {pair: n for n, pair in enumerate(same)}
        self._key_of = [which[lookup.columns, lookup.kinds] for lookup in self._lookups]

    def read(
        self,
        rows: Sequence[Mapping[str, object]],
        at: Sequence[datetime],
        brought: Sequence[Mapping[str, object]] = (),
    ) -> list[FeatureRow]:
        """Return the features of each row, in the order of ``rows``.

        Args:
            rows: Join keys and what the on-demand views read from a request; a key that is None is unknown.
            at: The moment of each request, as event time (naive means UTC); as many as ``rows``.
            brought: Of each row the features that on-demand views compute from in place of looked-up ones.

        Raises:
            FeatureError: a key is absent from a row or of another type, the online store cannot be read, or a
                transformation failed.
        """
        if len(rows) != len(at):
            raise FeatureError(f"there are {len(rows)} rows but {len(at)} moments")
        if not rows:
            return []
        moments = list(map(microseconds, at)) if len(set(at)) > 1 else [microseconds(at[0])] * len(at)
        keys = [[lookup.key(row) for lookup in self._keyed] for row in rows]
        try:
            known, away = self._known([[each[n] for each in keys] for n in self._key_of], moments)
            flags, blocks = self._judge(known, away, moments)
            for view in self._computed:
                blocks.append(view.run(rows, blocks, brought))
            blocks += [[blank] * len(rows) for blank in self._blank]
            return [self._row(*pair) for pair in zip(zip(*blocks, strict=True), flags, strict=True)]
        except (TypeError, ValueError) as error:
            raise FeatureError(
                f"a feature is not of its declared type: {error}",
                hint="did its type change? definitions are those of the time when this reader was made",
            ) from error

    def _known(
        self, keys: Sequence[Sequence[bytes | None]], moments: Sequence[int]
    ) -> tuple[list[list[ViewValues | None]], list[bool]]:
        """Return each view's stored rows for all requests, and for which rows the store was down."""
        known: list[list[ViewValues | None]] = [[None] * len(moments) for _ in self._views]
        if self._cache is None:
            open_ = [[place for place, key in enumerate(of_view) if key is not None] for of_view in keys]
        else:
            open_ = self._cache.find(keys, moments, known)
        wanted = [n for n, places in enumerate(open_) if places]
        if not wanted:
            return known, [False] * len(moments)
        asked: dict[int, dict[bytes, int]] = {}
        for n in wanted:
            of_view = keys[n]
            asked[n] = {key: moments[place] for place in open_[n] if (key := of_view[place]) is not None}
        began = 0.0 if self._cache is None else self._cache.began()
        with feast_errors(self._doing):
            answers = self._read([list(asked[n]) if n in asked else [] for n in range(len(keys))])
        if answers is None:
            gone = set(chain.from_iterable(open_))
            return known, [place in gone for place in range(len(moments))]
        for n in wanted:
            rows = {key: self._views[n].known(row) for key, row in answers[n].items()}
            if self._cache is not None and self._cache.keeps(n):
                self._cache.keep(n, began, asked[n], rows, self._views[n].expires)
            of_view, column = keys[n], known[n]
            for place in open_[n]:
                column[place] = rows.get(of_view[place] or b"")
        return known, [False] * len(moments)

    def _judge(
        self, known: list[list[ViewValues | None]], away: Sequence[bool], moments: Sequence[int]
    ) -> tuple[list[list[str]], list[list[ViewValues]]]:
        """Blank missing and expired values; return the flags of each row, and each view's values."""
        flags: list[list[str]] = [[FALLBACK] if gone else [] for gone in away]
        blocks = []
        for view, column in zip(self._views, known, strict=True):
            block = []
            for place, row in enumerate(column):
                if row is None:
                    if not away[place]:
                        flags[place].append(view.missing)
                    block.append(view.blank)
                elif view.ttl is not None and moments[place] - row.event > view.ttl:
                    flags[place].append(view.expired)
                    block.append(view.blank)
                else:
                    if row.event > moments[place]:
                        flags[place].append(view.future)
                    block.append(row)
            blocks.append(block)
        return flags, blocks

    def _row(self, blocks: Sequence[ViewValues], flags: list[str]) -> FeatureRow:
        ordered = [blocks[n] for n in self._order]
        for block in ordered:
            if block.flags:
                flags += block.flags
        values = chain.from_iterable([block.served for block in ordered])
        return FeatureRow(dict(zip(self._names, values, strict=True)), tuple(flags))


def _on_demand(
    store: FeatureStore, service: FeatureService, requested: Collection[str]
) -> list[OnDemandFeatureView]:
    """Return the on-demand views of a service that are computed here, with the features that it takes."""
    views = {view.name: view for view in store.list_on_demand_feature_views()}
    return [
        views[one.name].with_projection(one)
        for one in service.feature_view_projections
        if one.name in views and one.name_to_use() not in requested
    ]


def _lookups_of(counts: Sequence[tuple[str, Sequence[int]]]) -> list[tuple[str, int, int]]:
    return [(name, hits, misses) for name, (hits, misses) in counts]
