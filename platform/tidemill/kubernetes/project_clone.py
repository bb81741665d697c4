"""Bring the project of the image into the volume: ``python -m`` with the name of this module.

Turns commit data versions in the project, so that it must be where pods can write and where it stays. The
image has it as a git repository; the volume is a clone, into which each new image is merged.
"""

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

from tidemill.data.repository.git import git, git_try
from tidemill.errors import ConfigError, DataError, TidemillError
from tidemill.files.locks import locked

__all__ = ["bring_project"]

_WAIT_SECONDS = 600.0
_BRANCH = "main"
_log = logging.getLogger(__name__)


def bring_project(image: Path, volume: Path, *, merge: bool) -> str:
    """Clone the project into an empty volume, or merge what is new in the image; return what was done.

    Args:
        image: folder of the image's repository, which is only read.
        volume: folder of the volume; may hold files that git does not know.
        merge: whether this pod brings new code: then no turn is under way meanwhile.

    Raises:
        ConfigError: the image has no repository.
        DataError: what is new conflicts with what was committed in the volume, or git failed.
    """
    if git_try(image, "rev-parse", "--quiet", "--verify", "HEAD").returncode != 0:
        raise ConfigError(
            f"{image} of the image is no git repository with a commit",
            hint="copy the project with its .git into the image (docs/kubernetes.md)",
        )
    home = volume / ".tidemill"
    with locked(home / "clone.lock", wait_seconds=_WAIT_SECONDS, on_wait=_tell):
        if git_try(volume, "rev-parse", "--quiet", "--verify", "HEAD").returncode != 0:
            git(volume, "init", "--quiet", "--initial-branch", _BRANCH)
            git(volume, "fetch", "--quiet", str(image), "HEAD")
            git(volume, "checkout", "--quiet", "-B", _BRANCH, "FETCH_HEAD")
            return f"cloned {_short(volume)}"
        if not merge:
            return f"is there: {_short(volume)}"
        git(volume, "fetch", "--quiet", str(image), "HEAD")
        new = git(volume, "rev-parse", "FETCH_HEAD").strip()
        if git_try(volume, "merge-base", "--is-ancestor", new, "HEAD").returncode == 0:
            return f"up to date: {_short(volume)}"  # without waiting for a turn that somebody makes
        with locked(home / "turn.lock", wait_seconds=_WAIT_SECONDS, on_wait=_tell):
            return _merge(image, volume, new)


def _merge(image: Path, volume: Path, new: str) -> str:
    before = _short(volume)
    done = git_try(volume, "merge", "--quiet", "--no-edit", "-m", "Take the code of a new image", new)
    if done.returncode != 0:
        git_try(volume, "merge", "--abort")
        words = (done.stdout + done.stderr).strip()
        raise DataError(
            f"the image's project cannot be merged into {volume}: {words}",
            hint=f"merge {image} there by hand (git fetch, git merge), or install the earlier image again",
        )
    return f"merged: {before} became {_short(volume)}"


def _short(root: Path) -> str:
    return git(root, "rev-parse", "--short", "HEAD").strip()


def _tell(holder: str) -> None:
    _log.info("waiting for %s", holder)


def main(arguments: Sequence[str]) -> int:
    """Run the command line; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tidemill.kubernetes.project_clone")
    parser.add_argument("--image", type=Path, required=True, help="the project in the image")
    parser.add_argument("--volume", type=Path, required=True, help="the project's volume")
    parser.add_argument("--merge", action="store_true", help="take what is new in the image")
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    try:
        _log.info("the project %s", bring_project(options.image, options.volume, merge=options.merge))
    except TidemillError as error:
        _log.error("%s%s", error, f"; {error.hint}" if error.hint else "")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
