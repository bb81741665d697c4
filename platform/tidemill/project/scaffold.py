"""Makes a new project out of the reference project."""

import shutil
from importlib.resources import files
from pathlib import Path

from tidemill.errors import ConfigError, UsageError

__all__ = ["PROJECT_FILES", "copy_project", "reference_project"]

PROJECT_FILES = ("params.yaml", "dvc.yaml", "pipelines", "feature_repo", "serving", "monitoring")
"""What makes up a project; everything else in its folder is made by running it."""

_IGNORED = shutil.ignore_patterns("__pycache__", "*.pyc", "online_store", ".ipynb_checkpoints")

_GITIGNORE = """\
/.tidemill/
/.venv/
/data/
/workspace/
/feature_repo/online_store/
__pycache__/
"""

_DVCIGNORE = """\
/.tidemill/
/.venv/
/workspace/
"""


def reference_project() -> Path:
    """Return the folder of the reference project: in the wheel, or around an editable checkout.

    Raises:
        ConfigError: this installation carries none.
    """
    packaged = Path(str(files("tidemill.project"))) / "template"
    checkout = Path(__file__).parents[3]
    for folder in (packaged, checkout):
        if all((folder / name).exists() for name in PROJECT_FILES):
            return folder
    raise ConfigError(
        f"this installation of tidemill carries no reference project (looked in {packaged} and {checkout})",
        hint="install tidemill from its wheel, or editable from a checkout",
    )


def copy_project(source: Path, target: Path) -> list[Path]:
    """Copy the project at ``source`` into the new or empty folder ``target``.

    Returns:
        what was written, relative to ``target``.

    Raises:
        UsageError: ``target`` is a file, or a folder that is not empty.
    """
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise UsageError(
            f"{target} exists and is not an empty folder", hint="name a new folder; nothing was written"
        )
    made = not target.exists()
    try:
        target.mkdir(parents=True, exist_ok=True)
        for name in PROJECT_FILES:
            if (source / name).is_dir():
                shutil.copytree(source / name, target / name, ignore=_IGNORED)
            else:
                shutil.copy2(source / name, target / name)
        (target / ".gitignore").write_text(_GITIGNORE)
        (target / ".dvcignore").write_text(_DVCIGNORE)
    except BaseException:
        for item in target.iterdir():
            shutil.rmtree(item) if item.is_dir() else item.unlink()
        if made:
            target.rmdir()
        raise
    return sorted(path.relative_to(target) for path in target.rglob("*") if path.is_file())
