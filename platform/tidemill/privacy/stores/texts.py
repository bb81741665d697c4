"""Finds and masks a subject's values in text files, such as servers' logs and reports."""

import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import orjson

from tidemill.errors import DataError
from tidemill.privacy.subject import Subject

__all__ = ["count_in_text", "is_literal", "json_needles", "mask_text", "mentions_all"]

_IN_ANY_TEXT = re.compile(r"[\d.+-]*|true|false|null|none|nan", re.IGNORECASE)


def count_in_text(path: Path, subject: Subject) -> int:
    """Return how often a text file, such as a server's log or a report, mentions one of the subject's values.

    Numbers and values under three characters are not counted, because they occur in any text.

    Raises:
        DataError: the file cannot be read.
    """
    with _failing(path):
        return len(_mentions(path.read_bytes(), subject))


def mask_text(path: Path, subject: Subject) -> int:
    """Overwrite the mentions that `count_in_text` counts with asterisks; return how many there were.

    The length of the file does not change, so another process may be writing to it.

    Raises:
        DataError: the file cannot be read or written.
    """
    with _failing(path):
        found = _mentions(path.read_bytes(), subject)
        if found:
            with path.open("r+b") as file:
                for start, length in found:
                    os.pwrite(file.fileno(), b"*" * length, start)
                os.fsync(file.fileno())
    return len(found)


def mentions_all(content: bytes, subject: Subject) -> bool:
    """Return whether a text mentions every value of the subject's key, as whole words.

    >>> subject = Subject({"id": "ada-lovelace"}, {}, {}, {})
    >>> mentions_all(b"of ada-lovelace", subject), mentions_all(b"of xada-lovelace", subject)
    (True, False)
    """
    return all(_places(value, content) for value in subject.values.values())


def json_needles(subject: Subject) -> Sequence[bytes] | None:
    """Return byte strings, one of which is in any JSON line that names the subject; None if unknown."""
    return [orjson.dumps(text)[1:-1] for text in subject.first_texts] if is_literal(subject) else None


def is_literal(subject: Subject) -> bool:
    """Return whether JSON contains the subject's values as they were given; it may format numbers otherwise.

    >>> is_literal(Subject({"id": "ada"}, {}, {}, {})), is_literal(Subject({"id": "7.0"}, {}, {}, {}))
    (True, False)
    """
    return not any(_IN_ANY_TEXT.fullmatch(value) for value in subject.values.values())


def _mentions(content: bytes, subject: Subject) -> list[tuple[int, int]]:
    return [place for value in subject.values.values() for place in _places(value, content)]


def _places(value: str, content: bytes) -> list[tuple[int, int]]:
    """Return offset and length of each mention of a value."""
    if len(value) < 3 or _IN_ANY_TEXT.fullmatch(value):
        return []
    word = rb"(?<![A-Za-z0-9_])" + re.escape(value.encode()) + rb"(?![A-Za-z0-9_])"
    return [(match.start(), match.end() - match.start()) for match in re.finditer(word, content)]


@contextmanager
def _failing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise DataError(
            f"{path} cannot be erased from: {error.strerror or error}",
            hint="make it writable, then `tidemill data erase --resume`",
        ) from error
