"""Evaluate the monitors that are due, once: ``python -m`` with the name of this module.

A CronJob of the chart runs it where the values say so; the controller then evaluates none. What alerts come
of it, and which turns, is the controller's to do.
"""

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

from tidemill.alerting.alert_states import record_alerts
from tidemill.clock import SystemClock
from tidemill.errors import TidemillError
from tidemill.monitoring.monitoring_round import run_due
from tidemill.project import load_project
from tidemill.state import open_state

__all__: list[str] = []

_log = logging.getLogger(__name__)


def main(arguments: Sequence[str]) -> int:
    """Run the command line; return the exit code: 0 also if a monitor failed, which is on record."""
    parser = argparse.ArgumentParser(prog="python -m tidemill.kubernetes.monitors_job")
    parser.add_argument("--project", type=Path, required=True, help="folder of the project")
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    try:
        project = load_project(options.project)
        state = open_state(project.state_url)
        try:
            runs = run_due(project, state, SystemClock().now(), record_alerts)
        finally:
            state.close()
    except TidemillError as error:
        _log.error("%s%s", error, f"; {error.hint}" if error.hint else "")
        return 1
    for run in runs:
        _log.info("monitor %s: %s over %d rows", run.monitor, run.verdict, run.rows)
    if not runs:
        _log.info("no monitor is due")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
