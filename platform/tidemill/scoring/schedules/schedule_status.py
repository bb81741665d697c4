"""List the schedules and when each is due, for ``tidemill score schedule list``."""

from datetime import datetime, timedelta
from typing import Any

from tidemill.files.remembered import digest_of, remembered
from tidemill.project import ProjectFolder
from tidemill.scoring.schedules.slots import RecordedSlot, SlotTimes, due, last_slot
from tidemill.state import record_queries
from tidemill.state.record_reader import Records
from tidemill.version import __version__

__all__ = ["schedule_status"]

_FILE = "monitoring/schedules.yaml"
_DURATIONS = ("every", "at", "grace", "retry_after")


def schedule_status(folder: ProjectFolder, records: Records, now: datetime) -> list[dict[str, Any]]:
    """Return each schedule's name, the slot that is due, if any, and the next slot.

    Raises:
        ConfigError: ``monitoring/schedules.yaml`` is wrong.
    """
    if not (folder.root / _FILE).exists():
        return []
    digest = digest_of(__version__, folder.root, [_FILE])
    found = []
    for each in remembered(folder.home / "schedules.json", digest, lambda: _read(folder)):
        times = _times(each)
        rows = record_queries.runs_of_schedule(records, folder.model, times.name)
        slot = due(times, {row.slot: RecordedSlot(row.status, row.tries, row.at) for row in rows}, now)
        following = last_slot(times, now) + times.every
        found.append({"name": times.name, "due": slot.slot if slot else None, "next": following})
    return found


def _times(kept: dict[str, Any]) -> SlotTimes:
    durations = {name: timedelta(seconds=kept[name]) for name in _DURATIONS}
    return SlotTimes(kept["name"], missed=kept["missed"], tries=kept["tries"], **durations)


def _read(folder: ProjectFolder) -> list[dict[str, Any]]:
    from tidemill.scoring.schedules.schedule_rules import load_schedules  # imports pydantic

    return [
        {
            "name": one.name,
            "missed": one.missed,
            "tries": one.tries,
            **{name: getattr(one, name).total_seconds() for name in _DURATIONS},
        }
        for one in load_schedules(folder)
    ]
