"""The controller's loop in a pod that leads; `tidemill.kubernetes.elected_controller` starts it."""

import argparse
import logging
import signal
import sys
import threading
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

from tidemill.garbage import collect_rarely
from tidemill.kubernetes.elected_controller import end_with_owner
from tidemill.project import load_project
from tidemill.retraining.controller import run_forever
from tidemill.threads import BackgroundThread

__all__: list[str] = []


def main(arguments: Sequence[str]) -> int:
    """Run rounds until SIGTERM."""
    collect_rarely()
    parser = argparse.ArgumentParser(prog="python -m tidemill.kubernetes.cluster_controller")
    parser.add_argument("--project", type=Path, required=True)
    parser.add_argument("--interval", type=float, default=60.0)
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda _number, _frame: stop.set())
    BackgroundThread("owner", end_with_owner).start()
    run_forever(load_project(options.project), timedelta(seconds=options.interval), stop)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
