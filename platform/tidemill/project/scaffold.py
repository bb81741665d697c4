"""Creates a new project as a copy of the reference project."""

import contextlib
import os
import shutil
import stat
from collections.abc import Iterator, Sequence
from importlib.resources import files
from pathlib import Path

from tidemill.errors import ConfigError, TidemillError, UsageError
from tidemill.files.drafts import discard_draft, new_draft_folder, published
from tidemill.project.folder_names import check_folder_name

__all__ = [
    "DVCIGNORE",
    "GITIGNORE",
    "PROJECT_FILES",
    "clear_folder",
    "copy_example",
    "copy_project",
    "examples",
    "new_folder",
    "reference_project",
    "whole_folder",
    "without_leftovers",
]

PROJECT_FILES = (
    "params.yaml",
    "dvc.yaml",
    "expectations.yaml",
    "tombstones.yaml",
    "pipelines",
    "feature_repo",
    "serving",
    "monitoring",
)
"""The files of a project; everything else in its folder is made by running it."""

_IGNORED = shutil.ignore_patterns("__pycache__", "*.pyc", "online_store", ".ipynb_checkpoints")

GITIGNORE = """\
/.tidemill/
/.venv/
/data/**
!/data/**/
!/data/**/*.dvc
!/data/**/.gitignore
!/data/validation.json
/workspace/
/.workspace.old-*/
/feature_repo/online_store/
mlruns/
wandb/
__pycache__/
"""

DVCIGNORE = """\
/.tidemill/
/.venv/
/workspace/
/.workspace.old-*/
"""


def reference_project() -> Path:
    """Return the folder of the reference project: in the wheel, or around an editable checkout.

    Raises:
        ConfigError: this installation does not contain it.
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


def examples() -> dict[str, str]:
    """Return the example projects: name → what it shows.

    >>> list(examples())[0]
    'flights'
    """
    found = {"flights": "the reference project: late flights, with a feature store and a year to replay"}
    for readme in sorted(_examples_folder().glob("*/README.md")):
        if (readme.parent / "params.yaml").exists():
            title = readme.read_text(encoding="utf-8").partition("\n")[0]
            found[readme.parent.name] = title.lstrip("# ")
    return found


def copy_example(name: str, target: Path) -> list[Path]:
    """Copy an example project into the new or empty folder ``target``, as `copy_project` does.

    Raises:
        UsageError: there is no such example, or ``target`` is not a new or empty folder.
        TidemillError: the files could not be read or written.
    """
    if name == "flights":
        return copy_project(reference_project(), target)
    known = examples()
    if name not in known:
        raise UsageError(
            f"there is no example {name!r}", hint=f"one of {', '.join(known)}: tidemill init --example"
        )
    source = _examples_folder() / name
    return copy_project(source, target, names=sorted(path.name for path in source.iterdir()))


def _examples_folder() -> Path:
    packaged = Path(str(files("tidemill.project"))) / "examples"
    return packaged if packaged.is_dir() else Path(__file__).parents[3] / "examples"


def copy_project(
    source: Path, target: Path, mark: str | None = None, names: Sequence[str] = PROJECT_FILES
) -> list[Path]:
    """Copy the project at ``source`` into the new or empty folder ``target``; undo everything on failure.

    Args:
        source: folder of the project to copy.
        target: the folder to copy to.
        mark: name of a file to write before all others; a killed copy leaves this file or an empty folder.
        names: files and folders to copy.

    Returns:
        The paths that were written, relative to ``target``.

    Raises:
        UsageError: ``target`` is a file, a folder that is not empty, or cannot be made.
        TidemillError: the files could not be read or written.
    """
    with new_folder(target, mark):
        try:
            if mark is not None:
                (target / mark).write_text("Tidemill made this folder, and may remove it.\n")
            for name in names:
                (target / name).parent.mkdir(parents=True, exist_ok=True)
                if (source / name).is_dir():
                    shutil.copytree(source / name, target / name, ignore=_IGNORED)
                else:
                    shutil.copy2(source / name, target / name)
            for name, text in ((".gitignore", GITIGNORE), (".dvcignore", DVCIGNORE)):
                if name not in names:
                    (target / name).write_text(text)
        except OSError as error:
            raise TidemillError(
                f"{source} could not be copied to {target}: {error}",
                hint="check that the source can be read, and that the target can be written and has "
                "space; nothing was kept",
            ) from error
        return sorted(path.relative_to(target) for path in target.rglob("*") if path.is_file())


@contextlib.contextmanager
def new_folder(target: Path, mark: str | None = None) -> Iterator[None]:
    """Make ``target`` unless it is an empty folder already; undo everything if the block fails.

    Args:
        target: the folder; its parents are made too.
        mark: name of a file in it that is removed last when the block fails.

    Raises:
        UsageError: ``target`` is a file, a folder that is not empty, or cannot be made.
    """
    check_folder_name(target.absolute())
    with without_leftovers(target):
        with _usable(target):
            _refuse_taken(target)
            target.mkdir(parents=True, exist_ok=True)
        try:
            yield
        except BaseException:
            clear_folder(target, mark)
            raise


@contextlib.contextmanager
def whole_folder(target: Path) -> Iterator[Path]:
    """Give a hidden folder that becomes ``target`` when the block succeeds, or else is deleted.

    It lies beside ``target``, or in it where that is a mount point or its parent cannot be written. What a
    killed process left is removed by the next one that makes such a folder there.

    Raises:
        UsageError: ``target`` is a file, a folder that is not empty, or cannot be made.
    """
    check_folder_name(target.absolute())
    place = target.resolve()
    with without_leftovers(place):
        with _usable(target):
            inside = place.is_dir() and (place.is_mount() or not os.access(place.parent, os.W_OK))
            draft = new_draft_folder(place / "project" if inside else place)
        try:
            with _usable(target):
                _refuse_taken(target, draft)
            yield draft
            with _usable(target):
                _refuse_taken(target, draft)
                _move(draft, place)
            published(draft)
        finally:
            discard_draft(draft)


def _move(draft: Path, place: Path) -> None:
    if place.is_dir() and (draft.parent == place or Path.cwd().is_relative_to(place)):
        for item in list(draft.iterdir()):  # the folder itself stays: it is a shell's, or a file system's
            item.rename(place / item.name)
        return
    if place.is_dir():
        draft.chmod(stat.S_IMODE(place.stat().st_mode))
    draft.rename(place)


@contextlib.contextmanager
def _usable(target: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise UsageError(
            f"{target} cannot be used as a folder: {error.strerror}",
            hint="name a new folder in a place you may write to; nothing was written",
        ) from error


def _refuse_taken(target: Path, draft: Path | None = None) -> None:
    ours = draft and draft.name
    if target.exists() and (not target.is_dir() or any(item.name != ours for item in target.iterdir())):
        raise UsageError(
            f"{target} exists and is not an empty folder", hint="name a new folder; nothing was written"
        )


@contextlib.contextmanager
def without_leftovers(folder: Path) -> Iterator[None]:
    """If the block fails, remove ``folder`` and those parents that it made, as long as they are empty."""
    missing = [path for path in (folder, *folder.parents) if not os.path.lexists(path)]
    try:
        yield
    except BaseException:
        for path in missing:
            with contextlib.suppress(OSError):  # not made yet, or not empty
                path.rmdir()
        raise


def clear_folder(folder: Path, mark: str | None = None) -> None:
    """Delete the content of ``folder`` as far as possible; ``mark`` last, and only if all else is deleted."""
    with contextlib.suppress(OSError):  # what cannot be deleted stays, and with it the mark
        for item in folder.iterdir():
            if item.is_dir() and not item.is_symlink():
                shutil.rmtree(item, ignore_errors=True)
            elif item.name != mark:
                with contextlib.suppress(OSError):
                    item.unlink()
        if mark is not None and [item.name for item in folder.iterdir()] == [mark]:
            (folder / mark).unlink()
