"""List the schedules and when each is due, for ``tidemill score schedule list``."""

from datetime import datetime
from typing import Any

from tidemill.project import ProjectFolder
from tidemill.state import record_queries
from tidemill.state.record_reader import Records

__all__ = ["schedule_status"]


def schedule_status(folder: ProjectFolder, records: Records, now: datetime) -> list[dict[str, Any]]:
    """Return each schedule's name, the slot that is due, if any, and the next slot.

    Raises:
        ConfigError: ``monitoring/schedules.yaml`` is wrong.
    """
    if not (folder.root / "monitoring" / "schedules.yaml").exists():
        return []
    from tidemill.scoring.schedules.schedule_rules import Past, due, last_slot, load_schedules

    found = []
    for each in load_schedules(folder):
        rows = record_queries.runs_of_schedule(records, folder.model, each.name)
        slot = due(each, {row.slot: Past(row.status, row.tries, row.at) for row in rows}, now)
        following = last_slot(each, now) + each.every
        found.append({"name": each.name, "due": slot.slot if slot else None, "next": following})
    return found
