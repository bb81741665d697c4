"""Reads the scalars of TensorBoard's event files: TFRecords of protocol buffers.

The messages are those of ``tensorflow/core/util/event.proto`` and ``framework/summary.proto``. Neither
TensorFlow nor TensorBoard is imported: few fields of four messages are all that is needed.
"""

import hashlib
import struct
from collections.abc import Iterator
from pathlib import Path

from tidemill.errors import DataError
from tidemill.training.tracking.foreign_runs.foreign_run import ForeignRun, Point, milliseconds
from tidemill.training.tracking.foreign_runs.protocol_buffers import BYTES, EIGHT, FOUR, VARINT, fields_of

__all__ = ["event_folders", "read_event_folder", "scalars"]

_FILES = "*tfevents*"
_LENGTH = struct.Struct("<QI")
_CHECKSUM = 4
_DTYPES = {1: "<f", 2: "<d"}
"""Types of a tensor with one number: DT_FLOAT, DT_DOUBLE."""


def event_folders(folder: Path) -> list[Path]:
    """Return the folders with event files: TensorBoard shows each as a run."""
    return sorted({file.parent for file in folder.rglob(_FILES) if file.is_file()})


def read_event_folder(folder: Path, name: str) -> ForeignRun:
    """Return the run whose event files lie in a folder.

    Raises:
        DataError: a file is no event file, or cannot be read.
    """
    digest, points = hashlib.sha256(), list[Point]()
    for file in sorted(folder.glob(_FILES)):
        try:
            content = file.read_bytes()
            points += scalars(content)
        except (OSError, ValueError, IndexError, struct.error) as error:
            raise DataError(
                f"{file} cannot be read as events of TensorBoard: {error}",
                hint="leave it out, or copy it again",
            ) from error
        digest.update(content)
    return ForeignRun(name, "tensorboard", folder, digest.hexdigest(), points)


def scalars(content: bytes) -> Iterator[Point]:
    """Yield the scalars of an event file; a last record that was not written to its end is left out.

    Raises:
        ValueError, IndexError, struct.error: it is no event file.
    """
    place = 0
    while place + _LENGTH.size <= len(content):
        length, _ = _LENGTH.unpack_from(content, place)
        begin = place + _LENGTH.size
        place = begin + length + _CHECKSUM
        if place > len(content):
            if begin == _LENGTH.size:
                raise ValueError("it does not begin with a record")
            return
        yield from _of_event(content[begin : begin + length])


def _of_event(event: bytes) -> Iterator[Point]:
    seconds, step, values = 0.0, 0, list[bytes]()
    for number, kind, value in fields_of(event):
        if (number, kind) == (1, EIGHT):
            [seconds] = struct.unpack("<d", value)
        elif (number, kind) == (2, VARINT):
            step = int.from_bytes(value[:8], "little", signed=True)  # int64: below 0 for some loggers
        elif (number, kind) == (5, BYTES):
            values += [one for field, _, one in fields_of(value) if field == 1]
    for one in values:
        tag, found = "", None
        for number, kind, value in fields_of(one):
            if (number, kind) == (1, BYTES):
                tag = value.decode()
            elif (number, kind) == (2, FOUR):
                [found] = struct.unpack("<f", value)
            elif (number, kind) == (8, BYTES):
                found = _of_tensor(value)
        if found is not None:
            yield Point(tag, found, step, milliseconds(seconds))


def _of_tensor(tensor: bytes) -> float | None:
    """Return the number of a tensor that has one; None of any other."""
    dtype, raw = 0, b""
    for number, kind, value in fields_of(tensor):
        if (number, kind) == (1, VARINT):
            dtype = int.from_bytes(value, "little")
        elif number in (4, 5, 6):  # as bytes, as floats, as doubles
            raw = value
    form = _DTYPES.get(dtype)
    if form is None or len(raw) != struct.calcsize(form):
        return None
    [found] = struct.unpack(form, raw)
    return float(found)
