"""Where things are: addresses and ports, read once from the environment and passed down.

What a project *does* is declared in its ``params.yaml``; what changes between a laptop and a cluster is here.
"""

from functools import cached_property
from typing import Literal

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

__all__ = ["Settings"]


class Settings(BaseSettings):
    """Addresses of the engines. Every field is read from ``TIDEMILL_<NAME>``; empty means embedded.

    >>> Settings(serve_port=8000).serve_port
    8000
    """

    model_config = SettingsConfigDict(env_prefix="TIDEMILL_", frozen=True, extra="forbid")

    state_url: str | None = Field(default=None, repr=False)
    """SQLAlchemy address of the platform's own records; default: SQLite in the project's ``.tidemill``."""

    tracking_uri: str | None = Field(default=None, repr=False)
    """MLflow tracking and registry address; default: SQLite in the project's ``.tidemill``."""

    ray_address: str | None = None
    """Address of a running Ray cluster; default: the local stack's if one is up, else a Ray of our own."""

    host: str = "127.0.0.1"
    """The interface that the prediction API listens on. Anything but loopback needs API keys (`tidemill keys
    create`) and ``plain_http``."""

    plain_http: Literal["refused", "accepted"] = "refused"
    """Whether the API may listen beyond loopback without TLS, which it has not: keys would be readable on the
    wire. Accept it where TLS ends in front of it, such as at an ingress."""

    api_key: SecretStr | None = Field(default=None, repr=False)
    """What clients of ours (the command line, `tidemill.serving.http.client`) send to the prediction API."""

    serve_port: int = Field(default=0, ge=0, le=65535)
    """Port of the prediction API; 0 takes a free one."""

    mlflow_port: int = Field(default=0, ge=0, le=65535)
    """Port of the MLflow server that ``tidemill up`` starts; 0 takes a free one."""

    mlflow_host: str = "127.0.0.1"
    """The interface that MLflow's server listens on, whatever ``host`` is: it asks nobody who he is."""

    num_cpus: int = Field(default=0, ge=0)
    """CPUs that a Ray of our own may use; 0 takes all."""

    broker_url: SecretStr | None = Field(default=None, repr=False)
    """Where messages about jobs go: ``redis://…`` or ``rediss://…``; default: SQLite in ``.tidemill``."""

    privacy_key: SecretStr | None = Field(default=None, repr=False)
    """Key of the pseudonyms of personal data, 16 bytes or more; default: ``privacy.key`` in ``.tidemill``."""

    openlineage_url: str | None = Field(default=None, repr=False)
    """Where OpenLineage events of turns go: ``http(s)://…``, ``file:PATH`` or ``console:``; default: what
    OpenLineage's own variables say, else nowhere."""

    openlineage_api_key: SecretStr | None = Field(default=None, repr=False)
    """Sent with each event to an HTTP address; default: ``OPENLINEAGE_API_KEY``."""

    openlineage_timeout: float = Field(default=3.0, gt=0)
    """Seconds that a turn waits for the collector of its events, at most."""

    otlp_endpoint: str | None = None
    """OpenTelemetry collector that traces of requests go to by OTLP over HTTP, such as
    ``http://127.0.0.1:4318``; default: what OpenTelemetry's own variables say, else no traces."""

    trace_share: float = Field(default=0.01, ge=0, le=1)
    """Share of the requests without a trace of their caller's that are traced; ``OTEL_TRACES_SAMPLER`` has
    precedence."""

    actor: str | None = None
    """Who acts, for the records; default: the name of the logged-in user."""

    @cached_property
    def who(self) -> str:
        """The name that goes on record for what is done by hand."""
        if self.actor:
            return self.actor
        import getpass

        try:
            return getpass.getuser()
        except (OSError, KeyError):  # a container's user need not have a name
            return "unknown"
