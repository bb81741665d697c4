"""The storage of compacted parts of the prediction log: the log's own folder, or an object store.

Segments are always local; ``stores.json`` in the log's folder names the stores that parts went to, so that
readers, which know only the folder, find them. It never holds credentials: S3 takes them from
``AWS_ACCESS_KEY_ID`` and its like, Google and Azure from their own variables.
"""

import os
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Protocol

import orjson

from tidemill.errors import ConfigError, ServingError
from tidemill.files.atomic import move_into_place, replace_file
from tidemill.files.remote_files import open_address
from tidemill.ids import new_id

__all__ = [
    "Folder",
    "Place",
    "Store",
    "current_place",
    "name_stores",
    "owner_of",
    "places_of",
    "stores_of",
]

_STORES = "stores.json"


class Place(Protocol):
    """Files below one address, by names with slashes."""

    def names(self, pattern: str) -> list[str]:
        """Return the names of the files that match a pattern with asterisks, in order."""

    def read(self, names: Iterable[str]) -> list[bytes | None]:
        """Return the contents of files, none for one that is not there."""

    def write(self, name: str, content: bytes) -> None:
        """Put a file there, whole or not at all, in place of one of the same name."""

    def put(self, local: Path, name: str) -> int:
        """Move a local file there, whole or not at all; return its size in bytes."""

    def delete(self, name: str) -> None:
        """Delete a file, if it is there."""

    def location(self, name: str) -> str:
        """Return where Polars finds a file."""

    @property
    def options(self) -> dict[str, str] | None:
        """Storage options for Polars to read from there."""


@dataclass(frozen=True)
class Folder:
    """A local folder."""

    root: Path

    def names(self, pattern: str) -> list[str]:
        """Return the names of the files that match a pattern with asterisks, in order."""
        return sorted(path.relative_to(self.root).as_posix() for path in self.root.glob(pattern))

    def read(self, names: Iterable[str]) -> list[bytes | None]:
        """Return the contents of files, none for one that is not there."""
        return [_content(self.root / name) for name in names]

    def write(self, name: str, content: bytes) -> None:
        """Put a file there, flushed to the disk, in place of one of the same name."""
        replace_file(self.root / name, content)

    def put(self, local: Path, name: str) -> int:
        """Move a local file there, flushed to the disk."""
        target = self.root / name
        target.parent.mkdir(parents=True, exist_ok=True)
        move_into_place(local, target)
        return target.stat().st_size

    def delete(self, name: str) -> None:
        """Delete a file, if it is there."""
        (self.root / name).unlink(missing_ok=True)

    def location(self, name: str) -> str:
        """Return where Polars finds a file."""
        return str(self.root / name)

    @property
    def options(self) -> dict[str, str] | None:
        """No options: the local file system needs none."""
        return None


@dataclass(frozen=True)
class Store:
    """An object store: ``s3://bucket/path``, ``gs://…``, ``az://…``."""

    address: str
    endpoint: str | None = None
    """Of an S3-compatible store; default: Amazon's."""

    def names(self, pattern: str) -> list[str]:
        """Return the names of the files that match a pattern with asterisks, in order."""
        with self._failing():
            found = self._files.glob(f"{self._path}/{pattern}")
        return sorted(str(path)[len(self._path) + 1 :] for path in found)

    def read(self, names: Iterable[str]) -> list[bytes | None]:
        """Return the contents of files, fetched at once, none for one that is not there."""
        paths = [f"{self._path}/{name}" for name in names]
        if not paths:
            return []
        with self._failing():
            found = self._files.cat(paths, on_error="return")
            for each in found.values():
                if isinstance(each, Exception) and not isinstance(each, FileNotFoundError):
                    raise each
        return [found[path] if isinstance(found[path], bytes) else None for path in paths]

    def write(self, name: str, content: bytes) -> None:
        """Put an object there: stores replace whole objects."""
        with self._failing():
            self._files.pipe_file(f"{self._path}/{name}", content)

    def put(self, local: Path, name: str) -> int:
        """Upload a local file and delete it."""
        size = local.stat().st_size
        with self._failing():
            self._files.put_file(str(local), f"{self._path}/{name}")
        local.unlink()
        return size

    def delete(self, name: str) -> None:
        """Delete an object, if it is there."""
        with self._failing():
            try:
                self._files.rm_file(f"{self._path}/{name}")
            except FileNotFoundError:
                return

    def location(self, name: str) -> str:
        """Return where Polars finds an object."""
        return f"{self.address.rstrip('/')}/{name}"

    @property
    def options(self) -> dict[str, str] | None:
        """The endpoint, if it is not the provider's own."""
        if self.endpoint is None:
            return None
        plain = {"aws_allow_http": "true"} if self.endpoint.startswith("http://") else {}
        return {"aws_endpoint_url": self.endpoint, **plain}

    @property
    def _files(self) -> Any:
        return _file_system(self.address, self.endpoint)[0]

    @property
    def _path(self) -> str:
        return _file_system(self.address, self.endpoint)[1]

    @contextmanager
    def _failing(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:  # each protocol's client raises its own errors
            raise ServingError(
                f"the log's store {self.address} cannot be used: {error or type(error).__name__}",
                hint="check the address, the network and the credentials in the environment",
            ) from error


@cache
def _file_system(address: str, endpoint: str | None) -> tuple[Any, str]:
    options: dict[str, Any] = {"use_listings_cache": False}
    if endpoint is not None:
        options["endpoint_url"] = endpoint
    files, path = open_address(address, "serve.log.store", ConfigError, options)
    return files, path.rstrip("/")


def owner_of(root: Path) -> str:
    """Return the id of a log's folder, which is in the names of its parts; made at the first call."""
    return str(_stores(root, make=True)["owner"])


def places_of(root: Path) -> list[Place]:
    """Return all places that have parts of the log at ``root``, its own folder first."""
    return [Folder(root), *stores_of(root)]


def stores_of(root: Path) -> list[Store]:
    """Return the object stores that have parts of the log at ``root``."""
    return [Store(each["address"], each["endpoint"]) for each in _stores(root)["stores"]]


def name_stores(root: Path, stores: Iterable[Store]) -> None:
    """Record that these object stores, and no others, have parts of the log."""
    named = [{"address": each.address, "endpoint": each.endpoint} for each in stores]
    replace_file(root / _STORES, orjson.dumps(_stores(root, make=True) | {"stores": named}))


def current_place(root: Path, store: str | None, endpoint: str | None = None) -> Place:
    """Return the place of new parts, and record it for readers.

    Args:
        root: the folder of the log.
        store: address of an object store; none for the folder itself.
        endpoint: of an S3-compatible store.

    Raises:
        ConfigError: the address has a password in it, or its protocol is not installed.
    """
    if store is None:
        return Folder(root)
    if re.search(r"://[^/@]*@", store):
        raise ConfigError(
            "serve.log.store has a user or a password in its address",
            hint="credentials belong in the environment",
        )
    _file_system(store, endpoint)
    known = _stores(root, make=True)
    entry = {"address": store, "endpoint": endpoint}
    if entry not in known["stores"]:
        others = [each for each in known["stores"] if each["address"] != store]
        replace_file(root / _STORES, orjson.dumps(known | {"stores": [*others, entry]}))
    return Store(store, endpoint)


def _stores(root: Path, make: bool = False) -> dict[str, Any]:
    content = _content(root / _STORES)
    if content is not None:
        found: dict[str, Any] = orjson.loads(content)
        return found
    known = {"owner": new_id("log"), "stores": []}
    if make:
        root.mkdir(parents=True, exist_ok=True)
        own = root / f".{known['owner']}"
        own.write_bytes(orjson.dumps(known))
        try:
            os.link(own, root / _STORES)  # unlike a rename, it never replaces another process's file
        except FileExistsError:
            return _stores(root)
        finally:
            own.unlink()
    return known


def _content(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None
