"""Find the files of a `feast.FileSource`, on this machine or in a remote file system."""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from feast import FileSource
from feast.data_format import DeltaFormat, ParquetFormat
from feast.data_source import DataSource
from fsspec.implementations.local import LocalFileSystem

from tidemill.errors import FeatureError
from tidemill.files.literal_paths import literal, split_pattern
from tidemill.files.remote_files import open_address

__all__ = ["Address", "File", "locate", "reaching"]

_PARQUET = (".parquet", ".pq", ".parq")
_WILDCARD = re.compile(r"[*?\[]")
_LOCAL_MARKS = ("size", "mtime", "ino")
_REMOTE_MARKS = ("size", "ETag", "etag", "LastModified", "last_modified", "mtime", "updated", "created")
_READS = "this offline store reads parquet: a file, a folder, a pattern or a partitioned data set"
_S3 = ("s3", "s3a")


@dataclass(frozen=True)
class File:
    """One file as it was found."""

    path: str
    """Within its file system."""
    mark: tuple[str, ...]
    """Size, time and content tag: differ when the file has changed."""


@dataclass(frozen=True)
class Address:
    """A place in a file system: one file, a folder, or a pattern."""

    text: str
    """The address in messages, without secrets."""
    path: str
    """Within the file system."""
    files: Any = field(repr=False)
    """The file system, by fsspec."""
    cloud: Mapping[str, str] | None = field(default=None, repr=False)
    """Options for Polars' own S3 reader; None if Polars cannot read this address itself."""

    @property
    def is_local(self) -> bool:
        """Whether it is a path of this machine."""
        return isinstance(self.files, LocalFileSystem)

    @property
    def is_pattern(self) -> bool:
        """Whether it has wildcards and is not the name of an existing file."""
        return bool(_WILDCARD.search(self._parts[1])) and not self.exists()

    @property
    def names_a_file(self) -> bool:
        """Whether a new result there would be one file rather than a folder of files."""
        return self.path.lower().endswith(_PARQUET)

    @property
    def root(self) -> str:
        """The folder below which the pattern or the folder has its files."""
        folder, rest = self._parts
        match = _WILDCARD.search(rest) if self.is_pattern else None
        return f"{folder}{rest[: match.start()]}".rpartition("/")[0] if match else self.path

    @property
    def _parts(self) -> tuple[str, str]:
        """Split the path into the folder that exists and the rest, which may have wildcards."""
        return split_pattern(self.path) if self.is_local else ("", self.path)

    def exists(self) -> bool:
        """Whether there is a file or a folder with anything in it."""
        with reaching(self):
            self.files.invalidate_cache()
            return bool(self.files.exists(self.path))

    def is_folder(self) -> bool:
        """Whether there is a folder of that name."""
        with reaching(self):
            return bool(self.files.isdir(self.path))

    def address_of(self, path: str) -> str:
        """Return the address of ``path`` in this file system, for Polars and for messages."""
        return path if self.is_local else str(self.files.unstrip_protocol(path))

    def list_files(self) -> tuple[File, ...]:
        """Return the parquet files, by name; hidden ones and those whose names begin with ``_`` do not count.

        Raises:
            FeatureError: the file system cannot be reached, or it is a Delta table.
        """
        with reaching(self):
            self.files.invalidate_cache()
            if self.files.isfile(self.path):
                return (self._file(self.path, self.files.info(self.path)),)
            if self.is_pattern:
                folder, rest = self._parts
                found = self.files.glob(f"{literal(folder)}{rest}", detail=True)
            else:
                found = self.files.find(self.path, detail=True)
        root = PurePosixPath(self.root)
        if any(PurePosixPath(path).is_relative_to(root / "_delta_log") for path in found):
            raise FeatureError(f"{self.text} is a Delta table: rows in its files may be deleted", hint=_READS)
        return tuple(
            self._file(path, info)
            for path, info in sorted(found.items())
            if info["type"] == "file" and (self.is_pattern or _counts(PurePosixPath(path), root))
        )

    def _file(self, path: str, info: Mapping[str, Any]) -> File:
        marks = _LOCAL_MARKS if self.is_local else _REMOTE_MARKS
        return File(path, tuple(str(info[mark]) for mark in marks if mark in info))


def locate(source: DataSource, repo: Path | str | None) -> Address:
    """Return the address of ``source``; a relative path starts at the feature repository.

    Raises:
        FeatureError: it is not parquet, or no installed file system can reach the address.
    """
    if not isinstance(source, FileSource):
        raise FeatureError(
            f"source {source.name!r} is a {type(source).__name__}",
            hint="this offline store reads feast.FileSource parquet",
        )
    if not isinstance(source.file_format, ParquetFormat | None):
        kind = "a Delta table" if isinstance(source.file_format, DeltaFormat) else "no parquet"
        raise FeatureError(
            f"source {source.name!r} ({_shown(source.path)}) is {kind}",
            hint=_READS,
        )
    protocol, separator, rest = source.path.partition("://")
    if not separator or protocol in ("file", "local"):
        path = Path(rest if separator else source.path)
        full = str((Path(repo) if repo else Path()) / path)  # an absolute path stays what it is
        return Address(full, _plain_path(full), LocalFileSystem())
    return _remote(source, protocol)


@contextmanager
def reaching(address: Address) -> Iterator[None]:
    """Translate any error that a file system raises inside the block; each has its own errors.

    Raises:
        FeatureError: says which address.
    """
    try:
        yield
    except FeatureError:
        raise
    except Exception as error:
        reason = str(error) or type(error).__name__
        raise FeatureError(
            f"{address.text} cannot be reached: {reason}",
            hint="check the address, the network and the credentials in the environment"
            if not address.is_local
            else None,
        ) from error


def _remote(source: FileSource, protocol: str) -> Address:
    if re.search(r"://[^/@]*:[^/@]*@", source.path):
        raise FeatureError(
            f"source {_shown(source.name)!r} has a password in its address",
            hint="credentials belong in the environment, or in the connection_ref of the source",
        )
    credentials = source.resolve_credentials() or {}
    options: dict[str, Any] = {}
    cloud = None
    if protocol in _S3:
        options = _for_s3fs(source.s3_endpoint_override, credentials)
        cloud = _for_polars(source.s3_endpoint_override, credentials)
    files, path = open_address(source.path, f"source {source.name!r}", FeatureError, options)
    return Address(_shown(source.path), path, files, cloud)


def _for_s3fs(endpoint: str | None, credentials: Mapping[str, str]) -> dict[str, Any]:
    names = {"key": "AWS_ACCESS_KEY_ID", "secret": "AWS_SECRET_ACCESS_KEY", "token": "AWS_SESSION_TOKEN"}
    options: dict[str, Any] = {ours: credentials[name] for ours, name in names.items() if name in credentials}
    if endpoint:
        options["endpoint_url"] = endpoint
    if "AWS_DEFAULT_REGION" in credentials:
        options["client_kwargs"] = {"region_name": credentials["AWS_DEFAULT_REGION"]}
    return options


def _for_polars(endpoint: str | None, credentials: Mapping[str, str]) -> dict[str, str]:
    options = {name.lower(): value for name, value in credentials.items() if name.startswith("AWS_")}
    if endpoint:
        options |= {"aws_endpoint_url": endpoint}
        if endpoint.startswith("http://"):
            options |= {"aws_allow_http": "true"}
    return options


def _counts(path: PurePosixPath, root: PurePosixPath) -> bool:
    below = path.relative_to(root).parts if path.is_relative_to(root) else path.parts[-1:]
    hidden = any(part.startswith((".", "_")) and "=" not in part for part in below)
    return not hidden and path.suffix.lower() in _PARQUET


def _plain_path(path: str) -> str:
    return str(Path(path).absolute())


def _shown(path: str) -> str:
    """Return ``path`` without a user and password in it."""
    return re.sub(r"://[^/@]*@", "://", path)
