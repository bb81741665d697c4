"""Checks and sets DVC's remote, the second copy of the data: a folder, S3, an SSH host, or another kind.

Credentials never go into ``.dvc/config``, which is in git: S3 reads them from ``AWS_ACCESS_KEY_ID`` and
similar variables, SSH from the agent, ``~/.ssh/config`` and its keys.
"""

from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from tidemill.data.repository.private_dvc import Config, RelPath, file_systems
from tidemill.errors import DataError, UsageError

__all__ = ["Remote", "parse_remote", "set_remote"]

_FOLDER = "local"
_EXTRAS = {"s3": "tidemill[s3]", "ssh": "tidemill[ssh]"}
_CONNECT_SECONDS = 10


@dataclass(frozen=True)
class Remote:
    """A place for the second copy of the data."""

    address: str
    """A folder, or an address that DVC understands: ``s3://bucket/path``, ``ssh://user@host:port/path``."""
    endpoint_url: str | None = None
    """Endpoint of an S3-compatible store other than Amazon's."""

    @property
    def scheme(self) -> str:
        """``s3``, ``ssh``, …; ``local`` for a folder.

        >>> Remote("s3://bucket/data").scheme, Remote("../remote").scheme
        ('s3', 'local')
        """
        scheme, separator, _ = self.address.partition("://")
        return scheme.lower() if separator else _FOLDER

    @property
    def folder(self) -> Path | None:
        """Return the folder, or None if the remote is not a folder."""
        return Path(self.address).resolve() if self.scheme == _FOLDER else None


def parse_remote(address: str | Path, endpoint_url: str | None = None) -> Remote:
    """Return the remote at ``address``.

    Args:
        address: a folder, or an address of DVC's.
        endpoint_url: of an S3-compatible store.

    Raises:
        UsageError: DVC does not support the address, it contains a password, or it cannot have an endpoint.
        DataError: the package that DVC needs for it is not installed.

    >>> parse_remote("s3://bucket/flights", "http://minio:9000").scheme
    's3'
    >>> parse_remote("s3://key:secret@bucket")
    Traceback (most recent call last):
    tidemill.errors.UsageError: the address of the remote carries a password, and git would keep it
    """
    remote = Remote(str(address), endpoint_url)
    for url in (remote.address if remote.folder is None else "", endpoint_url or ""):
        if urlsplit(url).password is not None:
            raise UsageError(
                "the address of the remote carries a password, and git would keep it",
                hint="S3: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY; SSH: use a key or an agent",
            )
    if endpoint_url is not None and remote.scheme != "s3":
        raise UsageError(
            f"{remote.address} has no endpoint", hint="--endpoint-url goes with s3://bucket/path"
        )
    if remote.scheme not in file_systems:
        raise UsageError(
            f"{remote.address}: DVC does not support this kind of remote",
            hint="name a folder, s3://bucket/path or ssh://user@host/path",
        )
    if remote.folder is None and not urlsplit(remote.address).netloc:
        raise UsageError(
            f"{remote.address} names no bucket and no host", hint="write it like s3://bucket/path"
        )
    _require_package(remote)
    return remote


def set_remote(root: Path, remote: Remote) -> None:
    """Make ``remote`` the default in ``.dvc/config``; a folder beside or below ``root`` becomes relative."""
    with Config(str(root / ".dvc")).edit("repo") as config:
        config["core"]["remote"] = remote.scheme
        folder = remote.folder
        if folder is not None:
            near = folder.is_relative_to(root.parent)
            config["remote"][_FOLDER] = {"url": RelPath(str(folder)) if near else str(folder)}
            return
        section: dict[str, object] = {"url": remote.address}
        if remote.scheme == "s3":
            section["connect_timeout"] = _CONNECT_SECONDS
        if remote.endpoint_url is not None:
            section["endpointurl"] = remote.endpoint_url
        config["remote"][remote.scheme] = section


def _require_package(remote: Remote) -> None:
    try:
        file_systems[remote.scheme]
    except ImportError as error:
        package = _EXTRAS.get(remote.scheme, f"dvc[{remote.scheme}]")
        raise DataError(f"{remote.address}: {error}", hint=f"pip install '{package}'") from error
