"""Find free ports of this machine, and check requested ones."""

import random
import socket

from tidemill.errors import PortTaken, ServingError

__all__ = ["free_block", "free_port", "require_port"]

_LOWEST, _HIGHEST = 20_000, 32_000  # below the ports that Linux gives to outgoing connections


def is_free(port: int, host: str) -> bool:
    """Return whether a server could listen there now."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as servers do: TIME_WAIT is no obstacle
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True


def free_block(size: int, host: str = "127.0.0.1") -> int:
    """Return the first of ``size`` free ports in a row.

    They are looked for at a random place, so that two processes at the same time find different ones.

    Raises:
        ServingError: so many free ports in a row were not found.

    >>> 20_000 <= free_block(3) <= 32_000
    True
    """
    for _ in range(200):
        first = random.randrange(_LOWEST, _HIGHEST - size)  # noqa: S311 — nothing is secret about a port
        if all(is_free(port, host) for port in range(first, first + size)):
            return first
    raise ServingError(
        f"there are no {size} free ports in a row between {_LOWEST} and {_HIGHEST} on {host}",
        hint="stop some servers; `ss -ltn` shows who listens",
    )


def free_port(host: str = "127.0.0.1", preferred: int | None = None) -> int:
    """Return a free port, the preferred one if it is."""
    if preferred is not None and is_free(preferred, host):
        return preferred
    return free_block(1, host)


def require_port(port: int, host: str, option: str, setting: str) -> int:
    """Return ``port`` if it is free, or a free one if it is 0; ``option`` or ``setting`` asked for it.

    Raises:
        PortTaken: another process listens there.
    """
    if port == 0:
        return free_port(host)
    if not is_free(port, host):
        raise PortTaken(
            f"port {port} on {host} is taken by another program",
            hint=f"take another by {option} or {setting}, or 0 for a free one; `ss -ltnp` shows who has it",
        )
    return port
