"""Opens archives in files and in object stores; what is written has its name only when it is whole."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tidemill.errors import UsageError
from tidemill.files.atomic import replacing
from tidemill.files.remote_files import has_credentials, open_address

__all__ = ["archive_written", "opened_archive", "refuse_credentials"]


def refuse_credentials(place: str) -> None:
    """Check that an address has no password, which would be recorded.

    Raises:
        UsageError: it has one.
    """
    if has_credentials(place):
        raise UsageError(
            "the address of the backup has a user or a password in it",
            hint="credentials belong in the environment, such as AWS_ACCESS_KEY_ID",
        )


@contextmanager
def archive_written(place: str) -> Iterator[Any]:
    """Give a file to write an archive to; it gets its name when the block succeeds, or is dropped.

    Args:
        place: a path, or an address such as ``s3://bucket/backup.tar.gz``.

    Raises:
        UsageError: there is something of this name already, or it cannot be written.
    """
    refuse_credentials(place)
    if "://" in place:
        with _object_written(place) as sink:
            yield sink
        return
    path = Path(place)
    if path.exists():
        raise _taken(place)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path, mode=0o600) as draft, draft.open("wb") as sink:
            yield sink
    except OSError as error:
        raise UsageError(
            f"the backup cannot be written to {place}: {error.strerror or error}",
            hint="choose a place with room that can be written",
        ) from error


@contextmanager
def opened_archive(place: str) -> Iterator[Any]:
    """Give an archive to read.

    Raises:
        UsageError: there is none, or it cannot be read.
    """
    refuse_credentials(place)
    if "://" in place:
        files, path = open_address(place, options={"use_listings_cache": False})
        with _failing(place):
            source = files.open(path, "rb", cache_type="readahead")
    else:
        if Path(place).is_fifo():  # which waits for somebody who writes
            raise UsageError(f"the backup {place} is a named pipe, not a file", hint="name a file")
        try:
            source = Path(place).open("rb")  # noqa: SIM115 - closed below
        except OSError as error:
            raise UsageError(
                f"the backup {place} cannot be read: {error.strerror or error}", hint="check its name"
            ) from error
    with source:
        yield source


@contextmanager
def _object_written(place: str) -> Iterator[Any]:
    files, path = open_address(place, options={"use_listings_cache": False})
    with _failing(place):
        if files.exists(path):
            raise _taken(place)
        sink = files.open(path, "wb", autocommit=False)
    try:
        yield sink
        with _failing(place):
            sink.close()
            sink.commit()
    except BaseException:
        sink.discard()
        sink.closed = True  # or it would write what it holds when it is forgotten
        raise


@contextmanager
def _failing(place: str) -> Iterator[None]:
    try:
        yield
    except UsageError:
        raise
    except Exception as error:  # each protocol's client raises its own errors
        raise UsageError(
            f"{place} cannot be used: {error or type(error).__name__}",
            hint="check the address, the network and the credentials in the environment",
        ) from error


def _taken(place: str) -> UsageError:
    return UsageError(f"there is already something at {place}", hint="give each backup a name of its own")
