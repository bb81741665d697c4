"""Where things are: addresses and ports, read once from the environment and passed down.

What a project *does* is declared in its ``params.yaml``; what changes between a laptop and a cluster is here.
"""

# ruff: noqa: RUF009 -- `_setting` returns a dataclass field

import ipaddress
import os
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from functools import cached_property
from typing import Any, Literal

from tidemill.errors import ConfigError

__all__ = ["Secret", "Settings"]

_PREFIX = "TIDEMILL_"
_NOT_OF_PEOPLE = ("policy:", "rollout:", "registry:", "monitor:", "token:", "oidc:")


@dataclass(frozen=True)
class Secret:
    """A text that is not shown by accident.

    >>> Secret("tmk_1_2")
    Secret('**********')
    """

    _value: str

    def get_secret_value(self) -> str:
        """Return the text itself."""
        return self._value

    def __repr__(self) -> str:
        return "Secret('**********')"

    __str__ = __repr__


def _truth(text: str) -> bool:
    if text not in ("true", "false"):
        raise ValueError("it must be true or false")
    return text == "true"


def _setting(name: str, default: Any = None, read: Callable[[str], Any] = str, *, shown: bool = True) -> Any:
    """Return a field that is read from the environment, unless it is given."""

    def from_environment() -> Any:
        text = os.environ.get(_PREFIX + name)
        try:
            return read(text) if text else default
        except ValueError as error:
            raise ConfigError(
                f"the environment variable {_PREFIX}{name} is {text!r}: {error}", hint="correct or unset it"
            ) from error

    return field(default_factory=from_environment, repr=shown, metadata={"default": default})


def _port(text: str) -> int:
    return int(_within(int(text), 0, 65535))


def _count(text: str) -> int:
    return int(_within(int(text), 0, 1_000_000))


def _share(text: str) -> float:
    return _within(float(text), 0.0, 1.0)


def _seconds(text: str) -> float:
    return _within(float(text), 1e-3, 3600.0)


def _within(value: float, least: float, most: float) -> float:
    if not least <= value <= most:
        raise ValueError(f"it must be between {least} and {most}")
    return value


def _refused_or_accepted(text: str) -> str:
    if text not in ("refused", "accepted"):
        raise ValueError("it must be refused or accepted")
    return text


def _addresses(text: str) -> str:
    for one in text.split(","):
        ipaddress.ip_network(one.strip(), strict=False)
    return ",".join(one.strip() for one in text.split(","))


def _amounts(text: str) -> str:
    for one in text.split(","):
        _within(float(one.partition("=")[2]), 0.0, 1e9)
    return text


def _auto_or_always(text: str) -> str:
    if text not in ("auto", "always"):
        raise ValueError("it must be auto or always")
    return text


@dataclass(frozen=True)
class Settings:
    """Addresses of the engines. Every field is read from ``TIDEMILL_<NAME>``; empty means embedded.

    Raises:
        ConfigError: a variable of the environment is not what its field takes.

    >>> Settings(serve_port=8000).serve_port
    8000
    """

    state_url: str | None = _setting("STATE_URL", shown=False)
    """SQLAlchemy address of the platform's own records; default: SQLite in the project's ``.tidemill``."""

    tracking_uri: str | None = _setting("TRACKING_URI", shown=False)
    """MLflow tracking and registry address; default: SQLite in the project's ``.tidemill``."""

    tracking_database: str | None = _setting("TRACKING_DATABASE", shown=False)
    """Address of the database behind MLflow's server, where ``tracking_uri`` is the server's: backups and
    migrations need it."""

    ray_address: str | None = _setting("RAY_ADDRESS")
    """Address of a running Ray cluster; default: the local stack's if one is up, else a Ray of our own."""

    host: str = _setting("HOST", "127.0.0.1")
    """The interface that the prediction API listens on. Anything but loopback needs API keys (`tidemill keys
    create`) and ``plain_http``."""

    plain_http: Literal["refused", "accepted"] = _setting("PLAIN_HTTP", "refused", _refused_or_accepted)
    """Whether the API may listen beyond loopback without TLS, which it has not: keys would be readable on the
    wire. Accept it where TLS ends in front of it, such as at an ingress."""

    api_key: Secret | None = _setting("API_KEY", None, Secret, shown=False)
    """What clients of ours (the command line, `tidemill.serving.http.client`) send to the prediction API."""

    serve_port: int = _setting("SERVE_PORT", 0, _port)
    """Port of the prediction API; 0 takes a free one."""

    mlflow_port: int = _setting("MLFLOW_PORT", 0, _port)
    """Port of the MLflow server that ``tidemill up`` starts; 0 takes a free one."""

    mlflow_host: str = _setting("MLFLOW_HOST", "127.0.0.1")
    """The interface that MLflow's server listens on, whatever ``host`` is: it has no authentication."""

    dashboard_port: int = _setting("DASHBOARD_PORT", 0, _port)
    """Port of the dashboard that ``tidemill up`` starts; 0 takes 4300 if it is free, else a free one."""

    dashboard_host: str = _setting("DASHBOARD_HOST", "127.0.0.1")
    """The interface that the dashboard listens on, whatever ``host`` is."""

    dashboard_login: Literal["auto", "always"] = _setting("DASHBOARD_LOGIN", "auto", _auto_or_always)
    """Whether people must log in where the dashboard listens on loopback, too; beyond it they always must."""

    trusted_proxies: str = _setting("TRUSTED_PROXIES", "127.0.0.1,::1", _addresses)
    """Addresses and networks of proxies in front of the dashboard, with commas between them: what they say of
    who asks (``X-Forwarded-For``) and that TLS was used (``X-Forwarded-Proto``) is believed."""

    num_cpus: int = _setting("NUM_CPUS", 0, _count)
    """CPUs that a Ray of our own may use; 0 takes all."""

    broker_url: Secret | None = _setting("BROKER_URL", None, Secret, shown=False)
    """Where messages about jobs go: ``redis://…`` or ``rediss://…``; default: SQLite in ``.tidemill``."""

    privacy_key: Secret | None = _setting("PRIVACY_KEY", None, Secret, shown=False)
    """Key of the pseudonyms of personal data, 16 bytes or more; default: ``privacy.key`` in ``.tidemill``."""

    backup_passphrase: Secret | None = _setting("BACKUP_PASSPHRASE", None, Secret, shown=False)
    """What backups are encrypted with, and encrypted ones are read with; nothing else reads it."""

    openlineage_url: str | None = _setting("OPENLINEAGE_URL", shown=False)
    """Where OpenLineage events of turns go: ``http(s)://…``, ``file:PATH`` or ``console:``; default: what
    OpenLineage's own variables say, else nowhere."""

    openlineage_api_key: Secret | None = _setting("OPENLINEAGE_API_KEY", None, Secret, shown=False)
    """Sent with each event to an HTTP address; default: ``OPENLINEAGE_API_KEY``."""

    openlineage_timeout: float = _setting("OPENLINEAGE_TIMEOUT", 3.0, _seconds)
    """Seconds that a turn waits for the collector of its events, at most."""

    otlp_endpoint: str | None = _setting("OTLP_ENDPOINT")
    """OpenTelemetry collector that traces of requests go to by OTLP over HTTP, such as
    ``http://127.0.0.1:4318``; default: what OpenTelemetry's own variables say, else no traces."""

    trace_share: float = _setting("TRACE_SHARE", 0.01, _share)
    """Share of the requests without a trace of their caller's that are traced; ``OTEL_TRACES_SAMPLER`` has
    precedence."""

    oidc: str | None = _setting("OIDC")
    """File of the providers of identities that people log in to the dashboard by (docs/single-sign-on.md)."""

    kubernetes_url: str | None = _setting("KUBERNETES_URL")
    """Address of Kubernetes' API, such as that of ``kubectl proxy``; default: that of the cluster whose pod
    this is, if its service account's token is mounted."""

    kubernetes_namespace: str | None = _setting("KUBERNETES_NAMESPACE")
    """Namespace of the release; default: that of the pod, else ``default``."""

    kubernetes_release: str | None = _setting("KUBERNETES_RELEASE")
    """How the release's objects begin; set by the chart, so that the cluster is shown."""

    ray_job: str | None = _setting("RAY_JOB")
    """File with the chart's template of RayJobs (``kubernetes`` in ``params.yaml``)."""

    hand_over_turns: bool = _setting("HAND_OVER_TURNS", False, _truth)
    """Whether turns that people ask for here are left to the controller, which makes RayJobs of them where
    ``kubernetes.turns`` in ``params.yaml`` says so; set by the chart."""

    monitors_elsewhere: bool = _setting("MONITORS_ELSEWHERE", False, _truth)
    """Whether a job of the cluster evaluates the monitors that are due, and not the controller; set by the
    chart."""

    ray_grows_to: str | None = _setting("RAY_GROWS_TO", None, _amounts)
    """What Ray has once its autoscaler has started every node, such as ``CPU=16,GPU=4``; set by the chart."""

    actor: str | None = _setting("ACTOR")
    """Who acts, for the records; default: the name of the logged-in user."""

    def __post_init__(self) -> None:
        for name in ("api_key", "broker_url", "privacy_key", "backup_passphrase", "openlineage_api_key"):
            value = getattr(self, name)
            if isinstance(value, str):
                object.__setattr__(self, name, Secret(value))

    def variables(self) -> dict[str, str]:
        """Return the environment variables that give these settings, without those of defaults.

        >>> Settings(serve_port=8000, broker_url=Secret("redis://localhost")).variables()
        {'TIDEMILL_BROKER_URL': 'redis://localhost', 'TIDEMILL_SERVE_PORT': '8000'}
        """
        chosen = {
            each.name: getattr(self, each.name)
            for each in sorted(fields(self), key=lambda each: each.name)
            if getattr(self, each.name) != each.metadata["default"]
        }
        return {_PREFIX + name.upper(): _written(value) for name, value in chosen.items()}

    @cached_property
    def who(self) -> str:
        """The name that is recorded for what is done by hand.

        Raises:
            ConfigError: it is one by which a part of Tidemill acts, or a token; or it is not in UTF-8.
        """
        name = self.actor or _login_name()
        try:
            name.encode()
        except UnicodeEncodeError as error:
            shown = name.encode(errors="backslashreplace").decode()
            raise ConfigError(
                f"{shown!r}, the name of who acts, is not in UTF-8", hint="set TIDEMILL_ACTOR to your name"
            ) from error
        if name == "registry" or name.startswith(_NOT_OF_PEOPLE):
            raise ConfigError(
                f"{name!r} is how the records name a part of Tidemill or a token, not a person",
                hint="set TIDEMILL_ACTOR to your own name",
            )
        return name


def _written(value: Any) -> str:
    if isinstance(value, Secret):
        return value.get_secret_value()
    return str(value).lower() if isinstance(value, bool) else str(value)


def _login_name() -> str:
    import getpass

    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a container's user need not have a name
        return "unknown"
