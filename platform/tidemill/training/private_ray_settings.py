"""Settings of Ray that it reads when it is imported, and how to have it read them again."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from ray._private import ray_constants, services
from ray._private.node import Node
from ray._raylet import Config  # type: ignore[attr-defined]

from tidemill.training import ray_agent

__all__ = ["LOOPBACK", "NAMES", "SINGLE_NODE", "needed_processes_only", "read_environment"]

LOOPBACK = "127.0.0.1"
SINGLE_NODE = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}
"""Has Ray listen on loopback alone: on Linux, too, it means that the node's address is 127.0.0.1."""

_UNNEEDED = {
    "start_log_monitor": "what passes workers' output to the driver",
    "start_monitor": "the autoscaler of a cluster",
    "start_api_server": "the dashboard's server, without `include_dashboard` too",
}
"""A process each that a Ray of one machine has no use for; together a third of the time to start it."""

NAMES = (
    (
        "ray._private.ray_constants.ENABLE_RAY_CLUSTER",
        "is read from the environment when Ray is imported, which may be before a Ray is started",
    ),
    ("ray._raylet.Config.initialize", "reads Ray's settings from the environment again, for the same reason"),
    ("ray._private.ray_constants.env_bool", "reads the switch as Ray does"),
    *(
        (f"ray._private.node.Node.{name}", f"starts {what}, and no setting of `ray.init` leaves it out")
        for name, what in _UNNEEDED.items()
    ),
    (
        "ray._private.services._build_python_executable_command_memory_profileable",
        "begins the command of the dashboard's agent, without which Ray does not start",
    ),
    ("ray._private.ray_constants.PROCESS_TYPE_DASHBOARD_AGENT", "tells that command from the others"),
)
"""Dotted path, and why it is needed. Beside them `ray.init` is given `_node_ip_address`."""


def read_environment() -> None:
    """Make Ray read its environment variables again, which it read when it was imported."""
    (switch,) = SINGLE_NODE
    ray_constants.ENABLE_RAY_CLUSTER = ray_constants.env_bool(switch, True)
    Config.initialize("")


@contextmanager
def needed_processes_only() -> Iterator[None]:
    """Leave out, where the block starts a Ray, the processes that one machine of our own has no use for."""
    own = {name: getattr(Node, name) for name in _UNNEEDED}
    begin = services._build_python_executable_command_memory_profileable

    def begin_command(component: str, *given: object, **choices: object) -> list[str]:
        if component == ray_constants.PROCESS_TYPE_DASHBOARD_AGENT:
            return [sys.executable, "-S", "-E", ray_agent.__file__]
        return list(begin(component, *given, **choices))

    try:
        for name in _UNNEEDED:
            setattr(Node, name, _start_nothing)
        services._build_python_executable_command_memory_profileable = begin_command
        yield
    finally:
        services._build_python_executable_command_memory_profileable = begin
        for name, method in own.items():
            setattr(Node, name, method)


def _start_nothing(node: Node, **choices: object) -> None:
    """Stand in for what starts a process."""
