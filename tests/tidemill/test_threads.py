"""Threads end with their owner, and what fails in them is in the log."""

import logging
import subprocess
import sys
import threading

import threadpoolctl

from tidemill.threads import BackgroundThread, one_thread_to_compute


def test_a_round_that_fails_is_logged_and_does_not_end_the_thread(caplog):
    rounds = []
    done = threading.Event()

    def work():
        rounds.append(1)
        if len(rounds) == 1:
            raise ValueError("the first round")
        done.set()

    thread = BackgroundThread("rounds", work, every=0.001)
    with caplog.at_level(logging.ERROR, "tidemill.threads"):
        thread.start()
        assert done.wait(30)
        assert thread.stop()
    assert "thread rounds failed" in caplog.text
    assert "the first round" in caplog.text
    assert not thread.is_alive


def test_work_that_takes_long_is_told_to_end():
    thread = BackgroundThread("long", lambda: thread.stopping.wait(60))
    thread.start()
    assert thread.stop(30)


def test_a_thread_that_does_not_end_in_time_is_reported(caplog):
    held = threading.Event()
    thread = BackgroundThread("held", lambda: held.wait(60))
    thread.start()
    assert not thread.stop(0.01)
    assert "thread held has not ended within 0.01 s" in caplog.text
    held.set()
    assert thread.join(30)


def test_a_thread_that_never_began_can_be_stopped():
    assert BackgroundThread("never", lambda: None).stop()


def test_a_thread_may_stop_itself():
    ended = []
    thread = BackgroundThread("itself", lambda: ended.append(thread.stop()))
    thread.start()
    assert thread.join(30)
    assert ended == [False]


def test_a_running_thread_does_not_keep_the_process():
    code = "from tidemill.threads import BackgroundThread as T; t = T('x', lambda: None, every=9); t.start()"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_libraries_that_compute_are_looked_for_where_more_modules_are_imported(monkeypatch):
    with one_thread_to_compute():
        assert all(one["num_threads"] == 1 for one in threadpoolctl.threadpool_info())
    looked, find = [], threadpoolctl.ThreadpoolController.__init__
    monkeypatch.setattr(
        threadpoolctl.ThreadpoolController, "__init__", lambda found: looked.append(1) or find(found)
    )
    for name, times in (("one", 3), ("another", 1)):
        monkeypatch.setitem(sys.modules, f"imported_by_{name}", logging)
        for _ in range(times):
            with one_thread_to_compute():
                pass
    assert len(looked) == 2
