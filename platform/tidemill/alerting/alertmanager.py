"""Speaks to Prometheus' Alertmanager: pushes alerts to ``/api/v2/alerts``.

Alertmanager groups, silences and routes them by rules of its own. It takes an alert to be over when it has
not heard of it for a while, unless it is told when it would end: a week after each push.
"""

import json
import socket
import urllib.error
import urllib.request
from base64 import b64encode
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import unquote, urlsplit, urlunsplit

from tidemill.alerting.alert_text import AlertText
from tidemill.errors import NotDelivered

__all__ = ["as_alertmanager", "push"]

_SECONDS = 10.0
_KEPT = timedelta(days=7)


def as_alertmanager(alert: AlertText) -> dict[str, Any]:
    """Return an alert in the form of ``postableAlert`` of Alertmanager's API, version 2."""
    labels = ("model", "version", "monitor", "kind", "severity")
    ends = alert.resolved_at if alert.status == "resolved" else alert.at + _KEPT
    return {
        "labels": {
            **alert.labels,
            "alertname": f"tidemill_{alert.kind}",
            **{name: getattr(alert, name) for name in labels},
        },
        "annotations": {"summary": alert.message, "tidemill_alert": alert.id},
        "startsAt": _rfc3339(alert.fired_at),
        "endsAt": _rfc3339(max(ends or alert.fired_at, alert.fired_at)),  # a clock may have gone back
    }


def _rfc3339(moment: datetime) -> str:
    return moment.isoformat().replace("+00:00", "Z")


def _without_access(address: str) -> tuple[str, dict[str, str]]:
    """Return an address without its user and password, and the header that they make.

    >>> _without_access("http://127.0.0.1:9093")
    ('http://127.0.0.1:9093', {})
    >>> _without_access("https://ann:a%40b@alerts.example/am")
    ('https://alerts.example/am', {'Authorization': 'Basic YW5uOmFAYg=='})
    """
    parts = urlsplit(address)
    who, at, host = parts.netloc.rpartition("@")
    if not at:
        return address, {}
    said = b64encode(unquote(who).encode()).decode()
    return urlunsplit(parts._replace(netloc=host)), {"Authorization": f"Basic {said}"}


def push(address: str, name: str, alerts: Sequence[AlertText]) -> None:
    """Post alerts to an Alertmanager.

    Raises:
        NotDelivered: it is not there, or refuses them.
    """
    if not address.startswith(("http://", "https://")):
        raise NotDelivered(f"receiver {name!r}: its address does not begin with http:// or https://")
    url, access = _without_access(address)
    request = urllib.request.Request(  # noqa: S310 - the scheme is checked
        url.rstrip("/") + "/api/v2/alerts",
        data=json.dumps([as_alertmanager(each) for each in alerts]).encode(),
        headers={"Content-Type": "application/json", **access},
        method="POST",
    )
    try:
        with urllib.request.urlopen(request, timeout=_SECONDS) as answer:  # noqa: S310
            answer.read()
    except urllib.error.HTTPError as error:
        raise NotDelivered(f"receiver {name!r} answered {error.code} {error.reason}") from error
    except (OSError, ValueError) as error:
        raise NotDelivered(f"receiver {name!r} cannot be reached: {_why(error)}") from error


def _why(error: OSError | ValueError) -> str:
    """Return what is wrong, without the address.

    >>> _why(urllib.error.URLError(ConnectionRefusedError(111, "Connection refused"))), _why(TimeoutError())
    ('Connection refused', 'TimeoutError')
    """
    cause = error.reason if isinstance(error, urllib.error.URLError) else error
    if isinstance(cause, ConnectionError | socket.gaierror) and cause.strerror:
        return str(cause.strerror)
    return type(cause).__name__  # what TLS says may name the host
