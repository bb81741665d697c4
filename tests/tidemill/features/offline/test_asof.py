import contextlib
import random
import resource
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

# ruff: noqa: DTZ001, DTZ901 - naive moments, which mean UTC, are part of what is tested here
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tidemill.errors import FeatureError
from tidemill.features.offline import spill
from tidemill.features.offline.asof import History, JoinResources, point_in_time_batches, point_in_time_join

START = datetime(2013, 1, 1)
UNITS = ("ms", "us", "ns")
CRAMPED = 4_000
"""Bytes that no join gets along with: 500 are a partition, a handful of rows."""

moments = st.none() | st.integers(0, 40).map(lambda hours: START + timedelta(hours=hours))
names = st.none() | st.sampled_from("abc")
values = st.none() | st.integers(0, 1000)
ttls = st.none() | st.sampled_from([0, 1, 5, 20]).map(lambda hours: timedelta(hours=hours))


@st.composite
def histories(draw, index):
    rows = draw(st.lists(st.tuples(names, names, moments, moments, values), max_size=30))
    keys = draw(st.sampled_from([(), ("k",), ("k", "l")]))
    created = draw(st.booleans())
    seen = set()
    unique = []
    for row in rows:  # ties beyond the created timestamp have no defined winner
        tie = (*(row[position] for position in range(len(keys))), row[2], row[3] if created else None)
        if tie not in seen:
            seen.add(tie)
            unique.append(row)
    zone = draw(st.sampled_from([None, "UTC", "America/New_York"]))
    unit = draw(st.sampled_from(UNITS))
    frame = pl.DataFrame(
        unique,
        schema={
            "k": pl.String,
            "l": pl.String,
            "known": pl.Datetime("us"),
            "created": pl.Datetime("us"),
            "value": pl.Int64,
        },
        orient="row",
    ).with_columns(pl.col("known").dt.cast_time_unit(unit))
    if zone:
        frame = frame.with_columns(pl.col("known").dt.replace_time_zone("UTC").dt.convert_time_zone(zone))
    return unique, History(
        name=f"view{index}",
        values=frame.lazy(),
        keys=dict(zip(keys, ("x", "y"), strict=False)),
        features={"value": f"value{index}"},
        timestamp="known",
        created="created" if created else None,
        ttl=draw(ttls),
    )


def by_brute_force(rows, source, history):
    """What Feast's documentation defines, one row at a time."""
    answers = []
    for x, y, at in rows:
        asked = (x, y)[: len(history.keys)]
        best = None
        for k, l, known, created, value in source:  # noqa: E741
            if at is None or known is None or None in asked or (k, l)[: len(asked)] != asked or known > at:
                continue
            rank = (known, created or datetime.min) if history.created else (known,)
            if best is None or rank > best[0]:
                best = (rank, value)
        expired = best is not None and history.ttl and at - best[0][0] > history.ttl
        answers.append(None if best is None or expired else best[1])
    return answers


def given_rows_and_views(data, unit, aware):
    rows = data.draw(st.lists(st.tuples(names, names, moments), max_size=30))
    rows += data.draw(st.lists(st.sampled_from(rows), max_size=5)) if rows else []
    views = [data.draw(histories(index)) for index in range(data.draw(st.integers(1, 3)))]
    frame = pl.DataFrame(
        rows, schema={"x": pl.String, "y": pl.String, "at": pl.Datetime("us")}, orient="row"
    ).with_columns(pl.col("at").dt.cast_time_unit(unit))
    if aware:
        frame = frame.with_columns(pl.col("at").dt.replace_time_zone("UTC"))

    return rows, frame, views


def assert_as_by_brute_force(joined, rows, views):
    assert joined.height == len(rows)
    assert joined.columns == [f"value{index}" for index in range(len(views))]
    for index, (source, history) in enumerate(views):
        assert joined[f"value{index}"].to_list() == by_brute_force(rows, source, history)


@pytest.mark.slow
@settings(max_examples=120, deadline=None)
@given(data=st.data(), unit=st.sampled_from(UNITS), aware=st.booleans())
def test_gives_what_a_search_through_all_rows_gives(data, unit, aware):
    rows, frame, views = given_rows_and_views(data, unit, aware)
    joined = point_in_time_join(frame, "at", [history for _, history in views])
    assert_as_by_brute_force(joined, rows, views)


@pytest.mark.slow
@settings(max_examples=70, deadline=None)
@given(data=st.data(), unit=st.sampled_from(UNITS), aware=st.booleans(), batch=st.integers(1, 40))
def test_gives_the_same_where_nothing_fits_into_memory(tmp_path_factory, data, unit, aware, batch):
    rows, frame, views = given_rows_and_views(data, unit, aware)
    room = JoinResources(CRAMPED, tmp_path_factory.mktemp("room"))
    batches = list(point_in_time_batches(frame, "at", [history for _, history in views], batch, room=room))
    assert all(0 < each.height <= batch for each in batches[:-1])
    if rows:
        assert_as_by_brute_force(pl.concat(batches), rows, views)
    assert not list(room.folder.iterdir())


def history(values, **changes):
    defaults = {"keys": {"k": "k"}, "features": {"v": "v"}, "timestamp": "t"}
    return History(**{"name": "view", "values": values.lazy(), **defaults, **changes})


def test_a_value_holds_until_its_ttl_has_passed_and_not_a_microsecond_longer():
    values = pl.DataFrame({"k": ["a"], "t": [START], "v": [1]})
    ages = [timedelta(hours=1), timedelta(hours=1, microseconds=1), timedelta(microseconds=-1)]
    rows = pl.DataFrame({"k": ["a"] * 3, "at": [START + age for age in ages]})
    joined = point_in_time_join(rows, "at", [history(values, ttl=timedelta(hours=1))])
    assert joined["v"].to_list() == [1, None, None]


def test_a_tie_is_broken_to_the_nanosecond():
    values = pl.DataFrame({"k": ["a"] * 2, "t": [START] * 2, "c": [1, 0], "v": [1, 2]})
    values = values.with_columns(pl.col("c").cast(pl.Datetime("ns")))
    rows = pl.DataFrame({"k": ["a"], "at": [START]})
    assert point_in_time_join(rows, "at", [history(values, created="c")])["v"].to_list() == [1]


def test_a_source_without_any_key_fits_rows_with_keys():
    values = pl.DataFrame({"k": [None], "t": [START], "v": [1]})
    rows = pl.DataFrame({"k": [7], "at": [START]})
    assert point_in_time_join(rows, "at", [history(values)])["v"].to_list() == [None]


def test_a_ttl_is_exact_to_the_nanosecond():
    values = pl.DataFrame({"k": ["a"], "t": [0], "v": [1]}).with_columns(pl.col("t").cast(pl.Datetime("ns")))
    rows = pl.DataFrame({"k": ["a"] * 2, "at": [1_000_000_000, 1_000_000_001]}).with_columns(
        pl.col("at").cast(pl.Datetime("ns"))
    )
    joined = point_in_time_join(rows, "at", [history(values, ttl=timedelta(seconds=1))])
    assert joined["v"].to_list() == [1, None]


def test_nanoseconds_are_not_rounded_away():
    values = pl.DataFrame({"k": ["a", "a"], "t": [1_000_000_001, 1_000_000_003], "v": [1, 3]}).with_columns(
        pl.col("t").cast(pl.Datetime("ns"))
    )
    rows = pl.DataFrame({"k": ["a"] * 3, "at": [1_000_000_000, 1_000_000_002, 1_000_000_003]}).with_columns(
        pl.col("at").cast(pl.Datetime("ns"))
    )
    assert point_in_time_join(rows, "at", [history(values)])["v"].to_list() == [None, 1, 3]


@pytest.mark.parametrize("unit", ["us", "ns"])
def test_dates_at_the_ends_of_time_do_not_wrap_around(unit):
    values = pl.DataFrame({"k": ["a", "b"], "t": [datetime(9999, 12, 31), datetime(1, 1, 1)], "v": [1, 2]})
    rows = pl.DataFrame({"k": ["a", "b", "b"], "at": [START, START, None]}).with_columns(
        pl.col("at").cast(pl.Datetime(unit))
    )
    assert point_in_time_join(rows, "at", [history(values)])["v"].to_list() == [None, 2, None]


def test_a_date_means_its_midnight_in_utc():
    values = pl.DataFrame({"k": ["a"], "t": [START.date()], "v": [1]})
    rows = pl.DataFrame({"k": ["a", "a"], "at": [START, START - timedelta(seconds=1)]})
    assert point_in_time_join(rows, "at", [history(values)])["v"].to_list() == [1, None]


@pytest.mark.parametrize(
    ("asked", "dtype"),
    [
        (pl.Series([7.0, 7.5, None]), pl.Int32),  # what pandas makes of integers with gaps
        (pl.Series([7, 2**40, None]), pl.Int32),
        (pl.Series([7, 8, None], dtype=pl.Int16), pl.Int64),
        (pl.Series([7, 8, None]), pl.Float64),
        (pl.Series(["7", "8", None], dtype=pl.Categorical), pl.String),
        (pl.Series(["7", "8", None]), pl.Categorical),
    ],
)
def test_keys_are_compared_by_value_not_by_width(asked, dtype):
    key = "7" if dtype in (pl.String, pl.Categorical) else 7
    values = pl.DataFrame({"k": [key], "t": [START], "v": [1]}, schema_overrides={"k": dtype})
    rows = pl.DataFrame({"k": asked, "at": [START] * 3})
    assert point_in_time_join(rows, "at", [history(values)])["v"].to_list() == [1, None, None]


def test_keys_that_are_null_everywhere_match_nothing():
    values = pl.DataFrame({"k": ["a", None], "t": [START, START], "v": [1, 2]})
    rows = pl.DataFrame({"k": [None, None], "at": [START, START]})
    assert point_in_time_join(rows, "at", [history(values)])["v"].to_list() == [None, None]


def test_empty_frames_are_fine():
    values = pl.DataFrame({"k": ["a"], "t": [START], "v": [1]})
    rows = pl.DataFrame({"k": ["a"], "at": [START]})
    assert point_in_time_join(rows.clear(), "at", [history(values)]).shape == (0, 1)
    assert point_in_time_join(rows, "at", [history(values.clear())])["v"].to_list() == [None]
    assert point_in_time_join(rows, "at", []).height == 1


def test_keys_and_features_may_share_their_names():
    values = pl.DataFrame({"k": ["a"], "t": [datetime(2013, 1, 1, tzinfo=UTC)]})
    rows = pl.DataFrame({"k": ["a"], "at": [START]})
    joined = point_in_time_join(rows, "at", [history(values, features={"k": "key", "t": "since"})])
    assert joined.rows() == [("a", datetime(2013, 1, 1, tzinfo=UTC))]


@pytest.mark.parametrize(
    ("values", "rows", "message"),
    [
        ({"k": ["a"], "t": [START]}, {"k": ["a"], "at": [START]}, "its source has no column 'v'"),
        ({"k": ["a"], "t": [START], "v": [1]}, {"at": [START]}, "the entity frame has no column 'k'"),
        (
            {"k": ["a"], "t": [START], "v": [1]},
            {"k": [1], "at": [START]},
            "key 'k' is Int64 in the entity frame",
        ),
        ({"k": ["a"], "t": ["2013"], "v": [1]}, {"k": ["a"], "at": [START]}, "column 't' holds String"),
    ],
)
def test_says_what_does_not_fit(values, rows, message):
    with pytest.raises(FeatureError, match=message):
        point_in_time_join(pl.DataFrame(rows), "at", [history(pl.DataFrame(values))])


MANY = 3_000


@pytest.fixture(scope="module")
def crowd():
    """Rows and a history of few keys, with ties, in no order, under columns of every type."""
    rng = random.Random(7)
    at = [START + timedelta(hours=rng.randrange(1000)) for _ in range(MANY)]
    values = pl.DataFrame(
        {
            "k": [rng.choice(["a", "b", "c", None]) for _ in range(MANY)],
            "l": [rng.choice([1, 2, None]) for _ in range(MANY)],
            "t": at,
            "text": [str(number) for number in range(MANY)],
            "list": [[number, None] for number in range(MANY)],
            "struct": [{"x": number, "y": str(number)} for number in range(MANY)],
            "decimal": [Decimal(number) for number in range(MANY)],
            "span": [timedelta(seconds=number) for number in range(MANY)],
            "zoned": pl.Series(at).dt.replace_time_zone("UTC").dt.convert_time_zone("America/New_York"),
            "category": pl.Series([f"c{number % 7}" for number in range(MANY)], dtype=pl.Categorical),
            "enum": pl.Series(["x", "y", None] * (MANY // 3), dtype=pl.Enum(["x", "y"])),
            "array": pl.Series([[number, 1] for number in range(MANY)], dtype=pl.Array(pl.Int16, 2)),
            "null": pl.Series([None] * MANY),
        }
    )
    rows = pl.DataFrame(
        {
            "k": [rng.choice(["a", "b", "z", None]) for _ in range(MANY)],
            "l": pl.Series([rng.choice([1.0, 2.0, None]) for _ in range(MANY)]),
            "at": [rng.choice([START + timedelta(hours=rng.randrange(-9, 1200)), None]) for _ in range(MANY)],
        }
    )
    return rows, values


@pytest.mark.slow
@pytest.mark.parametrize("keys", [{}, {"k": "k"}, {"k": "k", "l": "l"}])
@pytest.mark.parametrize(
    "memory", [400_000, 2_000_000]
)  # the few keys that are large are divided by time, too
def test_columns_of_every_type_are_the_same_where_nothing_fits_into_memory(crowd, tmp_path, keys, memory):
    rows, values = crowd
    features = {name: f"{name}_then" for name in values.columns}
    views = [history(values, keys=keys, features=features, timestamp="t", ttl=timedelta(hours=5))]
    room = JoinResources(memory, tmp_path)
    joined = point_in_time_join(rows, "at", views)
    assert point_in_time_join(rows, "at", views, room=room).equals(joined)
    assert pl.concat(point_in_time_batches(rows, "at", views, 700, room=room)).equals(joined)
    assert joined.schema == pl.Schema({f"{name}_then": dtype for name, dtype in values.schema.items()})
    assert joined["list_then"].count() > MANY / 10


def test_many_rows_of_few_that_are_asked_for_are_the_same_without_the_others(tmp_path):
    values = pl.DataFrame({"k": range(5000), "t": [START] * 5000, "v": range(5000)})
    rows = pl.DataFrame({"k": [4999, 17, -1], "at": [START] * 3})
    joined = point_in_time_join(rows, "at", [history(values)], room=JoinResources(10_000, tmp_path))
    assert joined["v"].to_list() == [4999, 17, None]


def test_parts_of_a_source_that_cannot_matter_are_not_read(tmp_path):
    days = [START + timedelta(days=day) for day in range(1000)]
    pl.DataFrame({"k": ["a"] * 1000, "t": days, "v": range(1000)}).write_parquet(
        tmp_path / "values.parquet", row_group_size=10
    )
    values = pl.scan_parquet(tmp_path / "values.parquet")
    rows = pl.DataFrame({"k": ["a", "a"], "at": [days[500], days[503] + timedelta(hours=1)]})
    view = History("view", values, {"k": "k"}, {"v": "v"}, "t", ttl=timedelta(days=2))
    assert point_in_time_join(rows, "at", [view])["v"].to_list() == [500, 503]
    whole = (tmp_path / "values.parquet").read_bytes()
    (tmp_path / "values.parquet").write_bytes(whole[:4] + b"\xff" * 2000 + whole[2004:])  # the first groups
    assert point_in_time_join(rows, "at", [view])["v"].to_list() == [500, 503]
    (tmp_path / "room").mkdir()
    for room in (JoinResources(), JoinResources(CRAMPED, tmp_path / "room")):
        with pytest.raises(FeatureError, match="view 'view' cannot be joined"):
            point_in_time_join(rows, "at", [replace(view, ttl=None)], room=room)
    assert not list((tmp_path / "room").iterdir())


def test_nothing_stays_on_disk_when_batches_are_given_up(crowd, tmp_path):
    rows, values = crowd
    view = history(values, features={"text": "text"})
    batches = point_in_time_batches(rows, "at", [view], 100, room=JoinResources(100_000, tmp_path))
    left = tmp_path / "tidemill-join-killed"
    (left / "0").mkdir(parents=True)
    (left / "lock").touch()  # as a process leaves it that is killed
    next(batches)
    assert not left.exists()
    others = point_in_time_batches(rows, "at", [view], 100, room=JoinResources(100_000, tmp_path))
    next(others)
    assert len(list(tmp_path.iterdir())) == 2
    others.close()
    batches.close()
    assert not list(tmp_path.iterdir())


def test_a_folder_in_which_a_thread_still_writes_is_removed_in_the_end(tmp_path):
    ends = time.monotonic() + 0.1

    def write(folder):
        while time.monotonic() < ends:
            with contextlib.suppress(OSError):  # it is being deleted
                (folder / "part").mkdir(exist_ok=True)
                (folder / "part" / str(time.monotonic_ns())).touch()

    with ThreadPoolExecutor(1) as thread, spill.temporary(JoinResources(folder=tmp_path)) as folder:
        thread.submit(write, folder)
    assert not list(tmp_path.iterdir())


def test_a_folder_that_could_not_be_removed_is_removed_by_the_next_join(tmp_path, monkeypatch):
    with monkeypatch.context() as patched:
        patched.setattr(spill, "_PAUSES", (0.0,))
        patched.setattr(spill.shutil, "rmtree", lambda folder, **_: (folder / "lock").unlink())
        with spill.temporary(JoinResources(folder=tmp_path)) as left:
            pass
    assert left.exists()
    with spill.temporary(JoinResources(folder=tmp_path)) as folder:
        assert list(tmp_path.iterdir()) == [folder]


def test_a_disk_that_is_full_is_named(crowd, tmp_path):
    rows, values = crowd
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limit[1]))
    try:
        with pytest.raises(FeatureError, match=rf"feature view 'view': the disk of {tmp_path}.* is full"):
            point_in_time_join(
                rows, "at", [history(values, features={"text": "x"})], room=JoinResources(CRAMPED, tmp_path)
            )
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    assert not list(tmp_path.iterdir())


def test_a_folder_that_is_not_there_is_named(crowd, tmp_path):
    rows, values = crowd
    with pytest.raises(FeatureError, match=r"no room for a join .*nowhere"):
        point_in_time_join(
            rows,
            "at",
            [history(values, features={"text": "x"})],
            room=JoinResources(CRAMPED, tmp_path / "nowhere"),
        )
