"""Stores an erasure: a permanent row in the table ``erasures``, and an order file until it is done.

The order contains the subject's value, because a killed erasure could not be finished without it. Only its
owner can read the file, in ``.tidemill/erasures``; the erasure's last step deletes it.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from sqlalchemy import select

from tidemill.accounts import audit
from tidemill.clock import utc
from tidemill.errors import DataError
from tidemill.files.atomic import replace_file
from tidemill.project import Project
from tidemill.registry.versions.version_record import ModelVersion
from tidemill.state import State
from tidemill.state.tables import Erasure

__all__ = [
    "ErasureOrder",
    "drop_order",
    "erased_after_learning",
    "pending_orders",
    "put_on_record",
    "put_order",
]


@dataclass(frozen=True)
class ErasureOrder:
    """An erasure that was requested and is not done."""

    id: str
    values: Mapping[str, str] = field(repr=False)
    """Column of the key → value, in the clear."""
    actor: str
    reason: str
    history: bool
    requested_at: datetime
    findings: Mapping[str, Any] = field(repr=False)
    """The findings of `tidemill.privacy.erasure.subject_findings` before the first change."""
    steps: Mapping[str, Any] = field(default_factory=dict)
    """The results of the steps that ran."""


def pending_orders(project: Project) -> list[ErasureOrder]:
    """Return the erasures that are not done, the oldest first.

    Raises:
        DataError: an order cannot be read.
    """
    found = []
    for path in sorted(folder(project).glob("*.json")):
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            found.append(
                ErasureOrder(
                    **{**content, "requested_at": utc(datetime.fromisoformat(content["requested_at"]))}
                )
            )
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise DataError(
                f"{path} cannot be read: {type(error).__name__}",
                hint="delete it and ask for the erasure again",
            ) from error
    return sorted(found, key=lambda order: order.id)


def put_order(project: Project, order: ErasureOrder) -> None:
    """Write an order atomically, readable by its owner only.

    Raises:
        DataError: it cannot be written; nothing was changed yet.
    """
    path = folder(project) / f"{order.id}.json"
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        content = asdict(order) | {"requested_at": order.requested_at.isoformat()}
        replace_file(path, json.dumps(content), mode=0o600)
    except OSError as error:
        raise DataError(
            f"{path} cannot be written: {error.strerror or error}",
            hint="check that the disk has space and can be written",
        ) from error


def drop_order(project: Project, order: ErasureOrder) -> None:
    """Delete an order, and drafts that a killed process left."""
    for pattern in (".*.tmp", "tmp*"):  # the second pattern: drafts of earlier versions of Tidemill
        for path in folder(project).glob(pattern):
            path.unlink(missing_ok=True)
    (folder(project) / f"{order.id}.json").unlink(missing_ok=True)


def put_on_record(
    state: State,
    order: ErasureOrder,
    pseudonyms: Mapping[str, str],
    status: str,
    error: str | None = None,
    finished_at: datetime | None = None,
) -> None:
    """Insert or replace the erasure's row, which does not contain the subject's value."""
    with state.transaction() as session:
        before = session.get(Erasure, order.id)
        if before is None or before.status != status:
            audit.append(session, _act(order, pseudonyms, status))
        session.merge(
            Erasure(
                id=order.id,
                entity=" + ".join(pseudonyms),
                pseudonym=" + ".join(pseudonyms.values()),
                actor=order.actor,
                reason=order.reason,
                history=order.history,
                status=status,
                steps={"found": dict(order.findings), "steps": dict(order.steps)},
                error=error,
                requested_at=order.requested_at,
                finished_at=finished_at,
            )
        )


def erased_after_learning(state: State, version: ModelVersion) -> str | None:
    """Return the id of an erasure whose subject a version has learnt from, or may have; None without one.

    A version that an erasure did not find was registered after it, or while it ran, which counts, too.
    """
    with state.transaction() as session:
        erasures = session.scalars(select(Erasure).order_by(Erasure.id)).all()
    for erasure in erasures:
        models = erasure.steps["found"].get("models", ())
        known = [
            m["trained_on"] for m in models if (m["model"], m["version"]) == (version.model, version.version)
        ]
        running = erasure.finished_at is None or version.registered_at <= utc(erasure.finished_at)
        if known != ["no"] and (known or running):
            return erasure.id
    return None


def _act(order: ErasureOrder, pseudonyms: Mapping[str, str], status: str) -> audit.Act:
    """Return what the audit log says of an erasure: the subject by its pseudonym, in the reason too."""
    reason = order.reason
    for column, value in order.values.items():
        if value:
            reason = re.sub(re.escape(value), pseudonyms.get(column, "…"), reason, flags=re.IGNORECASE)
    details = {"id": order.id, "entity": " + ".join(pseudonyms), "history": order.history, "status": status}
    return audit.Act(
        order.actor, "erase", "data", " + ".join(pseudonyms.values()), reason=reason, details=details
    )


def folder(project: Project) -> Path:
    """Return the folder of the orders."""
    return project.home / "erasures"
