"""Opens what an address with a protocol names, such as ``s3://bucket/orders.parquet``."""

import re
from collections.abc import Mapping
from typing import Any

from tidemill.errors import TidemillError, UsageError

__all__ = ["has_credentials", "open_address"]


def has_credentials(address: str) -> bool:
    """Return whether an address has a user or password in it.

    >>> has_credentials("ftp://me:secret@host/t.csv"), has_credentials("s3://bucket/t.csv")
    (True, False)
    """
    return re.search(r"://[^/@]*@", address) is not None


def open_address(
    address: str,
    what: str = "",
    fails: type[TidemillError] = UsageError,
    options: Mapping[str, object] | None = None,
) -> tuple[Any, str]:
    """Return the file system of an address, and the path in it.

    Args:
        address: with a protocol that fsspec knows.
        what: names the setting or the object that has the address, in the message.
        fails: the error to raise.
        options: of the file system, such as ``endpoint_url``.

    Raises:
        TidemillError: no installed package can reach such an address; of the class ``fails``.

    >>> open_address("memory://lake/t.csv")[1]
    '/lake/t.csv'
    """
    import fsspec  # takes long

    protocol = address.partition("://")[0]
    try:
        files, path = fsspec.core.url_to_fs(address, **(options or {}))
    except (ImportError, ValueError, OSError) as error:
        raise fails(
            f"{what}{': ' if what else ''}{protocol}:// cannot be used here: {error}",
            hint=f"install the fsspec package for {protocol}, for example s3fs for s3 or gcsfs for gs",
        ) from error
    return files, str(path)
