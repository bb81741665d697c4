"""Says what is scheduled next for a model: a monitor, a policy's moment, or a slot of batch scoring."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from tidemill.errors import TidemillError
from tidemill.files.remembered import digest_of, remembered
from tidemill.monitoring.windows.time_windows import last_due_time
from tidemill.project import ProjectFolder, open_folder
from tidemill.scoring.schedules.slots import SlotTimes, last_slot
from tidemill.version import __version__

__all__ = ["Upcoming", "next_of"]

_FILES = (
    "params.yaml",
    "monitoring/monitors.yaml",
    "monitoring/policies.yaml",
    "monitoring/schedules.yaml",
)


@dataclass(frozen=True)
class Upcoming:
    """What comes next."""

    what: str
    at: datetime | None
    """None if that cannot be told."""
    overdue: bool = False


def next_of(root: Path, last_runs: dict[str, datetime], now: datetime) -> Upcoming | None:
    """Return what is scheduled next; None if nothing is, or the project is not on this machine.

    The times are kept beside the project, until one of its declarations changes.

    Args:
        root: folder of the project.
        last_runs: event time of the last run of each monitor.
        now: event time.
    """
    if not (root / _FILES[0]).is_file():
        return None
    digest = digest_of(__version__, root, _FILES)
    try:
        times = remembered(root / ".tidemill" / "schedule_times.json", digest, lambda: _declared(root))
    except TidemillError as error:
        return Upcoming(f"the declarations are wrong: {error}", None)
    found = [*_monitors(times, last_runs, now), *_policies(times, now), *_slots(times, now)]
    return min(found, key=lambda one: one.at or now, default=None)


def _declared(root: Path) -> dict[str, list[list[Any]]]:
    from tidemill.monitoring.monitor_config import load_monitors
    from tidemill.retraining.policies import load_policies
    from tidemill.scoring.schedules.schedule_rules import load_schedules

    folder: ProjectFolder = open_folder(root)
    policies = [(policy.name, one) for policy in load_policies(folder) for one in policy.mentioned]
    return {
        "monitors": [[one.name, one.every.total_seconds()] for one in load_monitors(folder)],
        "crons": [[name, one.cron, one.zone] for name, one in policies if one.cron is not None],
        "slots": [
            [one.name, one.every.total_seconds(), one.at.total_seconds()] for one in load_schedules(folder)
        ],
    }


def _monitors(times: dict[str, Any], last_runs: dict[str, datetime], now: datetime) -> list[Upcoming]:
    found = list[Upcoming]()
    for name, seconds in times["monitors"]:
        every, last = timedelta(seconds=seconds), last_runs.get(name)
        at = now if last is None else last_due_time(every, last) + every
        found.append(Upcoming(f"monitor {name}", at, overdue=last is not None and at + every < now))
    return found


def _policies(times: dict[str, Any], now: datetime) -> list[Upcoming]:
    from tidemill.retraining.triggers.cron import next_moment

    return [Upcoming(f"policy {name}", next_moment(cron, zone, now)) for name, cron, zone in times["crons"]]


def _slots(times: dict[str, Any], now: datetime) -> list[Upcoming]:
    found = list[Upcoming]()
    for name, every, offset in times["slots"]:
        slot = SlotTimes(name, every=timedelta(seconds=every), at=timedelta(seconds=offset))
        found.append(Upcoming(f"batch scoring {name}", last_slot(slot, now) + slot.every))
    return found
