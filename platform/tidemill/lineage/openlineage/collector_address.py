"""Reads where OpenLineage events are sent, without importing its client."""

import os
from urllib.parse import urlsplit, urlunsplit

from tidemill.settings import Settings

__all__ = ["configured"]

_VARIABLES = ("OPENLINEAGE_URL", "OPENLINEAGE_CONFIG")
_TRANSPORT = "OPENLINEAGE__TRANSPORT__"


def configured(settings: Settings) -> str | None:
    """Return the address that events are sent to, without secrets; None if none is configured.

    Tidemill's own setting comes first, then OpenLineage's environment variables. A configuration file in the
    current or home folder, which the client would read by itself, is ignored: it is not for this project.

    >>> configured(Settings(openlineage_url="https://me:secret@lineage.example/api/v1/lineage"))
    'https://lineage.example/api/v1/lineage'
    """
    if os.environ.get("OPENLINEAGE_DISABLED", "").strip().lower() == "true":
        return None
    if settings.openlineage_url:
        return _public(settings.openlineage_url)
    for name in _VARIABLES:
        if os.environ.get(name):
            return _public(os.environ[name])
    return next((f"what {name} says" for name in sorted(os.environ) if name.startswith(_TRANSPORT)), None)


def _public(address: str) -> str:
    parts = urlsplit(address)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2], query=""))
