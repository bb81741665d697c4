"""Takes the webhook of Prometheus' Alertmanager (version 4): what it tells becomes alerts of this model.

See https://prometheus.io/docs/alerting/latest/configuration/#webhook_config.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

import orjson
from fastapi import APIRouter, Response
from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field

from tidemill.serving.protocols.predict_schema import Error
from tidemill.state.external_alerts import ALERTMANAGER, ExternalAlert

__all__ = ["Webhook", "alertmanager_router", "external_alerts"]

_OURS = "tidemill_alert"
"""The annotation of alerts that this platform has pushed to Alertmanager."""
_SEVERITIES = ("info", "warning", "critical")
_MOST = 1000

Record = Callable[[Sequence[ExternalAlert]], Mapping[str, int]]
_FIRST = datetime(1970, 1, 1, tzinfo=UTC)
Start = Annotated[AwareDatetime, AfterValidator(lambda given: max(given, _FIRST))]
"""When an alert began; Go's zero, the year 1, is no moment that records hold in each time zone."""
Texts = Annotated[dict[str, str], Field(max_length=100)]


class _Told(BaseModel):
    model_config = ConfigDict(extra="ignore")

    status: Literal["firing", "resolved"]
    labels: Texts
    annotations: Texts = Field(default_factory=dict)
    startsAt: Start
    endsAt: AwareDatetime | None = None
    generatorURL: str | None = Field(default=None, max_length=2000)
    fingerprint: str = Field(min_length=1, max_length=100)


class Webhook(BaseModel):
    """A notification of Alertmanager."""

    model_config = ConfigDict(extra="ignore")

    version: Literal["4"]
    alerts: Annotated[list[_Told], Field(max_length=_MOST)]


class TakenAlerts(BaseModel):
    """How many alerts were raised, seen again, reopened or resolved, and how many changed nothing."""

    raised: int
    seen: int
    reopened: int
    resolved: int
    unchanged: int


def alertmanager_router(record: Record) -> APIRouter:
    """Return the route; ``record`` writes alerts to the records."""
    router = APIRouter(tags=["alerts"])
    errors: dict[int | str, dict[str, Any]] = {
        code: {"model": Error} for code in (401, 403, 408, 413, 422, 429, 500, 503)
    }

    @router.post("/alerts", response_model=TakenAlerts, responses=errors)
    async def take(body: Webhook) -> Response:
        """Take a notification of Alertmanager; one that comes twice changes nothing the second time.

        Alerts that this platform has pushed there itself are left out.
        """
        told = external_alerts(body)
        done = await asyncio.get_running_loop().run_in_executor(None, record, told)
        return Response(orjson.dumps(done), media_type="application/json")

    return router


def external_alerts(told: Webhook) -> list[ExternalAlert]:
    """Return the alerts of a notification, but for those that this platform has pushed."""
    return [_external(each) for each in told.alerts if _OURS not in each.annotations]


def _external(told: _Told) -> ExternalAlert:
    name = _printable(told.labels.get("alertname") or told.fingerprint)
    said = (_printable(told.annotations.get(key, "")) for key in ("summary", "description", "message"))
    severity = told.labels.get("severity", "warning")
    return ExternalAlert(
        source=ALERTMANAGER,
        name=name,
        fingerprint=told.fingerprint,
        firing=told.status == "firing",
        severity=severity if severity in _SEVERITIES else "warning",
        message=next(filter(None, said), name),
        labels={_printable(label): _printable(value) for label, value in told.labels.items()},
        starts_at=told.startsAt,
        ends_at=None if told.endsAt is None else _end(told.endsAt),
        url=told.generatorURL,
    )


def _printable(text: str) -> str:
    """Return a text without what a terminal would obey.

    >>> _printable("the disk\\x1b]0;mine\\x07 is full")
    'the disk ]0;mine  is full'
    """
    return "".join(each if each.isprintable() or each == "\n" else " " for each in text).strip()


def _end(moment: datetime) -> datetime | None:
    """Return the end of an alert; Alertmanager writes the year 1 where there is none yet."""
    return moment if moment.year > 1 else None
