import time
from concurrent.futures import ThreadPoolExecutor
from threading import Event

import pytest

from tidemill.dashboard.live import shared_texts
from tidemill.dashboard.live.shared_texts import SharedTexts


@pytest.fixture(autouse=True)
def seconds(monkeypatch):
    monkeypatch.setattr(shared_texts, "_SECONDS", 0.1)


def test_what_takes_longer_than_a_text_is_kept_is_shared_too():
    shared, made = SharedTexts(), []

    def make():
        made.append(1)
        time.sleep(0.12)
        return f"made {len(made)}"

    assert [shared.get("/", "mark", make) for _ in range(2)] == ["made 1", "made 1"]


def test_nobody_waits_long_for_what_another_makes():
    shared, go_on = SharedTexts(), Event()
    with ThreadPoolExecutor(1) as pool:
        try:
            slow = pool.submit(shared.get, "/", "mark", lambda: str(go_on.wait(60)))
            while not shared._known:
                time.sleep(0.001)
            assert shared.get("/", "mark", lambda: "own") == "own"
            assert not slow.done()
        finally:
            go_on.set()
    assert slow.result() == "True"


def test_after_an_error_the_next_one_makes_it():
    shared = SharedTexts()
    with pytest.raises(ZeroDivisionError):
        shared.get("/", "mark", lambda: str(1 / 0))
    assert shared.get("/", "mark", lambda: "made") == "made"
