"""Connect to an existing Ray, or start one for as long as it is needed."""

import logging
import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import ray

from tidemill.errors import TrainingError
from tidemill.project import Project

__all__ = ["check_address", "ray_session"]

_ADDRESS = re.compile(r"^(ray://)?(?P<host>[^/:]+|\[[^]]+\]):(?P<port>\d+)$")
_PATIENCE = 5.0


@contextmanager
def ray_session(project: Project) -> Iterator[None]:
    """Yield a Ray: the one this process is connected to, the one at ``ray_address``, or a new one.

    A new one ends with the block, and leaves no process behind.
    """
    if ray.is_initialized():
        yield
        return
    settings = project.settings
    own = settings.ray_address is None
    if settings.ray_address is not None:
        check_address(settings.ray_address)
    try:
        ray.init(
            address=settings.ray_address or "local",
            num_cpus=(settings.num_cpus or None) if own else None,
            include_dashboard=False if own else None,
            log_to_driver=False,
            logging_level=logging.ERROR,
        )
    except (ConnectionError, RuntimeError, ValueError, OSError) as error:
        where = "on this machine" if own else f"at {settings.ray_address}"
        raise TrainingError(
            f"no Ray {where}: {error}", hint="check TIDEMILL_RAY_ADDRESS, or leave it empty"
        ) from error
    try:
        yield
    finally:
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
