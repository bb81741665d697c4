"""Advances rollouts in a thread of its own, because a turn may keep the controller busy for an hour."""

import logging
import threading
from datetime import timedelta

from tidemill.clock import SystemClock
from tidemill.project import Project
from tidemill.rollouts.rollout import advance
from tidemill.state import expect_state
from tidemill.threads import BackgroundThread

__all__ = ["start_rollout_thread"]

log = logging.getLogger(__name__)
_EVERY = timedelta(seconds=5)


def start_rollout_thread(project: Project, interval: timedelta, stop: threading.Event) -> BackgroundThread:
    """Start a thread that advances the rollout under way, if there is one, until ``stop`` is set.

    Args:
        project: whose model it is.
        interval: between two checks; at most five seconds count, as a bad version should not serve longer.
        stop: ends the thread.
    """
    seconds = min(interval, _EVERY).total_seconds()

    def run() -> None:
        state = expect_state(project.state_url)  # records that are away must not end the thread
        said = ""
        while not stop.is_set():
            try:
                progress = advance(project, state, SystemClock().now())
            except Exception:
                log.exception("the rollout could not be checked; the next check is in %s s", seconds)
            else:
                if progress is not None:
                    row, verdict = progress.rollout, progress.verdict
                    says = row.outcome or (verdict.reason if verdict is not None else "")
                    message = f"rollout {row.id} of version {row.version}, step {row.step + 1}: {row.status}"
                    if f"{message}: {says}" != said:
                        said = f"{message}: {says}"
                        log.info("%s", said)
            stop.wait(seconds)
        state.close()

    thread = BackgroundThread("rollouts", run, stopping=stop)
    thread.start()
    return thread
