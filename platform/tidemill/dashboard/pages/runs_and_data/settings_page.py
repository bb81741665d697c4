"""The installation: its version, addresses without secrets, storage, retention, and what can be reached."""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from platform import python_version

from fastapi import FastAPI

from tidemill.dashboard.page import add_page
from tidemill.dashboard.records.backend_checks import Backend, check_backend, without_secrets
from tidemill.dashboard.visit import Here, Visit
from tidemill.errors import BeingComputed, TidemillError
from tidemill.version import __version__

__all__ = ["SettingsPage", "add_to", "settings_page"]


@dataclass(frozen=True)
class KnownProjectRow:
    """A project that keeps its records here, as far as the visitor sees it."""

    name: str
    model: str
    folder: str
    log_days: int | None
    """How long predictions are kept; None: for good."""
    audit_days: int | None
    log_store: str
    free_bytes: int | None
    """On the disk of its folder."""
    trouble: str | None
    """Why its declarations cannot be read."""


@dataclass(frozen=True)
class SettingsPage:
    """The installation."""

    version: str
    python: str
    addresses_shown: bool
    """Whether the visitor may see addresses: operators and admins of the installation do."""
    backends: Sequence[Backend]
    projects: Sequence[KnownProjectRow]


_ADVICE = {
    "The records": "check TIDEMILL_STATE_URL and the database; serving goes on with what it has loaded",
    "MLflow's store": "check TIDEMILL_TRACKING_URI; what serves goes on, training and promotion wait for it",
    "MLflow's server": "see .tidemill/logs, and start the stack again: `tidemill up`",
    "The broker of jobs": "check TIDEMILL_BROKER_URL; slow predictions wait until it is back",
    "The Ray cluster": "check TIDEMILL_RAY_ADDRESS; no search can start meanwhile",
    "The collector of traces": "check TIDEMILL_OTLP_ENDPOINT; predictions are answered without traces",
    "The collector of lineage": "check TIDEMILL_OPENLINEAGE_URL; turns go on without their events",
}


def settings_page(visit: Here) -> SettingsPage:
    """Return what the installation uses, and whether it can be reached."""
    shown = visit.may("read", "audit")
    found = _checked(_addresses(visit))
    if not shown:
        found = [Backend(one.name, "", one.state, _plain(one.state), one.advice) for one in found]
    rows = [_row(visit, one.name, one.model, one.root, shown=shown) for one in visit.projects]
    return SettingsPage(__version__, python_version(), shown, found, rows)


def _checked(addresses: Sequence[tuple[str, str]]) -> list[Backend]:
    """Look at all backends at once.

    Raises:
        BeingComputed: one of them takes longer than this request waits.
    """
    found, late = [], None
    for name, address in addresses:
        try:
            found.append(check_backend(name, address, _ADVICE[name]))
        except BeingComputed as error:
            late = error  # the others are looked at meanwhile
    if late is not None:
        raise late
    return found


def _plain(state: str) -> str:
    return {"ok": "it answers", "failed": "it cannot be reached"}.get(state, "there is no way to look")


def _addresses(visit: Visit) -> list[tuple[str, str]]:
    home, settings = visit.installation.home, visit.installation.home.settings
    broker = settings.broker_url.get_secret_value() if settings.broker_url else None
    given = {
        "The records": home.state_url,
        "MLflow's store": home.tracking_uri,
        "MLflow's server": visit.installation.mlflow_url,
        "The broker of jobs": broker,
        "The Ray cluster": settings.ray_address,
        "The collector of traces": settings.otlp_endpoint,
        "The collector of lineage": settings.openlineage_url,
    }
    return [(name, address) for name, address in given.items() if address]


def _row(visit: Visit, name: str, model: str, root: Path, *, shown: bool) -> KnownProjectRow:
    one = visit.project(model)
    try:
        project, trouble = visit.installation.load(one), None
    except TidemillError as error:
        project, trouble = None, str(error)
    log = project.config.serve.log if project else None
    return KnownProjectRow(
        name,
        model,
        str(root) if shown else "",
        log.retention_days if log else None,
        project.config.audit.keep.days if project else None,
        (without_secrets(log.store) if log and log.store else "its own folder") if shown else "",
        _free(root),
        trouble,
    )


def _free(root: Path) -> int | None:
    try:
        return shutil.disk_usage(root).free
    except OSError:
        return None


def add_to(app: FastAPI) -> None:
    """Add the page."""
    add_page(
        app, "/settings", settings_page, template="settings.html", needs=("read", "project"), title="Settings"
    )
