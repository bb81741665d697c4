"""What the prediction API can be asked, without HTTP, server or model."""

import asyncio
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from types import SimpleNamespace

import pytest
from pydantic import BaseModel

from tidemill.clock import SystemClock
from tidemill.serving.inference.batching import Batcher
from tidemill.serving.inference.calls import Answer, Call, Prediction
from tidemill.serving.inference.data_plane import DataPlane
from tidemill.serving.inference.predictor import NoChampion
from tidemill.serving.inference.predictor import Predictor as RealPredictor
from tidemill.serving.routing.version_watcher import Status

NOW = datetime(2013, 4, 1, tzinfo=UTC)
ANSWER = Answer((Prediction("p", "3", "champion", 0.5, {}, ()),))


class Predictor:
    """Answers everything alike, and keeps labels with the thread that brought them."""

    model, replica = "parcels", "r1"

    def __init__(self, serving=None):
        self.serving = lambda: serving
        self.labels = []

    def answer(self, calls):
        return [ANSWER for _ in calls]

    def label(self, labels):
        self.labels.append((labels, threading.current_thread().name))
        return len(labels)


@pytest.fixture
def pool():
    with ThreadPoolExecutor(1, thread_name_prefix="aside") as made:
        yield made


def plane(predictor, pool, status=Status, degraded=dict):
    return DataPlane(predictor, Batcher(predictor.answer, pool), pool, status, degraded)


def test_it_predicts_on_the_loop_and_takes_labels_beside_it(pool):
    predictor = Predictor()

    async def asked():
        made = plane(predictor, pool)
        answer = await made.predict(Call(instances=[object()]), time.perf_counter())
        return answer, await made.label(["one", "two"])

    assert asyncio.run(asked()) == (ANSWER, 2)
    assert predictor.labels == [(["one", "two"], "aside_0")]


def test_it_is_ready_with_a_champion_and_says_why_it_is_not(pool):
    serving = SimpleNamespace(champion=SimpleNamespace(version="3"))
    assert plane(Predictor(serving), pool).require_ready() == "3"
    with pytest.raises(NoChampion, match="no version of parcels is champion yet"):
        plane(Predictor(), pool).require_ready()
    with pytest.raises(NoChampion, match="cannot be loaded"):
        plane(Predictor(), pool, lambda: Status(error="cannot be loaded")).require_ready()


class Parcel(BaseModel):
    depot: str = "north"


@pytest.mark.parametrize(
    ("trouble", "said", "hint"),
    [
        (None, "no version is champion", "`tidemill run --promote` makes a champion"),
        ("version 3 cannot be loaded", "version 3 cannot be loaded", "GET /model says more"),
    ],
)
def test_a_prediction_without_a_version_says_why(trouble, said, hint):
    asked = RealPredictor(None, "parcels", lambda: None, None, "r1", SystemClock(), trouble=lambda: trouble)
    with pytest.raises(NoChampion, match=f"^no version of parcels answers yet: {said}$") as error:
        asked.predict([Parcel()])
    assert error.value.hint == hint


def test_its_status_is_the_watchers_and_what_it_does_without(pool):
    status = Status("3", "4", "cannot be loaded", NOW)
    told = plane(Predictor(), pool, lambda: status, lambda: {"features": "away"}).status()
    assert (told.model, told.replica, told.version, told.wanted) == ("parcels", "r1", "3", "4")
    assert (told.error, told.loaded_at, told.degraded) == ("cannot be loaded", NOW, {"features": "away"})
