"""Materialisation by the column, beside Feast's own, and when it goes wrong."""

import contextlib
import io
import os
import signal
import subprocess
import sys
import textwrap
from datetime import timedelta

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.tidemill.features.online.online_repository import (
    START,
    TYPES,
    at,
    definitions,
    make_store,
    online_section,
    write_sources,
)
from tidemill.errors import FeatureError
from tidemill.features import feature_store as features
from tidemill.features.online.materialise import can_write_columns, write_latest

pytestmark = [pytest.mark.engine, pytest.mark.filterwarnings("ignore::DeprecationWarning:feast")]

NAMES = list(TYPES)


def fill(store):
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()) as bars:
        store.materialize(START - timedelta(days=1), at(9))
    return bars.getvalue()


def things(store, gates):
    asked = [{"gate": gate} for gate in gates]
    return store.get_online_features([f"things:{name}" for name in NAMES], asked).to_dict()


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    """Feast's store and engine, and ours."""
    stores = []
    for kind, engine in (("feast-sqlite", False), ("sqlite", True)):
        folder = tmp_path_factory.mktemp(kind)
        store = make_store(folder, online_section(kind, None), engine=engine)
        write_sources(folder)
        store.apply(definitions())
        stores.append(store)
    return stores


# No nulls: Feast reads a column of whole numbers with nulls as floats, and so cuts off digits.
ROW = st.fixed_dictionaries(
    {
        "gate": st.integers(0, 9),
        "double": st.floats(),
        "single": st.floats(width=32),
        "short": st.integers(-(2**31), 2**31 - 1),
        "long": st.integers(-(2**63), 2**63 - 1),
        "flag": st.booleans(),
        "text": st.text(st.characters(exclude_categories=("Cs",)), max_size=5),
        "moment": st.datetimes(at(0).replace(tzinfo=None), at(90).replace(tzinfo=None)),
        "raw": st.binary(min_size=1, max_size=5),
        "many": st.lists(st.floats(allow_nan=False), min_size=1, max_size=3),
        "event_timestamp": st.integers(0, 5).map(lambda n: at(n).replace(tzinfo=None)),
        "created": st.integers(0, 5).map(lambda n: at(n).replace(tzinfo=None)),
    }
)
SCHEMA = {
    "gate": pl.Int64, "double": pl.Float64, "single": pl.Float32, "short": pl.Int32, "long": pl.Int64,
    "flag": pl.Boolean, "text": pl.String, "moment": pl.Datetime("us"), "raw": pl.Binary,
    "many": pl.List(pl.Float64), "event_timestamp": pl.Datetime("us"), "created": pl.Datetime("us"),
}  # fmt: skip


@settings(max_examples=4, deadline=None, suppress_health_check=list(HealthCheck))
@given(rows=st.lists(ROW, min_size=10, max_size=20, unique_by=lambda r: (r["gate"], r["event_timestamp"])))
def test_every_value_is_that_which_feast_writes(pair, rows):
    for store in pair:
        pl.DataFrame(rows, SCHEMA).write_parquet(store.repo_path / "things.parquet")
        store.provider.teardown_infra(store.project, store.list_feature_views(), [])
        store.provider.update_infra(store.project, [], store.list_feature_views(), [], [], partial=False)
        fill(store)
    feast, ours = (repr(things(store, range(10))) for store in pair)
    assert ours == feast


@pytest.fixture
def store(tmp_path):
    store = make_store(tmp_path, online_section("sqlite", None))
    write_sources(tmp_path)
    store.apply(definitions())
    return store


def change(store, view, **columns):
    path = store.repo_path / f"{view}.parquet"
    pl.read_parquet(path).with_columns(**columns).write_parquet(path)


@pytest.mark.parametrize(
    ("view", "columns", "message"),
    [
        (
            "weather",
            {"wind": pl.lit("strong")},
            "view 'weather': column 'wind' is declared DOUBLE and holds ",
        ),
        (
            "things",
            {"short": pl.lit(2**40)},
            "view 'things': column 'short' is declared INT32 and holds int64: ",
        ),
        (
            "things",
            {"long": pl.lit(1.5)},
            "view 'things': column 'long' is declared INT64 and holds double: ",
        ),
        ("things", {"many": pl.lit(1.5)}, "view 'things': column 'many' is declared DOUBLE_LIST"),
        ("gates", {"gate": pl.lit("A1")}, "view 'gates': column 'gate' is declared INT64"),
    ],
)
def test_a_column_of_another_type_is_named(store, view, columns, message):
    change(store, view, **columns)
    with pytest.raises(FeatureError, match=message):
        fill(store)


def test_whole_numbers_that_came_as_floats_stay_whole(store):
    change(
        store, "things", long=pl.Series([5.0, float("nan")]), text=pl.Series([7, 8]), double=pl.Series([1, 2])
    )
    fill(store)
    found = things(store, [1, 2])
    assert (found["long"], found["text"], found["double"]) == ([5, None], ["7", "8"], [1.0, 2.0])


def test_shows_how_far_it_is(store, tmp_path):
    assert "2/2" in fill(store)
    told = []
    view = store.get_feature_view("weather")
    provider = store.provider
    done = write_latest(
        store.config, provider.offline_store, provider.online_store, view, (START, at(2)),
        lambda rows, total: told.append((rows, total)),
    )  # fmt: skip
    assert done == 2
    assert told == [(0, 2), (2, 2)]
    assert (
        write_latest(
            store.config, provider.offline_store, provider.online_store, view, (at(7), at(8)), lambda *_: None
        )
        == 0
    )


def test_leaves_to_feast_what_it_cannot_do(store, pair):
    view = store.get_feature_view("weather")
    assert can_write_columns(store.provider.online_store, view)
    assert not can_write_columns(pair[0].provider.online_store, view)
    view.offline = True
    assert not can_write_columns(store.provider.online_store, view)


KILLED = """
import os, signal
import polars as pl
import tidemill.features.online.sqlite_store as online
from feast import FeatureStore
from datetime import UTC, datetime

online._TRANSACTION = 10
store = FeatureStore(repo_path=os.environ["REPO"])
store.provider.online_store
written = 0
upsert = online.SqliteOnlineStore._upsert

def killed(self, *arguments):
    global written
    upsert(self, *arguments)
    written += 1
    if written == 5:
        os.kill(os.getpid(), signal.SIGKILL)

online.SqliteOnlineStore._upsert = killed
first, last = datetime(2012, 1, 1, tzinfo=UTC), datetime(2014, 1, 1, tzinfo=UTC)
store.materialize(first, last, feature_views=["weather"])
"""


def test_killed_it_has_written_whole_rows_and_can_be_run_again(store):
    names = [f"A{n:03}" for n in range(100)]
    rows = pl.DataFrame(
        {"origin": names, "wind": [1.0] * 100, "rain": [2.0] * 100, "event_timestamp": [at(1)] * 100}
    )
    rows.write_parquet(store.repo_path / "weather.parquet")
    child = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(KILLED)],
        env={**os.environ, "REPO": str(store.repo_path)},
        capture_output=True,
        check=False,
    )
    assert child.returncode == -signal.SIGKILL

    def winds():
        asked = [{"origin": name} for name in names]
        found = store.get_online_features(["weather:wind", "weather:rain"], asked).to_dict()
        return list(zip(found["wind"], found["rain"], strict=True))

    assert winds() == [(1.0, 2.0)] * 50 + [(None, None)] * 50
    fill(store)
    assert winds() == [(1.0, 2.0)] * 100


def test_our_own_call_tells_views_and_rows(project):
    features.apply(project)
    told = []
    done = features.materialise(project, START + timedelta(hours=3), lambda *step: told.append(step))
    assert done == {"weather": 2, "lateness": 2}
    assert ("weather", 2, 2) in told
