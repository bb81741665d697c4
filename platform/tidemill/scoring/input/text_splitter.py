"""Split a text file (CSV, ndjson) into pieces of whole rows. Pure, over byte streams.

Polars and Arrow read a CSV file from its beginning and do not say where its rows are. A job needs that before
it starts: workers read pieces at once, a killed job goes on after the last piece, and ids and rejected rows
have the numbers of rows in the file.
"""

import gzip
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np
import numpy.typing as npt

__all__ = ["BLOCK", "TextPiece", "cut", "opened"]

BLOCK = 16 * 2**20
"""Bytes of a piece, roughly."""
_CHUNK = 4 * 2**20
_NEWLINE, _QUOTE = 10, 34
_BOM = b"\xef\xbb\xbf"


@dataclass(frozen=True)
class TextPiece:
    """A range of a file, in bytes before compression."""

    start: int
    end: int
    lines: int
    """Line ends in it that are not inside quotes."""


def opened(file: BinaryIO, address: str) -> BinaryIO:
    """Return the stream of a file's text, decompressed if needed."""
    return gzip.open(file) if address.endswith(".gz") else file  # type: ignore[return-value]


def cut(stream: BinaryIO, *, quoted: bool, block: int = BLOCK, separator: str = ",") -> list[TextPiece]:
    r"""Return the pieces of a stream, one after the other, read in chunks.

    Args:
        stream: from its beginning.
        quoted: whether a line end inside double quotes belongs to a value, as in CSV.
        block: bytes of a piece; it goes on to the end of the line.
        separator: what separates the values of CSV, one character of ASCII.

    >>> import io
    >>> cut(io.BytesIO(b'a,"x\ny"\nb,z\n'), quoted=True, block=3)
    [TextPiece(start=0, end=8, lines=1), TextPiece(start=8, end=12, lines=1)]
    """
    pieces: list[TextPiece] = []
    start = position = lines = 0
    last, quotes = b"", _Quotes(_before(separator))
    while chunk := stream.read(_CHUNK):
        ends = _line_ends(chunk, quotes) if quoted else _newlines(chunk)
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
        pieces.append(TextPiece(start, position, lines + (last != b"\n" or quotes.inside)))
    return pieces


@dataclass
class _Quotes:
    """The state of quoting at the end of a chunk."""

    before: npt.NDArray[np.bool_]
    """Bytes before a quote that begins or continues a quoted value; others are text, as in ``5" pipe``."""
    inside: bool = False
    """Whether it ends within a quoted value."""
    begins: bool = True
    """Whether a quote right behind it would begin a value, or go on with one."""


def _before(separator: str) -> npt.NDArray[np.bool_]:
    before = np.zeros(256, bool)
    before[[*b'\n\r"', ord(separator)]] = True
    return before


def _newlines(chunk: bytes) -> npt.NDArray[np.int64]:
    return np.flatnonzero(np.frombuffer(chunk, np.uint8) == _NEWLINE)


def _line_ends(chunk: bytes, state: _Quotes) -> npt.NDArray[np.int64]:
    """Return where rows end in a chunk; the state is then that of its end."""
    ends, inside = _newlines(chunk), state.inside
    if inside or b'"' in chunk:
        quotes = _real_quotes(chunk, state)
        before = np.searchsorted(quotes, ends) + inside
        ends = ends[before % 2 == 0]
        state.inside = bool((inside + len(quotes)) % 2)
        closed = len(quotes) > 0 and quotes[-1] == len(chunk) - 1
        state.begins = closed or (chunk[-1] != _QUOTE and bool(state.before[chunk[-1]]))
    else:
        state.begins = bool(state.before[chunk[-1]])
    return ends


def _real_quotes(chunk: bytes, state: _Quotes) -> npt.NDArray[np.int64]:
    """Return where quotes begin and end values, in turn; two in a row are an end and a beginning.

    A quote inside an unquoted value is text, for Arrow and Python alike.
    """
    content = np.frombuffer(chunk, np.uint8)
    quotes = np.flatnonzero(content == _QUOTE)
    begins = state.before[content[quotes - 1]]
    if len(quotes) and quotes[0] == 0:
        begins[0] = state.begins
    if chunk.startswith(_BOM + b'"') and quotes[0] == len(_BOM):
        begins[0] = True
    if begins[int(state.inside) :: 2].all():
        return quotes  # every quote counts: the usual case in files that a program wrote
    real, inside, closed = list[int](), state.inside, -1
    for place, fits in zip(quotes.tolist(), begins.tolist(), strict=True):
        if inside or (fits and (place == 0 or content[place - 1] != _QUOTE or closed == place - 1)):
            real.append(place)
            closed = place if inside else closed
            inside = not inside
    return np.array(real, np.int64)
