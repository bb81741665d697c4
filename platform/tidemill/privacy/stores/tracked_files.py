"""Counts the mentions of a subject in files that git tracks, which an erasure names and does not change."""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from tidemill.data.personal.pseudonyms import text_of
from tidemill.data.repository.git import git_try
from tidemill.errors import DataError
from tidemill.files.yaml_reading import YamlError, read_yaml
from tidemill.privacy.stores.table_subjects import count_rows, format_of
from tidemill.privacy.stores.texts import is_literal, mentions_all
from tidemill.privacy.subject import Subject
from tidemill.project.feature_columns import COLUMNS_FILE

__all__ = ["count_tracked"]

_LARGEST = 4 << 20
"""Bytes of a text file; larger ones are not searched. Tables are, whatever their size."""
_SHORTEST = 3


def count_tracked(root: Path, subject: Subject, declared: Iterable[Path]) -> dict[str, int]:
    """Return the files that git tracks and that name the subject in the clear, each with how often.

    Args:
        root: the project's folder.
        subject: the subject.
        declared: files and folders that are searched as data.

    Raises:
        DataError: git is not installed, or a file cannot be read.
    """
    listed, known = git_try(root, "ls-files", "-z", "--cached"), {path.resolve() for path in declared}
    names = listed.stdout.split("\0") if listed.returncode == 0 else []
    found = {}
    for name in filter(None, names):
        path = root.resolve() / name
        if known.isdisjoint((path, *path.parents)) and path.is_file() and not path.is_symlink():
            found[name] = _count(path, subject)
    return {name: count for name, count in found.items() if count}


def _count(path: Path, subject: Subject) -> int:
    try:
        if format_of(path):
            return count_rows(path, subject)
    except DataError:
        pass  # not in the format of its extension: it is searched as text
    try:
        content = path.read_bytes() if path.stat().st_size <= _LARGEST else b""
    except FileNotFoundError:
        return 0  # removed meanwhile
    except OSError as error:
        raise DataError(
            f"{path}, which git tracks, cannot be searched: {error.strerror}", hint="make it readable"
        ) from error
    lines = content.splitlines()
    if is_literal(subject) and min(map(len, subject.values.values())) >= _SHORTEST:
        return sum(mentions_all(line, subject) for line in lines) or int(mentions_all(content, subject))
    return sum(_is_named(line, subject) for line in lines) or _examples(path, subject)


def _is_named(line: bytes, subject: Subject) -> bool:
    """Return whether a line has each value of the key, and beside it the name of its column.

    >>> subject = Subject({"id": "1041"}, {}, {"id": ("id",)}, {})
    >>> _is_named(b"- {name: id, example: 1041}", subject), _is_named(b"size: 1041", subject)
    (True, False)
    """
    return all(
        _has_word(line, value) and any(_has_word(line, name) for name in subject.names[column])
        for column, value in subject.values.items()
    )


def _has_word(line: bytes, text: str) -> bool:
    return re.search(rb"(?<![\w.-])" + re.escape(text.encode()) + rb"(?![\w-]|\.\d)", line) is not None


def _examples(path: Path, subject: Subject) -> int:
    """Count the values of the subject in the entries of ``features.yaml``, in which a number stands alone."""
    if path.name != COLUMNS_FILE:
        return 0
    try:
        content = read_yaml(path)
    except (OSError, YamlError):
        return 0
    sections = content.values() if isinstance(content, Mapping) else ()
    entries = [entry for section in sections if isinstance(section, list) for entry in section]
    given = [_of_entry(entry, subject) for entry in entries if isinstance(entry, Mapping)]
    return len(subject.values) if {*subject.values} == {*filter(None, given)} else 0


def _of_entry(entry: Mapping[str, Any], subject: Subject) -> str | None:
    """Return the column of the key whose value is an entry's example; None if it is another's."""
    for column, value in subject.values.items():
        if entry.get("name") in subject.names[column] and text_of(entry.get("example")) == value:
            return column
    return None
