"""Counts delivered and failed OpenLineage events in ``.tidemill/openlineage.json``."""

import json
import logging
import re
from datetime import UTC, datetime

from tidemill.errors import TidemillError
from tidemill.files.atomic import replace_file
from tidemill.files.locks import locked
from tidemill.project import Project

__all__ = ["count_events", "one_line"]

_log = logging.getLogger(__name__)


def count_events(project: Project, sent: int, failed: int, error: BaseException | None = None) -> None:
    """Add to the project's count of events; ``error`` describes the latest failure."""
    path = project.home / "openlineage.json"
    try:
        with locked(path.with_suffix(".lock"), wait_seconds=5):
            known = json.loads(path.read_text()) if path.exists() else {}
            known["sent"] = known.get("sent", 0) + sent
            known["failed"] = known.get("failed", 0) + failed
            if error is not None:
                known |= {"last_error": one_line(error), "last_failed_at": datetime.now(UTC).isoformat()}
            replace_file(path, json.dumps(known, indent=2) + "\n", flush=False)
    except (OSError, ValueError, TidemillError) as problem:  # a lost count must not fail the turn
        _log.warning("%s cannot be written: %s", path, problem)


def one_line(error: BaseException) -> str:
    """Return the message of an error in one line, without secrets in addresses.

    >>> one_line(OSError("no answer from http://me:secret@lineage.example/ in time"))
    'no answer from http://…@lineage.example/ in time'
    """
    said = (str(error) or type(error).__name__).splitlines()[0]
    return re.sub(r"://\S+@", "://…@", said)[:300]
