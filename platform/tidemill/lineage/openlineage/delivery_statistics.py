"""How many OpenLineage events got through, kept beside the project: ``.tidemill/openlineage.json``."""

import json
import logging
import re
from datetime import UTC, datetime

from filelock import FileLock

from tidemill.project import Project

__all__ = ["count", "words"]

_log = logging.getLogger(__name__)


def count(project: Project, sent: int, failed: int, error: BaseException | None = None) -> None:
    """Add to the project's count of events; ``error`` is what the latest failure was."""
    path = project.home / "openlineage.json"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(path.with_suffix(".lock"), timeout=5):
            known = json.loads(path.read_text()) if path.exists() else {}
            known["sent"] = known.get("sent", 0) + sent
            known["failed"] = known.get("failed", 0) + failed
            if error is not None:
                known |= {"last_error": words(error), "last_failed_at": datetime.now(UTC).isoformat()}
            part = path.with_suffix(".part")
            part.write_text(json.dumps(known, indent=2) + "\n")
            part.replace(path)
    except (OSError, ValueError, TimeoutError) as problem:  # a count is not worth a turn
        _log.warning("%s cannot be written: %s", path, problem)


def words(error: BaseException) -> str:
    """Return what an error says, in one line, without what may be secret in an address.

    >>> words(OSError("no answer from http://me:secret@lineage.example/ in time"))
    'no answer from http://…@lineage.example/ in time'
    """
    said = (str(error) or type(error).__name__).splitlines()[0]
    return re.sub(r"://\S+@", "://…@", said)[:300]
