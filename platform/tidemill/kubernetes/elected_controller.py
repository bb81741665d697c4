"""Run the controller while this pod holds the Lease: ``python -m`` with the name of this module.

The controller is a process of its own, so that a turn that computes can be ended at any moment. It ends with
this process, even if that is killed. A turn that was cut off goes on in the pod that leads next.
"""

import argparse
import logging
import os
import platform
import secrets
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

import psutil

from tidemill.errors import ConfigError, TidemillError
from tidemill.kubernetes.cluster_api import ClusterApi, find_place
from tidemill.kubernetes.leader_lease import LeaderLease
from tidemill.settings import Settings
from tidemill.threads import BackgroundThread

__all__ = ["end_with_owner", "run_while_leading"]

Process = subprocess.Popen[bytes]

_LOOK = 0.1
_log = logging.getLogger(__name__)


def run_while_leading(
    lease: LeaderLease, start: Callable[[], Process], stop: threading.Event, *, drain: float
) -> int:
    """Start the work while the Lease is held, and end it before another process can begin.

    Args:
        lease: whoever holds it works.
        start: starts the work.
        stop: ends everything: the work is told to end, and the Lease is released once it has.
        drain: seconds that the work has for that.

    Returns:
        0 after ``stop``; else the exit code of the work, which ended by itself.
    """
    renewing = BackgroundThread("lease", lease.step, every=lease.retry)
    work: Process | None = None
    term = code = 0
    lease.step()
    renewing.start()
    try:
        while not stop.is_set():
            if work is not None and work.poll() is not None:
                code = work.returncode
                _log.error("the controller ended by itself with %d", code)
                break
            if work is not None and not (lease.may_work and lease.term == term):
                _end(work, lease.stop_by)
                work = None
            if work is None and lease.may_work:
                term, work = lease.term, start()
            stop.wait(_LOOK)
        if work is not None and work.poll() is None:
            work.terminate()
            end = time.monotonic() + drain
            while work.poll() is None and time.monotonic() < end and lease.may_work and lease.term == term:
                time.sleep(_LOOK)
    finally:
        if work is not None:
            _end(work, 0.0)
        renewing.stop()
        lease.release()
    return code


def end_with_owner() -> None:
    """Die when the process that holds the Lease does: it has the other end of our standard input."""
    while os.read(sys.stdin.fileno(), 1):
        pass
    os.kill(os.getpid(), signal.SIGKILL)


def _end(work: Process, stop_by: float) -> None:
    """End the work and all that it started, gently up to the moment ``stop_by``."""
    started = []
    with suppress(psutil.NoSuchProcess):
        started = psutil.Process(work.pid).children(recursive=True)
    work.terminate()
    with suppress(subprocess.TimeoutExpired):
        work.wait(max(0.0, stop_by - time.monotonic()))
    work.kill()
    work.wait()
    for process in started:
        with suppress(psutil.NoSuchProcess):
            process.kill()


def main(arguments: Sequence[str]) -> int:
    """Run the command line; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tidemill.kubernetes.elected_controller")
    parser.add_argument("--project", type=Path, required=True, help="folder of the project")
    parser.add_argument("--interval", type=float, default=60.0, help="seconds between two rounds")
    parser.add_argument("--lease", required=True, help="name of the Lease")
    parser.add_argument(
        "--lease-seconds", type=float, default=30.0, help="how long others wait for a pod that died"
    )
    parser.add_argument("--drain", type=float, default=45.0, help="seconds that a round has to end")
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)
    command = [
        *(sys.executable, "-m", "tidemill.kubernetes.cluster_controller"),
        *("--project", str(options.project), "--interval", str(options.interval)),
    ]
    try:
        lease = _lease(options.lease, options.lease_seconds)
    except TidemillError as error:
        _log.error("%s%s", error, f"; {error.hint}" if error.hint else "")
        return 1
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda _number, _frame: stop.set())
    return run_while_leading(
        lease, lambda: subprocess.Popen(command, stdin=subprocess.PIPE), stop, drain=options.drain
    )


def _lease(name: str, seconds: float) -> LeaderLease:
    place = find_place(Settings())
    if place is None:
        raise ConfigError(
            "there is no Kubernetes API here: no token of a service account is mounted",
            hint="run python -m tidemill.retraining.controller, or set TIDEMILL_KUBERNETES_URL",
        )
    identity = f"{platform.node()}_{secrets.token_hex(4)}"
    return LeaderLease(
        ClusterApi(place), name, identity, seconds=seconds, labels={"app.kubernetes.io/part-of": "tidemill"}
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
