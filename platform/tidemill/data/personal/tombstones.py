"""Records erased subjects (tombstones), and removes their rows from later data.

``tombstones.yaml`` is at the project's root and in git. It contains no personal values: a subject is the
pseudonym of its key (`pseudonyms`), and a row is recognised by hashing its own key. The stages that read
external data call `without_erased`, and list the file among their dependencies in ``dvc.yaml``.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache, reduce
from pathlib import Path
from typing import Any

import polars as pl
import yaml

from tidemill.clock import utc
from tidemill.data.personal.pseudonyms import Pseudonymiser, load_key
from tidemill.data.tables.column_names import literal_names
from tidemill.errors import ConfigError, DataError
from tidemill.files.atomic import replace_file
from tidemill.files.declaration_files import read_declaration
from tidemill.project import Project

__all__ = [
    "FILE",
    "Tombstone",
    "add_tombstone",
    "keep_expression",
    "read_tombstones",
    "without_erased",
]

FILE = "tombstones.yaml"
"""Name of the file at the project's root."""

_HEADER = """\
# Subjects that were erased (`tidemill data erase`): no later data version holds them. Keep this file in git.
# A subject is the keyed hash of its key: the file contains no names.
"""


@dataclass(frozen=True)
class Tombstone:
    """One subject that was erased."""

    columns: tuple[str, ...]
    """The columns of its key; usually one."""
    pseudonyms: tuple[str, ...]
    """The pseudonym of its value in each column."""
    erased_at: datetime
    """Wall-clock time, aware."""
    reason: str

    @property
    def subject(self) -> Mapping[str, str]:
        """Column → pseudonym."""
        return dict(zip(self.columns, self.pseudonyms, strict=True))


def without_erased(frame: pl.DataFrame, project: Project) -> pl.DataFrame:
    """Return ``frame`` without the rows of erased subjects.

    A row belongs to a subject when it has all columns of its key, under their names, with its values; frames
    without these columns are returned unchanged. It takes about 1 µs for each distinct value of a key.

    Raises:
        ConfigError: ``tombstones.yaml`` cannot be read, or was written under another privacy key.
    """
    keep = keep_expression(frame.columns, project)
    return frame if keep is None else frame.filter(keep)


def keep_expression(columns: Sequence[str], project: Project) -> pl.Expr | None:
    """Return an expression that is true for rows of no erased subject, for frames with ``columns``.

    Returns:
        None if no tombstone concerns these columns; then no key is needed.

    Raises:
        ConfigError: as `without_erased`.
    """
    concerned = [stone for stone in read_tombstones(project.root) if set(stone.columns) <= set(columns)]
    if not concerned:
        return None
    hide = Pseudonymiser(load_key(project))
    _require_key(project.root, hide)
    return ~reduce(lambda one, other: one | other, map(_matcher(hide), _by_columns(concerned).items()))


def read_tombstones(root: Path) -> tuple[Tombstone, ...]:
    """Return the tombstones of the project at ``root``; empty if it has no such file.

    Raises:
        ConfigError: the file is not what `add_tombstone` writes.
    """
    return tuple(_parse(root / FILE, item) for item in _content(root).get("erased") or ())


def add_tombstone(project: Project, stone: Tombstone) -> bool:
    """Add a tombstone to the file, which is replaced atomically; return whether the tombstone is new.

    Raises:
        ConfigError: the file cannot be understood, or was written under another privacy key.
        DataError: it cannot be written.
    """
    root = project.root
    hide = Pseudonymiser(load_key(project))
    stones = read_tombstones(root)
    if stones:
        _require_key(root, hide)
    if any(other.subject == stone.subject for other in stones):
        return False
    content = {"key": hide.fingerprint, "erased": [_plain(each) for each in (*stones, stone)]}
    try:
        replace_file(root / FILE, _HEADER + yaml.safe_dump(content, sort_keys=False, allow_unicode=True))
    except OSError as error:
        raise DataError(
            f"{root / FILE} cannot be written: {error.strerror or error}",
            hint="check that the disk has space and can be written",
        ) from error
    return True


def _matcher(hide: Pseudonymiser) -> Callable[[tuple[tuple[str, ...], set[tuple[str, ...]]]], pl.Expr]:
    """Return a function that makes an expression for the rows of subjects, from columns and the subjects."""

    def match(known: tuple[tuple[str, ...], set[tuple[str, ...]]]) -> pl.Expr:
        columns, subjects = known

        def one_of_them(row: pl.Series) -> pl.Series:
            fields = row.struct.unnest()
            hidden = [hide.hide_series(fields[column]).alias(column) for column in columns]
            wanted = pl.DataFrame(sorted(subjects), schema=dict.fromkeys(columns, pl.String), orient="row")
            found = pl.DataFrame(hidden).join(
                wanted.with_columns(pl.lit(True).alias("__erased")),
                on=literal_names(columns),
                how="left",
                maintain_order="left",
            )
            return found["__erased"].fill_null(False)

        return pl.struct(literal_names(columns)).map_batches(
            one_of_them, return_dtype=pl.Boolean, is_elementwise=True
        )

    return match


def _by_columns(stones: Sequence[Tombstone]) -> dict[tuple[str, ...], set[tuple[str, ...]]]:
    found: dict[tuple[str, ...], set[tuple[str, ...]]] = {}
    for stone in stones:
        found.setdefault(stone.columns, set()).add(stone.pseudonyms)
    return found


def _require_key(root: Path, hide: Pseudonymiser) -> None:
    written = _content(root).get("key")
    if written != hide.fingerprint:
        raise ConfigError(
            f"{root / FILE} was written under another privacy key ({written}) than this project's "
            f"({hide.fingerprint}): erased subjects would come back",
            hint="restore the key that was used for the erasures (docs/privacy.md says how to change a key)",
        )


def _content(root: Path) -> Mapping[str, Any]:
    path = root / FILE
    try:
        found = path.stat()
    except OSError:
        return {}
    return _read(path, found.st_mtime_ns, found.st_size, found.st_ino)


@lru_cache(maxsize=4)
def _read(path: Path, *_mark: int) -> Mapping[str, Any]:
    try:
        file = read_declaration(path)
    except ConfigError as error:
        raise ConfigError(str(error), hint="restore it from git") from error
    content = (file.content if file is not None else None) or {}
    if not isinstance(content, dict):
        raise ConfigError(f"{path} is not a mapping", hint="restore it from git")
    return content


def _parse(path: Path, item: Any) -> Tombstone:
    try:
        columns, pseudonyms = item["entity"], item["pseudonym"]
        single = isinstance(columns, str)
        stone = Tombstone(
            (columns,) if single else tuple(columns),
            (pseudonyms,) if single else tuple(pseudonyms),
            utc(datetime.fromisoformat(item["erased_at"])),
            item.get("reason") or "",
        )
        if len(stone.columns) != len(stone.pseudonyms) or not stone.columns:
            raise ValueError("it needs as many pseudonyms as columns")
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ConfigError(
            f"{path}: this is not a tombstone: {item!r} ({error})", hint="restore it from git"
        ) from error
    return stone


def _plain(stone: Tombstone) -> dict[str, Any]:
    single = len(stone.columns) == 1
    return {
        "entity": stone.columns[0] if single else list(stone.columns),
        "pseudonym": stone.pseudonyms[0] if single else list(stone.pseudonyms),
        "erased_at": utc(stone.erased_at).isoformat(),
        "reason": stone.reason,
    }
