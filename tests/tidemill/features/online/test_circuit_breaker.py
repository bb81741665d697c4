"""Online stores that go away under a reader: real files, and a real Redis that is stopped and killed."""

import gc
import shutil
import signal
import sqlite3
import subprocess
import time
from datetime import UTC, datetime, timedelta

import pytest
import yaml

from tests.conftest import free_port, wait_for_port
from tidemill.features import feature_store as features
from tidemill.features.online.circuit_breaker import FALLBACK, CircuitBreaker
from tidemill.features.online.online_features import OnlineFeatures
from tidemill.project import load_project

pytestmark = pytest.mark.engine
START = datetime(2013, 1, 1, tzinfo=UTC)
NOON = START + timedelta(hours=3)
ROW = {"origin": "JFK", "carrier": "AA", "departure": START + timedelta(hours=4)}
WAIT = 0.2


@pytest.fixture
def outage():
    outage = CircuitBreaker(WAIT)
    yield outage
    outage.stop()


def fill(project):
    features.apply(project)
    features.materialise(project, NOON)


def ask(reader):
    """Read one row; return it with the seconds that it took."""
    began = time.perf_counter()
    (row,) = reader.read([ROW], [NOON])
    return row, time.perf_counter() - began


def wait_until_back(outage, seconds=5.0):
    deadline = time.monotonic() + seconds
    while outage.problem is not None:
        assert time.monotonic() < deadline, outage.problem
        time.sleep(0.01)


def assert_fallback(row, known):
    """What the request itself brings is known; nothing else is, and no key is called unknown."""
    assert row.flags == (FALLBACK,)
    assert list(row.values) == list(known.values)
    assert row.values["hour"] == 4
    assert {value for name, value in row.values.items() if name != "hour"} == {None}


def test_a_file_that_is_not_there_yet_one_that_is_broken_and_another_in_its_place(project, outage):
    fill(project)
    gc.collect()  # the connections that filled it
    file = project.home / "online.db"
    away = shutil.move(file, file.with_suffix(".away"))
    store = features.open_store(project)
    reader = OnlineFeatures(store, "mini", outage)
    row, _ = ask(reader)
    assert row.flags == (FALLBACK,)
    assert "no such file" in outage.problem

    shutil.move(away, file)
    wait_until_back(outage)
    known, _ = ask(reader)
    assert (known.flags, known.values["late_share"]) == ((), 0.2)

    whole = file.read_bytes()
    store.provider.online_store._connections.close()  # what it has read it would go on to answer
    file.write_bytes(b"no database at all" * 1000)
    assert_fallback(ask(reader)[0], known)
    file.write_bytes(whole)
    wait_until_back(outage)
    assert ask(reader)[0] == known
    assert outage.count == 2

    another = file.with_suffix(".new")
    another.write_bytes(whole)
    with sqlite3.connect(another) as connection:
        (table,) = connection.execute(
            "SELECT name FROM sqlite_master WHERE name LIKE '%lateness%'"
        ).fetchone()
        connection.execute(f'UPDATE "{table}" SET late_share = 0.75')
    connection.close()
    another.replace(file)
    deadline = time.monotonic() + 3
    while ask(reader)[0].values["late_share"] != 0.75:
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_locked_file_costs_one_request_the_wait_and_the_others_nothing(project, outage):
    fill(project)
    gc.collect()
    reader = OnlineFeatures(features.open_store(project), "mini", outage)
    other = sqlite3.connect(project.home / "online.db", isolation_level=None)
    other.execute("PRAGMA locking_mode = EXCLUSIVE")
    other.execute("BEGIN EXCLUSIVE")
    row, waited = ask(reader)
    assert row.flags == (FALLBACK,)
    assert WAIT / 2 < waited < WAIT + 0.5
    assert max(ask(reader)[1] for _ in range(50)) < WAIT / 2
    other.execute("COMMIT")
    other.close()
    wait_until_back(outage)
    assert ask(reader)[0].flags == ()


class Redis:
    """A Redis of our own, which can be hung, killed and started again."""

    def __init__(self, folder):
        self.port, self.folder = free_port(), folder
        self.start()

    def start(self):
        settings = ["--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self.folder)]
        self.process = subprocess.Popen(
            [shutil.which("redis-server"), *settings, "--appendonly", "yes", "--appendfsync", "always"],
            stdout=subprocess.DEVNULL,
        )
        wait_for_port(self.port, self.process)

    def kill(self):
        self.process.kill()
        self.process.wait()


@pytest.fixture
def redis(tmp_path):
    if shutil.which("redis-server") is None:
        pytest.skip("needs redis-server")
    server = Redis(tmp_path)
    yield server
    server.kill()


def test_redis_hangs_dies_and_comes_back(project, outage, redis):
    settings = project.root / "feature_repo" / "feature_store.yaml"
    content = yaml.safe_load(settings.read_text())
    content["online_store"] = {
        "type": "tidemill.features.online.RedisOnlineStore",
        "connection_string": f"127.0.0.1:{redis.port}",
    }
    settings.write_text(yaml.safe_dump(content))
    project = load_project(project.root)
    fill(project)
    reader = OnlineFeatures(features.open_store(project), "mini", outage)
    known, _ = ask(reader)
    assert known.flags == ()

    redis.process.send_signal(signal.SIGSTOP)
    row, waited = ask(reader)
    assert_fallback(row, known)
    assert WAIT / 2 < waited < WAIT + 0.3
    assert max(ask(reader)[1] for _ in range(50)) < WAIT / 2
    redis.process.send_signal(signal.SIGCONT)
    wait_until_back(outage)
    assert ask(reader)[0] == known

    redis.kill()
    row, waited = ask(reader)
    assert_fallback(row, known)
    assert waited < WAIT + 0.3
    assert "Redis" in outage.problem
    redis.start()
    wait_until_back(outage)
    assert ask(reader)[0] == known
    assert outage.count == 2
