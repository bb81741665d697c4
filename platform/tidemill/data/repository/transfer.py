"""Copies content between DVC's cache and its remote."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fsspec.callbacks import Callback

from tidemill.data.repository.dvc_command import Tell, retry_while_locked
from tidemill.data.repository.private_dvc import DvcException, HashInfo, Repo
from tidemill.data.repository.repository_setup import open_dvc
from tidemill.errors import DataError
from tidemill.plurals import counted

__all__ = ["bring_to_cache", "copy_to_remote", "remote_errors"]

_CLIENTS = frozenset(
    {"aiobotocore", "aiohttp", "asyncssh", "azure", "boto3", "botocore", "google", "s3fs", "sshfs"}
)
_MEGABYTE = 1e6


@contextmanager
def remote_errors(message: str, hint: str) -> Iterator[None]:
    """Turn errors of DVC, the operating system and the clients of remotes into a `DataError`.

    Raises:
        DataError: the message is ``message`` and the original error's.
    """
    try:
        yield
    except (DvcException, OSError, ImportError) as error:
        raise DataError(f"{message}: {_words(error)}", hint=hint) from error
    except Exception as error:
        if type(error).__module__.partition(".")[0] not in _CLIENTS:
            raise
        raise DataError(f"{message}: {_words(error)}", hint=hint) from error


def copy_to_remote(root: Path, revision: str, tell: Callable[[str], None], patience: float) -> None:
    """Copy the data of the committed version to the remote, and data that could not be copied before.

    Raises:
        DataError: the copy failed; the version stays, and the next call tries again.
    """
    with (
        remote_errors(
            f"{root}: version {revision[:8]} is committed, but not copied to the remote",
            "check the remote (`dvc remote list`; `dvc push` tells more) and run again",
        ),
        open_dvc(root) as repo,
    ):
        pushed = retry_while_locked(root, repo.push, tell, patience)
    if pushed:
        tell(f"{counted(pushed, 'new file')} copied to the remote")


def bring_to_cache(repo: Repo, hashes: Sequence[HashInfo], tell: Tell, size: int | None) -> None:
    """Copy content that the cache lacks from the remote, as far as the remote has it. Needs DVC's lock.

    Args:
        repo: the repository.
        hashes: hashes of files, or of folders with all their files.
        tell: the callback for progress.
        size: total bytes, if known.

    Raises:
        The errors of the remote's client, see `remote_errors`.
    """
    for legacy, cache in ((False, repo.cache.local), (True, repo.cache.legacy)):
        name = "md5-dos2unix" if legacy else "md5"
        wanted = {one for one in hashes if one.name == name}
        if wanted:
            remote = repo.cloud.get_remote_odb(None, "fetch", hash_name=name)
            # Without the index of the remote's content, which may be outdated.
            repo.cloud.transfer(
                remote, cache, wanted, cache_odb=cache, verify=remote.verify, callback=_Watch(tell, size)
            )


class _Watch(Callback):  # type: ignore[misc]
    """Reports the numbers of copied files and bytes."""

    def __init__(self, tell: Tell, size: int | None) -> None:
        super().__init__()
        self._tell, self._size, self._bytes = tell, size, 0

    def call(self, hook_name: str | None = None, **_context: Any) -> None:
        of = "" if self._size is None else f" of {self._size / _MEGABYTE:,.1f}"
        self._tell("fetching", f"{self._bytes / _MEGABYTE:,.1f}{of} MB", self.value, self.size)

    def branched(self, path_1: str, path_2: str, **_options: Any) -> Callback:
        return _Bytes(self)

    def add(self, count: int) -> None:
        self._bytes += count
        self.call()


class _Bytes(Callback):  # type: ignore[misc]
    """Counts the copied bytes of one file."""

    def __init__(self, watch: _Watch) -> None:
        super().__init__()
        self._watch, self._seen = watch, 0

    def call(self, hook_name: str | None = None, **_context: Any) -> None:
        self._watch.add(self.value - self._seen)
        self._seen = self.value


def _words(error: Exception) -> str:
    said = str(error).strip() or type(error).__name__
    cause = error.__cause__ or error.__context__
    return f"{said} ({cause})" if cause is not None and str(cause).strip() not in ("", said) else said
