"""What was found wrong with a project's declarations, kept until a file changes. Imports little.

Checking them takes importing pydantic, which takes longer than all else that `tidemill status` does.
"""

import hashlib
import json
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from tidemill.files.atomic import replace_file
from tidemill.project import ProjectFolder
from tidemill.version import __version__

__all__ = ["known_problems"]

_DECLARATIONS = (
    "params.yaml",
    "dvc.yaml",
    "features.yaml",
    "monitoring/monitors.yaml",
    "monitoring/policies.yaml",
    "monitoring/schedules.yaml",
)


def known_problems(project: ProjectFolder, check: Callable[[ProjectFolder], list[str]]) -> list[str]:
    """Return what is wrong with the declarations: as on record, or by checking them.

    Args:
        project: the project.
        check: checks them; called only if a file, or Tidemill, is another one than when the record was made.
    """
    place, digest = project.home / "declarations.json", _digest(project.root)
    with suppress(OSError, ValueError, KeyError, TypeError):
        found = json.loads(place.read_bytes())
        if found["digest"] == digest:
            return [str(problem) for problem in found["problems"]]
    problems = check(project)
    if place.parent.is_dir():
        with suppress(OSError):  # without the record the next check takes longer, and that is all
            replace_file(place, json.dumps({"digest": digest, "problems": problems}), flush=False)
    return problems


def _digest(root: Path) -> str:
    """Return a digest of this release, the project's place, and the content of the files."""
    found = hashlib.sha256(f"{__version__}\0{root}".encode())
    for name in _DECLARATIONS:
        path = root / name
        content = path.read_bytes() if path.is_file() else b""
        found.update(f"\0{name}\0{path.exists()}\0{len(content)}\0".encode() + content)
    return found.hexdigest()
