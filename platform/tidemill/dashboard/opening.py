"""Decides whether people must log in, from where the dashboard listens and one setting."""

from tidemill.accounts.users import has_admin
from tidemill.errors import ConfigError
from tidemill.project import Project
from tidemill.serving.runtime.bind_policy import is_loopback
from tidemill.settings import Settings
from tidemill.state import State, open_state

__all__ = ["is_open", "require_safe_dashboard", "require_safe_opening"]


def is_open(settings: Settings, host: str) -> bool:
    """Return whether everybody who can reach the dashboard may do everything.

    The setting is of the environment, not of a project's ``params.yaml``: one dashboard shows all projects
    of its records, and who may commit to one of them must not open the others.

    >>> is_open(Settings(), "127.0.0.1"), is_open(Settings(), "0.0.0.0")
    (True, False)
    >>> is_open(Settings(dashboard_login="always"), "127.0.0.1")
    False
    """
    return is_loopback(host) and settings.dashboard_login == "auto"


def require_safe_dashboard(project: Project) -> None:
    """Refuse to start a project's stack if its dashboard would not start.

    Raises:
        ConfigError: as of `require_safe_opening`.
    """
    if not is_open(project.settings, project.settings.dashboard_host):
        require_safe_opening(open_state(project.state_url), project.settings, project.settings.dashboard_host)


def require_safe_opening(state: State, settings: Settings, host: str) -> None:
    """Refuse to start a dashboard that nobody could log in to, or whose passwords could be read on the wire.

    Raises:
        ConfigError: there is no admin, or it would listen beyond this machine over plain HTTP that was not
            accepted.
    """
    local = is_loopback(host)
    if not has_admin(state):
        why = (
            "TIDEMILL_DASHBOARD_LOGIN is always"
            if local
            else f"the dashboard would listen on {host}, beyond this machine"
        )
        raise ConfigError(
            f"{why}, but there is no admin who could log in",
            hint="add one: tidemill users add NAME --role admin --everywhere",
        )
    if not local and settings.plain_http != "accepted":
        raise ConfigError(
            f"the dashboard would listen on {host} without TLS: passwords could be read in transit",
            hint="keep it on 127.0.0.1 behind a proxy that ends TLS, with TIDEMILL_DASHBOARD_LOGIN=always "
            "(docs/accounts.md); or, if TLS ends in front of this machine already, set "
            "TIDEMILL_PLAIN_HTTP=accepted",
        )
