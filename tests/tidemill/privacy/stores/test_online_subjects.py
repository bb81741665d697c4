import sqlite3
from contextlib import closing
from datetime import timedelta

import pandas as pd
import polars as pl
import pytest

from tests.tidemill.privacy.small_project import NOON
from tidemill.data.personal.pseudonyms import Pseudonymiser, load_key
from tidemill.data.personal.tombstones import Tombstone, add_tombstone
from tidemill.features.feast_session import open_store
from tidemill.features.feature_store import apply, materialise, push
from tidemill.features.online.online_features import OnlineFeatures
from tidemill.privacy.stores.online_subjects import count_online, forget_online
from tidemill.privacy.subject import find_subject
from tidemill.project import load_project
from tidemill.settings import Settings

pytestmark = [pytest.mark.engine, pytest.mark.filterwarnings("ignore::DeprecationWarning")]
HIDE = Pseudonymiser(b"a key of at least 16 bytes")

STORE = """
project: shop
provider: local
registry: registry.db
online_store: {online}
offline_store: {type: tidemill.features.offline.PolarsOfflineStore}
entity_key_serialization_version: 3
"""

DEFINITIONS = """
from datetime import timedelta
from feast import Entity, FeatureService, FeatureView, Field, FileSource, ValueType
from feast.types import Float64, Int64, String

customer = Entity(name="customer", join_keys=["id"], value_type=ValueType.INT64, tags={"personal": "true"})
account = Entity(name="account", join_keys=["account*"], value_type=ValueType.STRING)


def view(name, *entities):
    keys = [Field(name=e.join_key, dtype={"id": Int64, "account*": String}[e.join_key]) for e in entities]
    return FeatureView(
        name=name,
        entities=list(entities),
        ttl=timedelta(days=1),
        schema=[*keys, Field(name=f"f_{name}", dtype=Float64)],
        source=FileSource(path=f"{name}.parquet", timestamp_field="event_timestamp"),
    )


alone, both = view("alone", customer), view("both", customer, account)
shop = FeatureService(name="shop", features=[alone, both])
"""

PARAMS = """
project: {name: shop, model: shop, training: "a:b", application: "a:b"}
dataset: {path: set.parquet, label: late}
features: {service: shop, repo: .}
"""


@pytest.fixture(params=["sqlite", "ours", "redis", "our redis"])
def shop(request, tmp_path):
    match request.param:
        case "sqlite":
            online = "{type: sqlite, path: online.db}"
        case "ours":
            online = "{type: tidemill.features.online.SqliteOnlineStore, path: online.db}"
        case kind:
            address = request.getfixturevalue("redis_address")
            ours = "tidemill.features.online.RedisOnlineStore"
            online = f"{{type: {'redis' if kind == 'redis' else ours}, connection_string: '{address}'}}"
    (tmp_path / "params.yaml").write_text(PARAMS)
    name = request.param.replace(" ", "_")
    (tmp_path / "feature_store.yaml").write_text(
        STORE.replace("{online}", online).replace("shop", f"shop_{name}")
    )
    (tmp_path / "shop_views.py").write_text(DEFINITIONS)
    project = load_project(tmp_path, Settings(privacy_key=None))
    apply(project)
    store = open_store(project)
    ids = [7, 77, 7, 1799]
    push(store, "alone", pd.DataFrame({"id": ids[:2], "event_timestamp": NOON, "f_alone": 1.0}))
    accounts = ["a?", "7", "b*", "7"]
    frame = {"id": ids, "account*": accounts, "event_timestamp": NOON + timedelta(hours=1), "f_both": 2.0}
    push(store, "both", pd.DataFrame(frame))
    return project


def test_one_key_goes_alone_and_in_every_combination_and_no_other(shop):
    store = open_store(shop)
    subject = find_subject(shop, {"id": "7"}, HIDE)
    before = count_online(store, subject)
    assert sorted(before.values()) == [1, 2], before
    one = find_subject(shop, {"id": "7", "account*": "b*"}, HIDE)
    assert list(count_online(store, one).values()) == [1]
    assert list(forget_online(store, one).values()) == [1]
    assert sorted(forget_online(store, subject).values()) == [1, 1]
    assert (count_online(store, subject), forget_online(store, subject)) == ({}, {})
    rest = [find_subject(shop, {"id": each}, HIDE) for each in ("77", "1799")]
    assert [sum(count_online(store, each).values()) for each in rest] == [2, 1]
    account = find_subject(shop, {"account*": "7"}, HIDE)
    assert list(count_online(store, account).values()) == [2]


@pytest.mark.parametrize("shop", ["sqlite", "ours"], indirect=True)
def test_bytes_of_a_removed_key_are_nowhere_in_a_sqlite_file(shop):
    store = open_store(shop)
    names = [f"account-{number:04}" for number in range(400)]
    rows = {"id": 5, "account*": names, "event_timestamp": NOON, "f_both": 1.0}
    push(store, "both", pd.DataFrame(rows))
    with closing(sqlite3.connect(shop.root / "online.db")) as reader:  # it reads, as a replica does
        assert reader.execute("SELECT count(*) FROM sqlite_master").fetchone()
        assert forget_online(store, find_subject(shop, {"account*": "account-0123"}, HIDE))
    for path in shop.root.glob("online.db*"):
        assert b"account-0123" not in path.read_bytes()
    assert b"account-0124" in (shop.root / "online.db").read_bytes()


def test_an_erased_key_is_not_materialised_and_not_pushed(shop):
    hide = Pseudonymiser(load_key(shop)).hide
    subject = find_subject(shop, {"id": "7"}, Pseudonymiser(load_key(shop)))
    store = open_store(shop)
    forget_online(store, subject)
    add_tombstone(shop, Tombstone(("id",), (hide(7),), NOON, ""))
    add_tombstone(shop, Tombstone(("id", "account*"), (hide(1799), hide("x")), NOON, ""))
    later = NOON + timedelta(hours=2)
    alone = pl.DataFrame({"id": [7, 77, 5], "event_timestamp": later, "f_alone": 9.0})
    alone.write_parquet(shop.root / "alone.parquet")
    both = pl.DataFrame(
        {"id": [7, 1799, 1799], "account*": ["a", "x", "y"], "event_timestamp": later, "f_both": 9.0}
    )
    both.write_parquet(shop.root / "both.parquet")
    materialise(shop, later)
    push(store, "both", both.to_pandas())
    assert count_online(store, subject) == {}
    assert count_online(store, find_subject(shop, {"id": "1799", "account*": "x"}, HIDE)) == {}
    assert sum(count_online(store, find_subject(shop, {"id": "1799", "account*": "y"}, HIDE)).values()) == 1
    [row] = OnlineFeatures(store, "shop").read([{"id": 77, "account*": "7"}], [later])
    assert row.values == {"f_alone": 9.0, "f_both": 2.0}
