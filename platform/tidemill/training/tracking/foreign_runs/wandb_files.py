"""Reads the binary file of a run of Weights & Biases, ``run-ID.wandb``: its settings and its whole history.

The file is a log as LevelDB writes it (``doc/log_format.md`` there) behind a header of its own; the records
are messages of ``wandb/proto/wandb_internal.proto``. wandb itself is not needed.
"""

import hashlib
import json
import struct
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tidemill.training.tracking.foreign_runs.foreign_run import (
    ForeignRun,
    Point,
    flat,
    milliseconds,
    numbers,
    run_tags,
    step_number,
)
from tidemill.training.tracking.foreign_runs.protocol_buffers import fields_of

__all__ = ["read_wandb_file"]

_HEADER, _VERSION = b":W&B", 0
_PIECE = struct.Struct("<IHB")
"""Before each piece of a record: checksum, length, and which piece it is."""
_BLOCK = 32768
_WHOLE, _FIRST, _LAST = 1, 2, 4
_HISTORY, _SUMMARY, _CONFIG, _RUN = 2, 3, 5, 17
"""Fields of a record: which of them it has says what it is."""
_LABEL = 10
"""Field of a run's tags; 4 is its config, 8 its name, 9 its notes, 21 its commit."""


def read_wandb_file(file: Path, name: str) -> ForeignRun:
    """Return the run of a file; a last record that was not written to its end is left out.

    Args:
        file: the file.
        name: of the run, if it was given none.

    Raises:
        ValueError, TypeError, IndexError, struct.error: it is no such file.
    """
    content = file.read_bytes()
    config, summary, points, commit = dict[str, Any](), dict[str, Any](), list[Point](), None
    tags = dict[str, str]()
    for record in _records(content):
        for number, _, value in fields_of(record):
            if number == _HISTORY:
                points += _logged(dict(_items(value)))
            elif number == _SUMMARY:
                summary |= _items(value)
            elif number == _CONFIG:
                config |= _items(value)
            elif number == _RUN:
                given = [(field, inner) for field, _, inner in fields_of(value)]
                about = dict(given)
                labels = [inner.decode() for field, inner in given if field == _LABEL]
                tags = run_tags(labels=labels, note=about.get(9, b"").decode())
                config |= _items(about.get(4, b""))
                name = about.get(8, b"").decode() or name
                commit = next(
                    (one.decode() for field, _, one in fields_of(about.get(21, b"")) if field == 2), None
                )
    logged, end = {one.metric for one in points}, points[-1] if points else Point("", 0.0, 0, 0)
    points += (one for one in numbers(summary, end.step, end.milliseconds) if one.metric not in logged)
    params = {key: str(value) for key, value in flat(config) if not key.startswith("_")}
    return ForeignRun(
        name, "wandb", file.parent, hashlib.sha256(content).hexdigest(), points, params, commit, tags
    )


def _records(content: bytes) -> Iterator[bytes]:
    """Yield the records of a file; one may be in pieces over several blocks."""
    if content[:4] != _HEADER or content[6:7] != bytes([_VERSION]):
        raise ValueError(f"it does not begin with {_HEADER.decode()} and version {_VERSION}")
    place, record = len(_HEADER) + 3, b""
    while place + _PIECE.size <= len(content):
        if (left := _BLOCK - place % _BLOCK) < _PIECE.size:
            place += left  # the end of a block has no room for a piece
            continue
        _, length, which = _PIECE.unpack_from(content, place)
        begin, place = place + _PIECE.size, place + _PIECE.size + length
        if place > len(content):
            return
        record = content[begin:place] if which in (_WHOLE, _FIRST) else record + content[begin:place]
        if which in (_WHOLE, _LAST):
            yield record


def _items(message: bytes) -> Iterator[tuple[str, Any]]:
    """Yield dotted name and value of what a history, a summary or a config sets."""
    for number, _, item in fields_of(message):
        if number != 1:
            continue
        parts = [(field, inner) for field, _, inner in fields_of(item)]
        key = ".".join(inner.decode() for field, inner in parts if field in (1, 2) and inner)
        texts = [inner for field, inner in parts if field == 16]
        if not texts:
            raise ValueError(f"the value of {key} is not written as JSON")
        yield key, json.loads(texts[-1])


def _logged(values: Mapping[str, Any]) -> Iterator[Point]:
    at, step = milliseconds(float(values.get("_timestamp", 0))), step_number(float(values.get("_step", 0)))
    return numbers(values, step, at)
