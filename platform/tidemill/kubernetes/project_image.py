"""Writes the Containerfile of a project's image, and has docker, podman or buildah build it.

The image has the project's git history and nothing else of its folder: pods work in a clone of it
(`project_clone`), so that what is not committed could not reach them.
"""

import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from tidemill.data.repository.git import git, git_try
from tidemill.errors import ClusterError, ConfigError, UsageError
from tidemill.files.atomic import replace_file
from tidemill.files.remote_files import has_credentials
from tidemill.version import __version__

__all__ = ["BUILDERS", "Revision", "build_image", "committed", "find_builder", "image_files", "write_files"]

BUILDERS = ("docker", "podman", "buildah")
_FILES = ("Containerfile", ".dockerignore")
_REQUIREMENTS = "requirements.txt"
_USER = "10001:10001"


class Revision(NamedTuple):
    """What of a project is in an image."""

    commit: str
    """Full id of the commit."""
    left_out: tuple[str, ...]
    """Files that are changed or new and not committed."""


def committed(root: Path, *, leave_out: bool) -> Revision:
    """Return the commit that an image of the project would have.

    Raises:
        ConfigError: the project is not the top of a git repository, or its settings hold a password.
        UsageError: something is not committed, and shall not be left out.
    """
    if not (root / ".git").is_dir():
        raise ConfigError(
            f"{root} is not the top folder of a git repository with a .git of its own",
            hint=f"make the image in a clone of it (`git clone`), or begin one: git -C {root} init",
        )
    if git_try(root, "rev-parse", "--quiet", "--verify", "HEAD").returncode != 0:
        raise ConfigError(
            f"{root} has no commit yet", hint="commit the project: the image has its git history"
        )
    _refuse_secrets(root)
    changed = git(root, "status", "--porcelain", "--no-renames", "--untracked-files=all", "-z").split("\0")
    left_out = tuple(sorted(line[3:] for line in changed if line[2:3] == " " and line[3:] not in _FILES))
    if left_out and not leave_out:
        raise UsageError(
            f"not committed, and so not in the image: {_some(left_out)}",
            hint="commit them, or leave them out on purpose with --leave-out",
        )
    return Revision(git(root, "rev-parse", "HEAD").strip(), left_out)


def _refuse_secrets(root: Path) -> None:
    settings = git_try(root, "config", "--local", "--list").stdout.splitlines()
    for key, _, value in (line.partition("=") for line in settings):
        if "extraheader" in key or (key.endswith("url") and has_credentials(value) and "git@" not in value):
            raise ConfigError(
                f"{root / '.git' / 'config'} has a password or a token in {key}, and would be in the image",
                hint="take it out (git remote set-url …) and let git's credential helper keep it",
            )


def _some(names: Sequence[str]) -> str:
    """List a few names.

    >>> _some(["a", "b", "c", "d", "e"])
    'a, b, c and 2 more'
    """
    shown = ", ".join(names[:3])
    return f"{shown} and {len(names) - 3} more" if len(names) > 3 else shown


def image_files(base: str | None = None, *, requirements: bool = False) -> dict[str, str]:
    """Return the files that a builder needs, by name.

    Args:
        base: image of the platform; default: ``tidemill`` of this version.
        requirements: whether the project has packages of its own to install, in requirements.txt.

    >>> print(image_files()["Containerfile"].splitlines()[-1])
    COPY --chown=10001:10001 . /opt/project
    """
    install = (
        f"COPY {_REQUIREMENTS} /tmp/{_REQUIREMENTS}\n"
        "USER 0:0\n"
        f"RUN python -m pip install --no-cache-dir --requirement /tmp/{_REQUIREMENTS}\n"
        f"USER {_USER}\n"
    )
    return {
        "Containerfile": "# The image of this project, on that of the platform (`tidemill image`).\n"
        f"FROM {base or f'tidemill:{__version__}'}\n"
        f"{install if requirements else ''}"
        f"COPY --chown={_USER} . /opt/project\n",
        ".dockerignore": "# What is committed is in .git: pods work in a clone of it.\n"
        f"**\n!.git\n.git/hooks\n.git/lfs\n{f'!{_REQUIREMENTS}' if requirements else ''}\n".rstrip()
        + "\n",
    }


def write_files(root: Path, base: str | None = None) -> dict[str, bool]:
    """Write the files where there are none; return of each whether it was written.

    Those that are there stay as they are: they belong to the project.

    Raises:
        OSError: they cannot be written.
    """
    made = image_files(base, requirements=(root / _REQUIREMENTS).exists())
    written = {name: not (root / name).exists() for name in made}
    for name, new in written.items():
        if new:
            replace_file(root / name, made[name])
    return written


def find_builder(name: str | None = None) -> str | None:
    """Return the path of the first builder that is installed, or of the one that is named.

    Raises:
        ClusterError: the one that is named is not installed.
    """
    found = next((path for one in ([name] if name else BUILDERS) if (path := shutil.which(one))), None)
    if name and found is None:
        raise ClusterError(
            f"{name} is not installed", hint=f"install it, or name another: {', '.join(BUILDERS)}"
        )
    return found


def build_image(root: Path, builder: str, tag: str, labels: Mapping[str, str]) -> None:
    """Build the image; what the builder says goes to its own streams.

    Raises:
        ClusterError: it failed.
    """
    marked = [part for name, value in labels.items() for part in ("--label", f"{name}={value}")]
    command = [builder, "build", "--file", str(root / "Containerfile"), "--tag", tag, *marked, str(root)]
    done = subprocess.run(command, check=False)
    if done.returncode != 0:
        raise ClusterError(
            f"{Path(builder).name} could not build {tag}: exit code {done.returncode}",
            hint="what it said is above; the platform's image must be where it looks (docs/kubernetes.md)",
        )
