"""Opens what an address with a protocol names, such as ``s3://bucket/orders.parquet``."""

import re
from typing import Any

from tidemill.errors import UsageError

__all__ = ["has_credentials", "open_address"]


def has_credentials(address: str) -> bool:
    """Return whether an address has a user or password in it.

    >>> has_credentials("ftp://me:secret@host/t.csv"), has_credentials("s3://bucket/t.csv")
    (True, False)
    """
    return re.search(r"://[^/@]*@", address) is not None


def open_address(address: str) -> tuple[Any, str]:
    """Return the file system of an address, and the path in it.

    Raises:
        UsageError: no installed package can reach such an address.

    >>> open_address("memory://lake/t.csv")[1]
    '/lake/t.csv'
    """
    import fsspec  # takes long

    protocol = address.partition("://")[0]
    try:
        files, path = fsspec.core.url_to_fs(address)
    except (ImportError, ValueError, OSError) as error:
        raise UsageError(
            f"{protocol}:// cannot be used here: {error}",
            hint=f"install the fsspec package for {protocol}, for example s3fs for s3 (tidemill[s3])",
        ) from error
    return files, str(path)
