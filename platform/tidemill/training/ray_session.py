"""Connect to an existing Ray, or start one for as long as it is needed."""

import logging
import os
import re
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import ray

from tidemill.errors import TrainingError
from tidemill.orphan_reaper import MARK, OrphanReaper
from tidemill.project import Project
from tidemill.settings import Settings
from tidemill.training.private_ray_settings import (
    LOOPBACK,
    SINGLE_NODE,
    needed_processes_only,
    read_environment,
)

__all__ = ["check_address", "hold_ctrl_c", "keep_sigterm", "ray_capacity", "ray_session"]

_ADDRESS = re.compile(r"^(ray://)?(?P<host>[^/:]+|\[[^]]+\]):(?P<port>\d+)$")
_PATIENCE = 5.0
_WORKERS = {
    "RAY_prestart_worker_first_driver": "0",
    "RAY_idle_worker_killing_time_threshold_ms": "20000",
}
"""Has Ray start no workers ahead, one a CPU: trials never run in those; and keep one that reads the rows of a
fit from one pass to the next: to start another takes two seconds of CPU."""

_ENDED = (
    "error: this process ended amid its work: by a signal, or along with its Ray, whose lines say why then\n"
    "hint: what is finished is on record; `tidemill run --resume` goes on with a search"
)
"""Ray ends a process that was connected to it without an exception."""


@contextmanager
def ray_session(project: Project) -> Iterator[None]:
    """Yield a Ray: the one this process is connected to, the one at ``ray_address``, or a new one.

    A new one listens on loopback alone. It ends with the block, or with this process, even if that is
    killed, and leaves no process behind.

    Raises:
        TrainingError: there is no Ray at ``ray_address``, or none can be started here.
    """
    if ray.is_initialized():
        yield
    elif project.settings.ray_address is not None:
        check_address(project.settings.ray_address)
        with _connected(f"at {project.settings.ray_address}", address=project.settings.ray_address):
            yield
    else:
        with _own_ray(project):
            yield


def ray_capacity(settings: Settings) -> dict[str, float]:
    """Return what the Ray of this process has, or has once its autoscaler has started every node."""
    found = {name: float(amount) for name, amount in ray.cluster_resources().items()}
    for each in settings.ray_grows_to.split(",") if settings.ray_grows_to else ():
        name, _, most = each.partition("=")
        if float(most):
            found[name] = max(found.get(name, 0.0), float(most))
    return found


@contextmanager
def keep_sigterm() -> Iterator[None]:
    """Restore this process's handler of SIGTERM after the block, in which Ray starts or ends.

    Ray's own handlers drain nodes that are ours to end, print the stack of the C++ code, and abort. When it
    ends, it leaves none: a SIGTERM would end the process at once.
    """
    if threading.current_thread() is not threading.main_thread():  # which alone may set handlers
        yield
        return
    handler = signal.getsignal(signal.SIGTERM)
    try:
        yield
    except SystemExit:  # raised by Ray's handler
        signal.signal(signal.SIGTERM, handler)
        signal.raise_signal(signal.SIGTERM)
        raise
    finally:
        signal.signal(signal.SIGTERM, handler)


@contextmanager
def hold_ctrl_c() -> Iterator[None]:
    """Let a Ctrl-C of the block count after it: Ray's C++ code may crash if it is interrupted as it starts.

    A second one counts at once.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    pressed: list[int] = []

    def hold(number: int, _frame: object) -> None:
        if pressed:
            signal.signal(signal.SIGINT, before)
            signal.raise_signal(signal.SIGINT)
        pressed.append(number)

    before = signal.getsignal(signal.SIGINT)
    signal.signal(signal.SIGINT, hold)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
        if pressed:
            signal.raise_signal(signal.SIGINT)


@contextmanager
def _own_ray(project: Project) -> Iterator[None]:
    guard = OrphanReaper.start(last_words=_ENDED)
    variables = SINGLE_NODE | _WORKERS | {MARK: guard.mark}
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)  # for Ray's processes, not for what else starts meanwhile
    try:
        read_environment()
        ours = {"num_cpus": project.settings.num_cpus or None, "include_dashboard": False}
        with _connected("on this machine", address="local", _node_ip_address=LOOPBACK, **ours):
            _restore(before)
            yield
    finally:
        _restore(before)
        read_environment()
        guard.stop()


def _restore(before: dict[str, str | None]) -> None:
    for name, value in before.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value


@contextmanager
def _connected(where: str, **choices: Any) -> Iterator[None]:
    try:
        with keep_sigterm(), hold_ctrl_c(), needed_processes_only():
            ray.init(**choices, log_to_driver=False, logging_level=logging.ERROR)
    except (ConnectionError, RuntimeError, ValueError, OSError) as error:
        raise TrainingError(
            f"no Ray {where}: {error}", hint="check TIDEMILL_RAY_ADDRESS, or leave it empty"
        ) from error
    try:
        yield
    finally:
        with keep_sigterm():
            ray.shutdown()


def check_address(address: str) -> None:
    """Raise if nothing answers at ``host:port``; Ray itself would try for ten minutes.

    Raises:
        TrainingError: nothing does.

    >>> check_address("auto")
    """
    found = _ADDRESS.match(address)
    if found is None:
        return
    try:
        socket.create_connection((found["host"].strip("[]"), int(found["port"])), timeout=_PATIENCE).close()
    except (OSError, OverflowError) as error:
        raise TrainingError(
            f"no Ray at {address}: {error}",
            hint="check TIDEMILL_RAY_ADDRESS; without it training starts a Ray of its own",
        ) from error
