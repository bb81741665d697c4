"""Fetches a table from an object store, such as S3, into a local folder, in pieces."""

import re
from pathlib import Path, PurePosixPath
from typing import Any

from tidemill.data.tables.folders_of_tables import is_part, refuse_table_format
from tidemill.errors import DataError, UsageError
from tidemill.files.remote_files import has_credentials, open_address

__all__ = ["fetch_table", "is_object_store"]

_TABLES = (
    ".parquet", ".pq", ".csv", ".csv.gz", ".tsv", ".tsv.gz", ".ndjson", ".ndjson.gz", ".jsonl", ".jsonl.gz",
    ".arrow", ".feather", ".ipc",
)  # fmt: skip


def is_object_store(address: str) -> bool:
    """Return whether an address is one of an object store, as ``s3://bucket/orders.parquet`` is.

    >>> is_object_store("s3://bucket/t.csv"), is_object_store("sqlite:///t.db::t"), is_object_store("t.csv")
    (True, False, False)
    """
    protocol, separator, _ = address.partition("://")
    if not separator or "::" in address:
        return False
    from fsspec.registry import known_implementations

    return protocol in known_implementations


def fetch_table(address: str, scratch: Path) -> Path:
    """Copy the file, the folder or what a pattern matches; return what can be opened in its place.

    Credentials come from the environment, as for DVC's remotes: AWS_ACCESS_KEY_ID, AWS_ENDPOINT_URL, …

    Raises:
        UsageError: no file system for such addresses is installed.
        DataError: there is no table, or the store cannot be reached.
    """
    if has_credentials(address):
        raise UsageError(
            "--data has a user or password in it, and would be written into params.yaml, which goes into git",
            hint="leave it out, and put credentials into the environment, such as AWS_ACCESS_KEY_ID",
        )
    files, path = open_address(address)
    target = scratch / "fetched"
    try:
        found = _tables(files, path)
        for place in found:
            copy = target / PurePosixPath(place).relative_to(_root(path, found))
            copy.parent.mkdir(parents=True, exist_ok=True)
            files.get_file(place, str(copy))
    except DataError:
        raise
    except Exception as error:  # each file system has errors of its own
        raise DataError(
            f"{address} cannot be read: {str(error) or type(error).__name__}",
            hint="check the address, the network, and the credentials in the environment",
        ) from error
    if not found:
        raise DataError(
            f"{address} has no table", hint=f"name a file, or a folder of files: {', '.join(_TABLES)}"
        )
    return next(target.iterdir()) if found == [path] else target


def _tables(files: Any, path: str) -> list[str]:
    """Return the paths of the tables that an address means."""
    if files.isfile(path):
        return [path]
    pattern = re.search(r"[*?\[]", path)
    everything = files.glob(path) if pattern else files.find(path)
    root = PurePosixPath(path[: pattern.start()].rpartition("/")[0] if pattern else path)
    below = {one: str(PurePosixPath(one).relative_to(root)) for one in sorted(everything)}
    refuse_table_format(path, below.values())
    return [one for one, name in below.items() if name.lower().endswith(_TABLES) and is_part(name)]


def _root(path: str, found: list[str]) -> str:
    """Return the folder that paths are kept relative to."""
    if found == [path]:
        return str(PurePosixPath(path).parent)
    fixed = re.split(r"[*?\[]", path)[0]
    return str(PurePosixPath(fixed).parent if fixed != path and not fixed.endswith("/") else fixed)
