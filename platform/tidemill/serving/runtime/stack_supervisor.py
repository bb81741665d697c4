"""The process that owns a stack in the background: ``python -m`` with the name of this module."""

import argparse
import dataclasses
import json
import logging
import os
import signal
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import FrameType

import psutil

from tidemill.errors import ServingError, TidemillError
from tidemill.files.locks import locked
from tidemill.garbage import collect_rarely
from tidemill.project import Project, load_project
from tidemill.serving.runtime.local_stack import LocalStack
from tidemill.serving.runtime.stack_record import StackInfo, forget, write

__all__ = ["supervise"]

_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
_log = logging.getLogger(__name__)


def supervise(
    project: Project, companions: Mapping[str, Sequence[str]], on_progress: Callable[[str], None]
) -> None:
    """Run a stack until a signal ends this process (SIGTERM, SIGINT, SIGHUP), then stop it.

    Raises:
        PortTaken: a port that was asked for is in use.
        ServingError: another process runs a stack for this project, the stack did not come up, or Ray ended.
    """

    def busy(holder: str) -> ServingError:
        return ServingError(
            f"a stack is running for {project.root} already: {holder}", hint="`tidemill status` shows it"
        )

    with locked(project.home / "stack.lock", busy=busy):
        try:
            _run(project, companions, on_progress)
        finally:
            forget(project)


def _run(
    project: Project, companions: Mapping[str, Sequence[str]], on_progress: Callable[[str], None]
) -> None:
    began = time.monotonic()
    info = StackInfo("starting", "", os.getpid(), psutil.Process().create_time(), logs=str(project.logs))

    def tell(message: str) -> None:
        write(project, dataclasses.replace(info, message=message, mark=stack.mark))
        on_progress(message)

    stack = LocalStack(project, tell, companions=companions)
    try:
        _on_signals(_end)
        tell("starting")
        stack.start()
        write(
            project,
            dataclasses.replace(
                info,
                state="ready",
                message="ready",
                mark=stack.mark,
                url=stack.url,
                mlflow_url=stack.mlflow_url,
                dashboard_url=stack.dashboard_url,
                ray_address=stack.ray_address,
                seconds=round(time.monotonic() - began, 1),
                companions=tuple(companions),
            ),
        )
        on_progress(f"ready: {stack.url}")
        while True:
            time.sleep(0.5)
            stack.restart_if_ended()
    finally:
        _on_signals(signal.SIG_IGN)  # the shutdown must not be interrupted
        stack.stop()


def _on_signals(handler: Callable[[int, FrameType | None], None] | signal.Handlers) -> None:
    for number in _SIGNALS:
        signal.signal(number, handler)


def _end(number: int, _: FrameType | None) -> None:
    raise SystemExit(0)


def main(arguments: Sequence[str]) -> int:
    """Run the command line; return the exit code."""
    collect_rarely()
    parser = argparse.ArgumentParser(prog="python -m tidemill.serving.runtime.stack_supervisor")
    parser.add_argument("--project", type=Path, required=True)
    parser.add_argument("--companions", type=json.loads, default={}, help="JSON: name → command line")
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    os.chdir(options.project)
    try:
        supervise(load_project(options.project), options.companions, _log.info)
    except TidemillError as error:
        _log.error("%s%s", error, f"; {error.hint}" if error.hint else "")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
