"""Cuts a text file (CSV, ndjson) into pieces that begin and end with whole rows. Pure, over byte streams."""

import gzip
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np
import numpy.typing as npt

__all__ = ["BLOCK", "TextPiece", "cut", "opened", "rows_of"]

BLOCK = 16 * 2**20
"""Bytes of a piece, roughly."""
_CHUNK = 4 * 2**20
_NEWLINE, _QUOTE = 10, 34


@dataclass(frozen=True)
class TextPiece:
    """A stretch of a file, in bytes before compression."""

    start: int
    end: int
    lines: int
    """Line ends in it that are not inside quotes."""


def opened(file: BinaryIO, address: str) -> BinaryIO:
    """Return the stream of a file's text: what is compressed is unpacked on the way."""
    return gzip.open(file) if address.endswith(".gz") else file  # type: ignore[return-value]


def cut(stream: BinaryIO, *, quoted: bool, block: int = BLOCK) -> list[TextPiece]:
    r"""Return the pieces of a stream, one after the other, read in chunks.

    Args:
        stream: from its beginning.
        quoted: whether a line end inside double quotes belongs to a value, as in CSV.
        block: bytes of a piece; it goes on to the end of the line.

    >>> import io
    >>> cut(io.BytesIO(b'a,"x\ny"\nb,z\n'), quoted=True, block=3)
    [TextPiece(start=0, end=8, lines=1), TextPiece(start=8, end=12, lines=1)]
    """
    pieces: list[TextPiece] = []
    start = position = lines = inside = 0
    last = b""
    while chunk := stream.read(_CHUNK):
        ends, inside = _line_ends(chunk, inside, quoted)
        told = 0
        while (reach := start + block - position) <= len(chunk):
            first = int(np.searchsorted(ends, max(reach - 1, 0)))
            if first == len(ends):
                break
            end = position + int(ends[first]) + 1
            pieces.append(TextPiece(start, end, lines + first + 1 - told))
            start, lines, told = end, 0, first + 1
        lines += len(ends) - told
        position += len(chunk)
        last = chunk[-1:]
    if position > start:
        pieces.append(TextPiece(start, position, lines + (last != b"\n")))
    return pieces


def rows_of(stream: BinaryIO, piece: TextPiece) -> bytes:
    """Return the bytes of a piece; a stream that cannot jump is read up to it."""
    stream.seek(piece.start)
    return stream.read(piece.end - piece.start)


def _line_ends(chunk: bytes, inside: int, quoted: bool) -> tuple[npt.NDArray[np.int64], int]:
    """Return where rows end in a chunk, and whether (1) its end is inside quotes."""
    content = np.frombuffer(chunk, np.uint8)
    ends = np.flatnonzero(content == _NEWLINE)
    quotes = np.flatnonzero(content == _QUOTE) if quoted and (inside or b'"' in chunk) else ()
    if not len(quotes):
        return (ends[:0] if inside else ends), inside
    before = np.searchsorted(quotes, ends) + inside
    return ends[before % 2 == 0], (inside + len(quotes)) % 2
