"""Keep what takes long to find out about files, until they change."""

import hashlib
import json
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

from tidemill.files.atomic import replace_file

__all__ = ["digest_of", "remembered"]


def remembered(place: Path, digest: str, find_out: Callable[[], Any]) -> Any:
    """Return JSON values as they were found out before, or find them out and write them down.

    Args:
        place: the file that keeps them. Its folder is not made: without it nothing is kept.
        digest: of everything that they depend on, as `digest_of` gives it.
        find_out: returns the values, to be called only if those on file are of another digest.
    """
    with suppress(OSError, ValueError, KeyError, TypeError):  # no file, or a damaged one: as if never kept
        found = json.loads(place.read_bytes())
        if found["digest"] == digest:
            return found["value"]
    value = find_out()
    if place.parent.is_dir():
        with suppress(OSError):  # the next look takes longer then, and that is all
            replace_file(place, json.dumps({"digest": digest, "value": value}), flush=False)
    return value


def digest_of(about: str, root: Path, names: Iterable[str]) -> str:
    """Return a digest of a text, a folder's path, and the content of files in it, missing ones among them."""
    found = hashlib.sha256(f"{about}\0{root}".encode())
    for name in names:
        path = root / name
        content = path.read_bytes() if path.is_file() else b""
        found.update(f"\0{name}\0{path.exists()}\0{len(content)}\0".encode() + content)
    return found.hexdigest()
