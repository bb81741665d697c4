"""Refuses CSV files that a reader would take for another table than the one that was meant."""

import csv
import gzip
import io
import re
import zlib
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO, cast

from tidemill.errors import DataError

__all__ = [
    "check_files",
    "check_header",
    "encoding_problem",
    "opened",
    "plain_names",
    "read_header",
    "repeated",
    "separator_in",
    "separator_of",
]

_HEAD = 4096
_LINE = 65536
_SEPARATORS = (",", ";", "\t", "|")
_QUOTED = re.compile(r'"(?:[^"]|"")*"')
_HALF = re.compile(r"[\ud800-\udfff]")
"""What stands for a byte that is not UTF-8."""
_MARKS = (b"\xff\xfe", b"\xfe\xff")
_ENCODING = "it is not in UTF-8 but, as it seems, in UTF-16: save it as UTF-8"


def check_files(files: Sequence[Path]) -> None:
    """Refuse a folder and a named pipe where a file is to be read; a missing file is left to the reader.

    Raises:
        DataError: one of ``files`` is not an ordinary file.
    """
    for file in files:
        if file.exists() and not file.is_file():
            kind = "a folder" if file.is_dir() else "a named pipe or a device"
            raise DataError(f"{file} is {kind}, not a file", hint="name an ordinary file")


def plain_names(names: Sequence[str]) -> list[str]:
    """Return names without spaces around them, as all that reads a table has them, if they then differ.

    >>> plain_names([" amount € ", "day"]), plain_names(["a", "a "])
    (['amount €', 'day'], ['a', 'a '])
    """
    plain = [name.strip() for name in names]
    return plain if len({*plain}) == len(names) else list(names)


def check_header(file: Path, separator: str = ",") -> None:
    """Refuse a CSV file with a column that is named twice, or in another encoding than UTF-8.

    Raises:
        DataError: it is one.
        OSError: it cannot be read.
    """
    try:
        with opened(file) as stream:
            head = stream.read(_HEAD)
            stream.seek(0)
            with io.TextIOWrapper(stream, encoding="utf-8-sig", errors="surrogateescape", newline="") as text:
                names = read_header(text, separator)
    except (EOFError, zlib.error) as error:
        raise DataError(f"{file} cannot be read: {error}", hint="check that it is complete") from error
    if problem := encoding_problem(head):
        way = "`iconv -f UTF-16 -t UTF-8` converts" if problem == _ENCODING else "`tr -d '\\000'` cleans"
        raise DataError(f"{file} cannot be read: {problem}", hint=f"{way} a file")
    if any(_HALF.search(name) for name in names):  # which Polars would take for � in silence
        raise DataError(
            f"{file} cannot be read: its header is not in UTF-8, but perhaps in Latin-1 or Windows-1252",
            hint="save it as UTF-8: `iconv -f WINDOWS-1252 -t UTF-8` converts a file",
        )
    if b"\r" in head and b"\n" not in head:
        raise DataError(
            f"{file} cannot be read: its lines end in carriage returns only",
            hint="write line feeds: `tr '\\r' '\\n'` converts a file",
        )
    if names and names[0].lower().startswith("sep="):
        raise DataError(
            f"{file} begins with the line {names[0]!r} of a spreadsheet, not with the names of its columns",
            hint="remove that line",
        )
    if len(names) > 1 and not any(name.strip() for name in names[1:]):
        raise DataError(
            f"{file} begins with {names[0]!r}, a title as it seems, not with the names of its columns",
            hint="remove the lines above the names",
        )
    if twice := repeated(names):
        raise DataError(
            f"{file} has several columns of the name {', '.join(map(repr, twice))}",
            hint="rename or remove one of them",
        )


def separator_of(file: Path) -> str:
    """Return what separates the values of a CSV file, by its first line: a comma where nothing tells."""
    with suppress(OSError, EOFError, zlib.error), opened(file) as stream:  # whoever reads it names the error
        return separator_in(stream.readline(_LINE))
    return ","


def separator_in(line: bytes) -> str:
    """Return what separates the values of a CSV file with this first line: a comma where nothing tells.

    What stands between quotes is a name.

    >>> separator_in(b"age;income,plan;city"), separator_in(b'"net, of tax";"gross, with tax, and all";y')
    (';', ';')
    """
    return max(_SEPARATORS, key=_QUOTED.sub("", line[:_LINE].decode(errors="replace")).count)


def opened(file: Path) -> BinaryIO:
    """Open a file for reading, and unpack it if its name ends with ``.gz``."""
    return cast("BinaryIO", gzip.open(file)) if file.suffix.lower() == ".gz" else file.open("rb")


def encoding_problem(head: bytes) -> str | None:
    """Return what is wrong with the encoding of a text, by its first bytes.

    >>> encoding_problem("id,label".encode("utf-16-le"))
    'it is not in UTF-8 but, as it seems, in UTF-16: save it as UTF-8'
    >>> encoding_problem(b"id,label\\n7,a\\0b\\n")
    'line 2 has a NUL byte, which no text has'
    """
    if head.startswith(_MARKS) or any(head[start::2].count(0) > len(head) // 4 for start in (0, 1)):
        return _ENCODING
    before, null, _ = head.partition(b"\0")
    return f"line {before.count(10) + 1:,} has a NUL byte, which no text has" if null else None


def read_header(text: io.TextIOBase, separator: str) -> list[str]:
    """Return the names in the first line; none if it is not CSV, which the reader of the table says."""
    try:
        return next(csv.reader(text, delimiter=separator), [])
    except csv.Error:
        return []


def repeated(names: Sequence[str]) -> list[str]:
    """Return the names that occur several times.

    >>> repeated(["id", "label", "id"])
    ['id']
    """
    return [name for name, count in Counter(names).items() if count > 1]
