"""Decide where a stack may listen, and list its sockets that other machines can reach."""

import ipaddress
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import psutil

from tidemill.accounts.api_keys import active_keys
from tidemill.accounts.key_format import ADMIN, PREDICT
from tidemill.clock import SystemClock
from tidemill.errors import ConfigError
from tidemill.orphan_reaper import marked_processes
from tidemill.project import Project
from tidemill.serving.runtime.stack_record import StackInfo
from tidemill.state import open_state

__all__ = ["Listener", "is_loopback", "keys_required", "listeners", "require_safe_start", "warnings"]

_PURPOSES = {
    "haproxy": "Ray Serve's statistics, by HAProxy",
    "gcs_server": "Ray's control store",
    "raylet": "Ray's scheduler",
}


@dataclass(frozen=True, order=True)
class Listener:
    """A socket that accepts connections."""

    port: int
    address: str
    process: str
    pid: int
    purpose: str
    public: bool
    """Whether other machines can reach it, as far as no firewall says no."""
    meant: bool
    """Whether a setting can make it public (``host``, ``mlflow_host``, ``dashboard_host``)."""


def is_loopback(host: str) -> bool:
    """Return whether only this machine can reach what listens on ``host``; a name counts as not.

    >>> [is_loopback(host) for host in ("127.0.0.1", "::1", "localhost", "0.0.0.0", "10.0.0.7", "myhost")]
    [True, True, True, False, False, False]
    """
    if host == "localhost":
        return True
    try:
        address = ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return bool((mapped or address).is_loopback)


def keys_required(project: Project) -> bool:
    """Return whether requests to the project's API need a key."""
    return project.config.serve.require_keys == "always" or not is_loopback(project.settings.host)


def require_safe_start(project: Project) -> None:
    """Refuse to open the API beyond this machine without keys, or over plain HTTP, which exposes keys.

    Raises:
        ConfigError: keys are required and there is none that may predict, or the host is public and plain
            HTTP was not accepted.
    """
    host = project.settings.host
    if not keys_required(project):
        return
    keys = active_keys(open_state(project.state_url), SystemClock().now(), project.model)
    if not any(key.scopes & {PREDICT, ADMIN} for key in keys):
        why = (
            "serve.require_keys is always" if is_loopback(host) else f"the API would listen on {host}, beyond"
        )
        raise ConfigError(
            f"{why}{'' if is_loopback(host) else ' this machine'}, but there is no API key that may predict",
            hint="make one: tidemill keys create --name first --scope predict",
        )
    if not is_loopback(host) and project.settings.plain_http != "accepted":
        raise ConfigError(
            f"the API would listen on {host} without TLS, which Ray Serve's HAProxy does not have: keys and "
            "data could be read in transit",
            hint="keep it on 127.0.0.1 behind a proxy that ends TLS (docs/security.md); or, if TLS ends in "
            "front of this machine already, set TIDEMILL_PLAIN_HTTP=accepted",
        )


def listeners(info: StackInfo) -> list[Listener]:
    """Return every listening socket of every process of a running stack, by port."""
    return sorted(_listeners(marked_processes(info.mark), _meaning(info)))


def warnings(found: Iterable[Listener]) -> list[str]:
    """Return a warning for each socket that other machines can reach though no setting says so."""
    return [
        f"port {one.port} on {one.address} ({one.purpose}, process {one.pid}) can be reached from other "
        "machines: close it in the firewall"
        for one in found
        if one.public and not one.meant
    ]


def _meaning(info: StackInfo) -> Callable[[str, int], tuple[str, bool]]:
    """Return what says of a name and a port: what it is for, and whether a setting can make it public."""
    api, mlflow, dashboard = _port(info.url), _port(info.mlflow_url or ""), _port(info.dashboard_url)

    def means(name: str, port: int) -> tuple[str, bool]:
        if port == api:
            return "the prediction API, by HAProxy", True
        if port == mlflow:
            return "MLflow's server, which asks for no password", True
        if port == dashboard:
            return "the dashboard", True
        return _PURPOSES.get(name, "Ray Serve, behind HAProxy" if name.startswith("ray") else name), False

    return means


def _listeners(
    processes: Iterable[psutil.Process], means: Callable[[str, int], tuple[str, bool]]
) -> Iterable[Listener]:
    for process in processes:
        try:
            name, sockets = process.name(), process.net_connections("inet")
        except psutil.Error:
            continue  # it has just ended
        for socket in sockets:
            if socket.status == psutil.CONN_LISTEN:
                address, port = socket.laddr.ip, socket.laddr.port
                purpose, meant = means(name, port)
                yield Listener(port, address, name, process.pid, purpose, not is_loopback(address), meant)


def _port(url: str) -> int:
    return int(url.rpartition(":")[2] or 0) if url else 0
