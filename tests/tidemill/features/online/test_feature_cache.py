"""Kept rows: the same answers as without, as old as declared and no older."""

import threading
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.tidemill.features.online.online_repository import (
    at,
    definitions,
    make_store,
    online_section,
    write_sources,
)
from tidemill.errors import FeatureError
from tidemill.features.online.feature_cache import FeatureCache, cache_seconds
from tidemill.features.online.online_features import OnlineFeatures

pytestmark = pytest.mark.engine
HOUR = 3600.0
KEPT = 600.0


class Clock:
    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


def declare(seconds, *names):
    """The repository's definitions, some views with rows that are kept."""
    found = definitions()
    for each in found:
        if each.name in names:
            each.tags = {"cache_seconds": seconds}
    return found


@pytest.fixture(scope="module", params=["sqlite", "redis"])
def store(request, tmp_path_factory, redis_address):
    folder = tmp_path_factory.mktemp(request.param)
    store = make_store(folder, online_section(request.param, redis_address))
    write_sources(folder)
    store.apply(declare(str(KEPT), "weather", "country"))
    store.materialize(at(-1), at(3))
    return store


REQUESTS = st.lists(
    st.tuples(
        st.sampled_from([0.0, 1.0, KEPT - 1, KEPT + 1]),
        st.lists(
            st.tuples(st.sampled_from(["JFK", "EWR", "LGA", None]), st.floats(-1, 12, allow_nan=False)),
            min_size=1,
            max_size=4,
        ),
    ),
    max_size=12,
)


@settings(deadline=None, max_examples=60)
@given(requests=REQUESTS, rows=st.integers(1, 4))
def test_over_a_store_that_stands_still_nothing_tells_that_rows_are_kept(store, requests, rows):
    clock = Clock()
    kept = OnlineFeatures(store, "all", cached_rows=rows, clock=clock)
    afresh = OnlineFeatures(store, "all")
    for passed, asked in requests:
        clock.now += passed
        keys = [{"origin": origin, "gate": 1} for origin, _ in asked]
        moments = [at(hour) for _, hour in asked]
        assert kept.read(keys, moments) == afresh.read(keys, moments)


class World:
    """A view with a TTL of 3 hours whose one row changes; says what an answer may be."""

    def __init__(self):
        self.clock = Clock()
        self.held = [(0.0, None)]

    def allowed(self, moment):
        """Answers by rows that the store held within the time that a row may be kept."""
        ends = [until for until, _ in self.held[1:]] + [float("inf")]
        rows = [
            row for (_, row), until in zip(self.held, ends, strict=True) if until >= self.clock.now - KEPT
        ]
        return {self.judged(row, moment) for row in rows}

    @staticmethod
    def judged(row, moment):
        if row is None:
            return None, "missing"
        if moment - row[0] > 3 * HOUR:
            return None, "expired"
        return row[1], "future" if row[0] > moment else ""


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("pass"), st.sampled_from([1.0, KEPT / 2, KEPT, KEPT + 1])),
        st.tuples(st.just("write"), st.floats(0, 5 * HOUR, allow_nan=False)),
        st.tuples(st.just("ask"), st.floats(0, 9 * HOUR, allow_nan=False)),
    ),
    max_size=30,
)


@given(steps=STEPS)
def test_a_row_is_never_older_than_declared(steps):
    world = World()
    cache = FeatureCache([KEPT], 10, world.clock)
    reads = []
    for count, (step, value) in enumerate(steps):
        if step == "pass":
            world.clock.now += value
        elif step == "write":
            world.held.append((world.clock.now, (value, float(count))))
        else:
            moment = round(value * 1e6)
            known = [[None]]
            missed = cache.find([[b"key"]], [moment], known) == [[0]]
            row = world.held[-1][1] if missed else known[0][0]
            if missed:
                began = cache.began()
                reads.append((began, value))
                cache.keep(
                    0,
                    began,
                    {b"key": moment},
                    {} if row is None else {b"key": row},
                    lambda row: round((row[0] + 3 * HOUR) * 1e6),
                )
            else:
                began, when = reads[-1]
                assert world.clock.now - began <= KEPT
                assert abs(value - when) <= KEPT + 1e-5
            assert world.judged(row, value) in world.allowed(value)


def kept(cache, *asked):
    """Return the row that is kept for each key and moment; "missed" for none."""
    known = [[None] * len(asked)]
    (missed,) = cache.find([[key for key, _ in asked]], [moment for _, moment in asked], known)
    return ["missed" if place in missed else row for place, row in enumerate(known[0])]


def test_what_has_expired_since_it_was_read_is_read_again():
    clock = Clock()
    cache = FeatureCache([10.0], 10, clock)
    cache.keep(0, 0.0, {b"k": 1_000_000, b"none": 0}, {b"k": "row"}, lambda row: 2_000_000)
    assert kept(cache, (b"k", 2_000_000), (b"k", 2_000_001)) == ["row", "missed"]
    cache.keep(0, 0.0, {b"k": 2_000_001}, {b"k": "row"}, lambda row: 2_000_000)
    assert kept(cache, (b"k", 2_000_001)) == ["row"]  # it had expired when it was read
    assert kept(cache, (b"none", 5), (b"other", 5)) == [None, "missed"]


def test_what_was_used_last_stays():
    cache = FeatureCache([10.0], 2, Clock())
    for key in (b"a", b"b"):
        cache.keep(0, 0.0, {key: 0}, {key: key}, lambda row: None)
    kept(cache, (b"a", 0))
    cache.keep(0, 0.0, {b"c": 0}, {b"c": b"c"}, lambda row: None)
    assert kept(cache, (b"a", 0), (b"b", 0), (b"c", 0)) == [b"a", "missed", b"c"]
    assert len(cache) == 2


def test_views_are_found_together_each_by_its_own_seconds():
    cache = FeatureCache([10.0, None, 1.0], 9, Clock())
    for view in (0, 2):
        cache.keep(view, 0.0, {b"k": 0}, {b"k": f"row {view}"}, lambda row: None)
    known = [[None, None] for _ in range(3)]
    keys = [[b"k", None], [b"k", None], [b"k", b"other"]]
    assert cache.find(keys, [5_000_000, 0], known) == [[], [0], [0, 1]]
    assert known == [["row 0", None], [None, None], [None, None]]


def test_hits_and_misses_are_counted_by_view(store):
    reports = []
    reader = OnlineFeatures(store, "all", cached_rows=9, report=reports.append)
    reader.read([{"origin": "JFK", "gate": 1}, {"origin": "EWR", "gate": 1}], [at(2)] * 2)
    reader.read([{"origin": "JFK", "gate": 2}], [at(2)])
    (lookups,) = reports
    assert lookups() == [("weather", 1, 2), ("country", 1, 2)]


def test_no_thread_loses_a_count():
    cache = FeatureCache([10.0], 9, Clock())
    cache.keep(0, 0.0, {b"k": 0}, {b"k": "row"}, lambda row: None)

    def look():
        for _ in range(1000):
            cache.find([[b"k", b"other"]], [0, 0], [[None, None]])

    threads = [threading.Thread(target=look) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert cache.lookups == [[4000, 4000]]


@pytest.mark.parametrize("seconds", ["soon", "0", "-1", "nan", "inf", "10801"])
def test_a_time_that_cannot_be_meant_is_refused_when_it_is_applied(seconds):
    weather = next(each for each in declare(seconds, "weather") if each.name == "weather")
    with pytest.raises(FeatureError, match=r"weather.*cache_seconds"):
        cache_seconds(weather)


def test_without_a_ttl_any_time_will_do():
    country = next(each for each in declare("1e6", "country") if each.name == "country")
    assert cache_seconds(country) == 1e6
    country.ttl = timedelta(days=30)
    assert cache_seconds(country) == 1e6
