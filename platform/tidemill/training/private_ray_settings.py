"""Settings of Ray that it reads when it is imported, and how to have it read them again."""

from ray._private import ray_constants
from ray._raylet import Config  # type: ignore[attr-defined]

__all__ = ["LOOPBACK", "NAMES", "SINGLE_NODE", "read_environment"]

LOOPBACK = "127.0.0.1"
SINGLE_NODE = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}
"""Has Ray listen on loopback alone: on Linux, too, it means that the node's address is 127.0.0.1."""

NAMES = (
    (
        "ray._private.ray_constants.ENABLE_RAY_CLUSTER",
        "is read from the environment when Ray is imported, which may be before a Ray is started",
    ),
    ("ray._raylet.Config.initialize", "reads Ray's settings from the environment again, for the same reason"),
    ("ray._private.ray_constants.env_bool", "reads the switch as Ray does"),
)
"""Dotted path, and why it is needed. Beside them `ray.init` is given `_node_ip_address`."""


def read_environment() -> None:
    """Make Ray read its environment variables again, which it read when it was imported."""
    (switch,) = SINGLE_NODE
    ray_constants.ENABLE_RAY_CLUSTER = ray_constants.env_bool(switch, True)
    Config.initialize("")
