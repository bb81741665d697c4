import logging
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from tests.tidemill.retraining.test_loop_declarations import project_with
from tidemill.project import load_project
from tidemill.retraining.rollout_thread import start_rollout_thread
from tidemill.settings import Settings

pytestmark = pytest.mark.engine


def wait_for(what: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not what():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_it_goes_on_while_the_records_are_away_and_ends_when_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    project_with(tmp_path)
    (tmp_path / "records").write_text("")  # a file where a folder must be
    project = load_project(tmp_path, Settings(state_url=f"sqlite:///{tmp_path / 'records' / 'state.db'}"))
    stop = threading.Event()
    with caplog.at_level(logging.ERROR):
        thread = start_rollout_thread(project, timedelta(seconds=0.01), stop)
        try:
            wait_for(lambda: caplog.text.count("the rollout could not be checked") > 1)
            assert thread.is_alive
            caplog.clear()
            (tmp_path / "records").unlink()  # they are back
            wait_for(lambda: (tmp_path / "records" / "state.db").exists())
        finally:
            stop.set()
            thread.join(60)
    assert not thread.is_alive
