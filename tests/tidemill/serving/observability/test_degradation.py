"""Parts of the platform go away under a replica, and before it starts: it answers, says so, and recovers."""

import shutil
import sqlite3
import time
from contextlib import closing, contextmanager
from datetime import timedelta

import pytest
from fastapi.testclient import TestClient

from tests.tidemill.serving.small_project import KNOWN, crown
from tidemill.project import load_project
from tidemill.registry.versions.model_cache import cached_model
from tidemill.serving.runtime.replica.wiring import build_api
from tidemill.settings import Settings

pytestmark = pytest.mark.engine
AT = (KNOWN + timedelta(hours=1)).isoformat()


@contextmanager
def running(project):
    with TestClient(build_api(project, "r1"), raise_server_exceptions=False) as api:
        yield api


def predict(api, depot="north"):
    answer = api.post("/predict", json={"instances": [{"depot": depot}], "at": AT})
    assert answer.status_code == 200, answer.text
    body = answer.json()
    (one,) = body["predictions"]
    return body["model_version"], one["flags"]


def degraded(api):
    """What readiness, metrics and the model's state say alike; asked again if it changed meanwhile."""
    parts = None
    while parts is None or parts != ready(api):
        parts = ready(api)
        text, told = api.get("/metrics").text, set(api.get("/model").json()["degraded"])
    gauges = [part for part in parts if f'tidemill_degraded{{part="{part}",replica="r1"}} 1.0' in text]
    assert (gauges, told) == (parts, set(parts))
    return parts


def ready(api):
    answer = api.get("/readyz")
    assert answer.status_code == 200
    return answer.json()["degraded"]


def wait_for(condition, seconds=15.0):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_without_features_answers_are_made_of_defaults_and_flagged(served_parcels):
    file = served_parcels.home / "online.db"
    away = shutil.move(file, file.with_suffix(".away"))
    with running(served_parcels) as api:
        assert predict(api) == ("1", ["fallback:features", "default:rain"])
        assert degraded(api) == ["features"]
        shutil.move(away, file)
        wait_for(lambda: degraded(api) == [])
        assert predict(api) == ("1", [])


def test_with_the_registry_broken_the_last_version_goes_on_and_the_next_one_comes_later(served_parcels):
    with running(served_parcels) as api:
        assert predict(api) == ("1", [])
        crown(served_parcels, "2")
        wait_for(lambda: predict(api)[0] == "2")
        rename = 'ALTER TABLE "{}" RENAME TO "{}"'
        with closing(sqlite3.connect(served_parcels.home / "mlflow.db")) as other:
            other.execute(rename.format("registered_model_aliases", "gone"))
            wait_for(lambda: degraded(api) == ["registry"])
            assert predict(api) == ("2", [])
            asked = {"instances": [{"depot": "north"}], "at": AT}
            explained = api.post("/predict?explain=true", json=asked)
            assert explained.status_code == 200, explained.text
            assert explained.json()["predictions"][0]["explanation"]["contributions"].keys() == {
                "wind",
                "rain",
            }
            other.execute(rename.format("gone", "registered_model_aliases"))
        crown(served_parcels, "1")
        wait_for(lambda: predict(api)[0] == "1")
        assert degraded(api) == []


def test_a_replica_starts_without_registry_and_records_if_it_served_before(served_parcels, monkeypatch):
    # What a replica of the stack has in its environment.
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    nowhere = {"tracking_uri": "http://127.0.0.1:9", "state_url": "sqlite:////proc/none/state.db"}
    alone = load_project(served_parcels.root, Settings(**nowhere))
    with TestClient(build_api(alone, "r1")) as api:
        assert api.get("/readyz").status_code == 503
        assert "registry" in api.get("/model").json()["error"]
    with running(served_parcels) as api:
        assert predict(api) == ("1", [])
    assert cached_model(served_parcels, "1") is not None

    with running(alone) as api:
        assert predict(api) == ("1", [])
        assert degraded(api) == ["records", "registry"]
        problems = api.get("/model").json()["degraded"]
        assert "127.0.0.1" in problems["registry"]
        assert "/proc/none" in problems["records"]
    with running(served_parcels) as api:
        assert degraded(api) == []


def test_records_in_postgres_go_away_and_come_back(served_parcels, postgres_address, postgres_url):
    import psycopg

    project = load_project(served_parcels.root, Settings(state_url=postgres_url))
    name = postgres_url.rpartition("/")[2]
    with running(project) as api, psycopg.connect(f"{postgres_address}/postgres", autocommit=True) as other:
        assert predict(api) == ("1", [])
        assert degraded(api) == []
        other.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
        other.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", (name,))
        wait_for(lambda: "records" in degraded(api))
        assert predict(api) == ("1", [])
        other.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")
        wait_for(lambda: degraded(api) == [])


def test_a_registry_that_was_lost_is_away_but_a_champion_that_was_dismissed_is_not(served_parcels, tmp_path):
    from tidemill.training.tracking.mlflow_tracking import connect

    with running(served_parcels) as api:
        predict(api)
    lost = load_project(served_parcels.root, Settings(tracking_uri=f"sqlite:///{tmp_path / 'new.db'}"))
    with running(lost) as api:
        assert predict(api) == ("1", [])
        assert degraded(api) == ["registry"]
    connect(served_parcels).delete_registered_model_alias(served_parcels.model, "champion")
    with TestClient(build_api(served_parcels, "r1")) as api:
        assert api.get("/readyz").status_code == 503


def test_with_the_disk_of_the_log_away_answers_say_so(served_parcels):
    shutil.rmtree(served_parcels.predictions, ignore_errors=True)
    served_parcels.predictions.write_text("a file where the folder should be")
    with running(served_parcels) as api:
        assert predict(api) == ("1", ["fallback:log"])
        assert degraded(api) == ["log"]
        served_parcels.predictions.unlink()
        wait_for(lambda: degraded(api) == [])
        assert predict(api) == ("1", [])
