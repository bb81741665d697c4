"""Checks that the path of a project can be written down."""

import os
from pathlib import Path

from tidemill.errors import UsageError

__all__ = ["check_folder_name", "shown_name"]


def check_folder_name(folder: Path) -> None:
    """Refuse a folder whose path is not in UTF-8, as no engine and no record can hold it.

    Raises:
        UsageError: it is not.
    """
    try:
        str(folder).encode()
    except UnicodeEncodeError as error:
        raise UsageError(
            f"the project's path is not in UTF-8: {shown_name(folder)}",
            hint="rename the folder, and run the command there again",
        ) from error


def shown_name(path: Path | str) -> str:
    """Return a path for messages, with bytes that are not UTF-8 as escapes.

    >>> print(shown_name(Path("l" + chr(0xDCE9) + "tin")))
    l\\xe9tin
    """
    return os.fsencode(path).decode(errors="backslashreplace")
