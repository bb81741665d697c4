"""Read and write tables on the local disk, or in an object store through fsspec."""

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import unquote

from fsspec.implementations.local import LocalFileSystem

from tidemill.data.tables.folders_of_tables import is_part, refuse_table_format
from tidemill.errors import DataError, UsageError
from tidemill.files.atomic import replace_file
from tidemill.files.literal_paths import literal, split_pattern
from tidemill.files.remote_files import has_credentials, open_address

__all__ = ["FORMATS", "Place", "SourceFile", "find_files", "locate", "reaching", "table_format"]

FORMATS = {
    ".parquet": "parquet", ".pq": "parquet", ".parq": "parquet",
    ".csv": "csv", ".tsv": "csv", ".ndjson": "ndjson", ".jsonl": "ndjson",
}  # fmt: skip
"""Suffix → format. CSV and ndjson may be compressed: ``.csv.gz``."""

_MARKS = ("ETag", "etag", "LastModified", "last_modified", "mtime", "updated", "created")
_WILDCARD = re.compile(r"[*?\[]")
_NO_VALUE = "__HIVE_DEFAULT_PARTITION__"


@dataclass(frozen=True)
class Place:
    """A file or folder, which need not exist yet."""

    text: str
    """An absolute path, or an address with its protocol; also used in messages."""
    path: str
    """Within its file system."""
    files: Any
    """The file system, by fsspec."""

    @property
    def local(self) -> Path | None:
        """The path, if it is on this machine."""
        return Path(self.path) if isinstance(self.files, LocalFileSystem) else None

    def child(self, *names: str) -> "Place":
        """Return a place below this one."""
        rest = "/".join(names)
        return Place(f"{self.text}/{rest}", f"{self.path}/{rest}", self.files)

    def sibling(self, name: str) -> "Place":
        """Return a place beside this one."""
        return Place(
            f"{self.text.rpartition('/')[0]}/{name}", f"{self.path.rpartition('/')[0]}/{name}", self.files
        )

    @property
    def name(self) -> str:
        """The last part of its path."""
        return PurePosixPath(self.path).name

    def exists(self) -> bool:
        """Whether there is a file or folder."""
        with reaching(self):
            self.files.invalidate_cache()
            return bool(self.files.exists(self.path))

    def read(self) -> bytes | None:
        """Return the content of a file, or None if there is none."""
        with reaching(self):
            try:
                return bytes(self.files.cat_file(self.path))
            except FileNotFoundError:
                return None

    def write(self, content: bytes) -> None:
        """Write a file whole or not at all."""
        with reaching(self):
            if self.local is None:
                self.files.pipe_file(self.path, content)
                return
            replace_file(self.local, content)

    def names(self) -> list[str]:
        """Return the names of what is directly in a folder, sorted; nothing if there is none."""
        with reaching(self):
            self.files.invalidate_cache()
            try:
                found = self.files.ls(self.path, detail=False)
            except (FileNotFoundError, NotADirectoryError):
                return []
        return sorted(PurePosixPath(path).name for path in found if path.rstrip("/") != self.path)

    def remove(self) -> None:
        """Remove a file or a folder with all that is in it; nothing if there is none."""
        with reaching(self):
            if self.files.exists(self.path):
                self.files.rm(self.path, recursive=True)


@dataclass(frozen=True)
class SourceFile:
    """One file of the input, as it was found."""

    address: str
    """Absolute path, or address with its protocol."""
    format: str
    size: int
    """Bytes."""
    mark: str
    """Time or content tag: differs when the file has changed."""
    partitions: tuple[tuple[str, str | None], ...] = ()
    """Columns that its folders name (``date=2013-04-01``), and their values."""
    header: tuple[str, ...] = ()
    """Columns of a CSV file."""
    separator: str = ","
    """What separates the values of a CSV file."""
    nested: tuple[tuple[str, ...], ...] = ()
    """Paths of fields of objects that are columns, whose names join those of the path by ``_``."""

    def path(self, column: str) -> tuple[str, ...]:
        """Return the path of a column."""
        return next((path for path in self.nested if "_".join(path) == column), (column,))


def locate(text: str, root: Path) -> Place:
    """Return the place that ``text`` names; a relative path counts from ``root``.

    Raises:
        UsageError: it has a password in it, or no installed file system can reach such an address.
    """
    protocol, separator, rest = text.partition("://")
    if not separator or protocol in ("file", "local"):
        path = os.path.normpath(root / (rest if separator else text))
        return Place(path, path, LocalFileSystem())
    if has_credentials(text):
        raise UsageError(
            f"{re.sub(r'://[^/@]*@', '://', text)} has a user or password in its address",
            hint="credentials belong in the environment, such as AWS_ACCESS_KEY_ID",
        )
    files, path = open_address(text)
    return Place(text.rstrip("/"), path.rstrip("/"), files)


def table_format(path: str) -> str | None:
    """Return the format of a file by its name, or None if it is not a table.

    >>> table_format("a/flights.csv.gz"), table_format("a/readme.md")
    ('csv', None)
    """
    name = PurePosixPath(path).name.lower()
    found = FORMATS.get(PurePosixPath(name.removesuffix(".gz")).suffix)
    return None if found == "parquet" and name.endswith(".gz") else found


@contextmanager
def reaching(place: Place) -> Iterator[None]:
    """Translate any error that a file system raises inside the block; each has its own errors.

    Raises:
        DataError: names the place.
    """
    try:
        yield
    except (DataError, FileNotFoundError, NotADirectoryError):
        raise
    except Exception as error:
        hint = None if place.local else "check the address, the network, the credentials in the environment"
        raise DataError(
            f"{place.text} cannot be reached: {str(error) or type(error).__name__}", hint=hint
        ) from error


def find_files(place: Place) -> list[SourceFile]:
    """Return the tables at a place: the file itself, those below a folder, or those that a pattern matches.

    By name; what begins with ``.`` or ``_`` below the folder does not count.

    Raises:
        DataError: the place has no table, or cannot be reached.
    """
    with reaching(place):
        place.files.invalidate_cache()
        folder, rest = split_pattern(place.path) if place.local else ("", place.path)
        wildcard = _WILDCARD.search(rest)
        if wildcard and not place.files.exists(place.path):
            found = place.files.glob(f"{literal(folder)}{rest}", detail=True)
            root = f"{folder}{rest[: wildcard.start()]}".rpartition("/")[0]
        elif place.files.isfile(place.path):
            found, root = {place.path: place.files.info(place.path)}, place.path.rpartition("/")[0]
        else:
            found, root = place.files.find(place.path, detail=True), place.path
            refuse_table_format(place.text, (_below(path, root) for path in found))
        tables = [
            _source(place, path, info, kind, root)
            for path, given in sorted(found.items())
            if (kind := table_format(path)) and is_part(_below(path, root))
            if (info := _followed(place, path, given))["type"] == "file"
        ]
    if not tables:
        there = "there are no tables" if found else "there is nothing"
        raise DataError(
            f"{there} at {place.text}",
            hint="--input names parquet, CSV or ndjson files, folders of them, or a pattern",
        )
    return tables


def _followed(place: Place, path: str, info: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the details of a link's target: a listing has those of the link itself."""
    if not info.get("islink"):
        return info
    try:
        found: Mapping[str, Any] = place.files.info(path)
    except FileNotFoundError as error:
        raise DataError(
            f"{path} is a link to {info.get('destination')}, which is not there",
            hint="remove the link, or restore what it points to",
        ) from error
    return found


def _source(place: Place, path: str, info: Mapping[str, Any], kind: str, root: str) -> SourceFile:
    mark = next((str(info[name]) for name in _MARKS if name in info), "")
    address = path if place.local else str(place.files.unstrip_protocol(path))
    folders = PurePosixPath(path).relative_to(root).parts[:-1] if root else ()
    named = (folder.partition("=") for folder in folders if "=" in folder)
    partitions = tuple((key, None if value == _NO_VALUE else unquote(value)) for key, _, value in named)
    return SourceFile(address, kind, int(info["size"]), mark, partitions)


def _below(path: str, root: str) -> str:
    return str(PurePosixPath(path).relative_to(root)) if root else path
