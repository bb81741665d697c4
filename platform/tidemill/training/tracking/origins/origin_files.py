"""Keeps what runs are made from, and their patches, as files of the project named by their SHA-256.

Runs of the same code, data and environment share one record. A run's tag holds its name, so that a record
that was changed is not taken for the run's.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tidemill.files.atomic import replace_file

__all__ = ["FORMAT", "keep_origin", "origin_place", "read_origin", "read_origin_of", "read_patch"]

FORMAT = 1


def keep_origin(home: Path, origin: Mapping[str, Any], patch: bytes) -> str:
    """Put a record and its patch on file unless they are there; return the record's SHA-256.

    Raises:
        OSError: they cannot be written.

    >>> import tempfile
    >>> home = Path(tempfile.mkdtemp())
    >>> name = keep_origin(home, {"format": 1, "commit": "4f1d"}, b"")
    >>> read_origin(home, name), read_origin(home, "0" * 64)
    ({'commit': '4f1d', 'format': 1}, None)
    """
    content = json.dumps(origin, sort_keys=True).encode()
    name = hashlib.sha256(content).hexdigest()
    _keep(origin_place(home, name), content)
    if patch:
        _keep(_patch_place(home, hashlib.sha256(patch).hexdigest()), patch)
    return name


def read_origin(home: Path, name: str) -> dict[str, Any] | None:
    """Return a record by its SHA-256; None where it is not on file, or was changed."""
    content = _read(origin_place(home, name), name)
    if content is None:
        return None
    found: dict[str, Any] = json.loads(content)
    return found


def read_patch(home: Path, name: str) -> bytes | None:
    """Return a patch by its SHA-256; None where it is not on file, or was changed."""
    return _read(_patch_place(home, name), name)


def origin_place(home: Path, name: str) -> Path:
    """Return the file of a record."""
    return home / "origins" / f"{name}.json"


def _patch_place(home: Path, name: str) -> Path:
    return home / "origins" / f"{name}.patch"


def _keep(place: Path, content: bytes) -> None:
    if not place.exists():
        replace_file(place, content, flush=False)


def _read(place: Path, name: str) -> bytes | None:
    try:
        content = place.read_bytes()
    except OSError:
        return None
    return content if hashlib.sha256(content).hexdigest() == name else None


def read_origin_of(home: Path, name: str | None) -> tuple[dict[str, Any] | None, bytes, str | None]:
    """Return a run's record, its patch, and what of them cannot be read.

    Args:
        home: the project's folder ``.tidemill``.
        name: the record's SHA-256 of the run's tags; None for a run without.
    """
    if name is None:
        return None, b"", None
    origin = read_origin(home, name)
    if origin is None:
        return (
            None,
            b"",
            f"{origin_place(home, name)} is missing or was changed: bring it from where the run was",
        )
    patch = read_patch(home, origin["patch"]) if origin["patch"] else b""
    if patch is None:
        return origin, b"", f"{_patch_place(home, origin['patch'])} is missing or was changed"
    return origin, patch, None
