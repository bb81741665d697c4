"""Make the prediction ids of a job: a row gets the same id each time it is scored."""

import os
import time

import numpy as np
import pyarrow as pa

from tidemill.errors import DataError

__all__ = ["new_job_id", "prediction_ids"]

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"  # Crockford's base 32, as in `tidemill.ids`
_CODES = np.frombuffer(_ALPHABET.encode(), np.uint8)
_PREFIX, _FRAGMENT, _ROW = "pred_", 4, 6  # characters of 5 bits


def new_job_id() -> str:
    """Return ``score_`` and 16 characters: 48 bits of milliseconds, then 30 random bits.

    >>> len(new_job_id())
    22
    """
    value = (time.time_ns() // 1_000_000) << 30 | int.from_bytes(os.urandom(4)) >> 2
    return "score_" + "".join(_ALPHABET[value >> shift & 31] for shift in range(75, -1, -5))


def prediction_ids(job: str, fragment: int, first: int, rows: int) -> pa.Array:
    """Return the ids of consecutive rows: as in `tidemill.ids`, with the row's place as the random part.

    Args:
        job: id of the job.
        fragment: number of the fragment.
        first: position of the first row in it.
        rows: how many.

    Raises:
        DataError: the job has over a million fragments, or the fragment over a billion rows.

    >>> prediction_ids("score_01jd3xq7c4k2m8aw", 2, 31, 2).to_pylist()
    ['pred_01jd3xq7c4k2m8aw000200000z', 'pred_01jd3xq7c4k2m8aw0002000010']
    """
    if fragment >= 32**_FRAGMENT or first + rows > 32**_ROW:
        raise DataError("there is more to score than one run has ids for", hint="score the input in parts")
    head = _PREFIX + job.removeprefix("score_")
    head += "".join(_ALPHABET[fragment >> shift & 31] for shift in range(5 * (_FRAGMENT - 1), -1, -5))
    text = np.empty((rows, len(head) + _ROW), np.uint8)
    text[:, : len(head)] = np.frombuffer(head.encode(), np.uint8)
    numbers = np.arange(first, first + rows, dtype=np.int64)
    for place in range(_ROW):
        text[:, len(head) + place] = _CODES[numbers >> 5 * (_ROW - 1 - place) & 31]
    offsets = np.arange(rows + 1, dtype=np.int32) * text.shape[1]
    return pa.StringArray.from_buffers(rows, pa.py_buffer(offsets), pa.py_buffer(text))
