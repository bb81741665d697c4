"""Stand in for Ray's dashboard agent: say that it serves on no port, and end with Ray.

Ray does not start without an agent, though nothing asks one where there is no dashboard: the real one takes
a second of CPU to start, and 100 MB. Run as a script with the real one's arguments; it imports nothing
of Tidemill or of Ray.
"""

import os
import sys
import time
from pathlib import Path

__all__ = ["PORTS", "main"]

PORTS = ("metrics_agent_port", "metrics_export_port", "dashboard_agent_listen_port")
"""Files that Ray waits for, each of a port or of -1: the service is not in use."""
_SECONDS_BETWEEN_LOOKS = 1.0


def main(arguments: list[str]) -> None:
    """Write the ports where Ray looks for them, and wait until the process that started this one ends."""
    parent = os.getppid()
    options = dict(one.removeprefix("--").partition("=")[::2] for one in arguments)
    for name in PORTS:
        path = Path(options["session-dir"], f"{name}_{options['node-id']}")
        draft = path.with_suffix(".draft")
        draft.write_text("-1")
        draft.replace(path)  # whole, as Ray reads it at once
    while os.getppid() == parent:
        time.sleep(_SECONDS_BETWEEN_LOOKS)


if __name__ == "__main__":
    main(sys.argv[1:])
