"""Split the input into fragments, the same ones in every run over the same files, so runs can resume."""

import csv
import io
import zlib
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import BinaryIO

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq

from tidemill.data.tables.csv_headers import encoding_problem, plain_names, repeated, separator_in
from tidemill.errors import DataError
from tidemill.scoring.input.table_places import SourceFile
from tidemill.scoring.input.text_splitter import cut, opened

__all__ = ["FRAGMENT_ROWS", "Fragment", "Piece", "Shape", "examine", "fragments_of", "open_file"]

FRAGMENT_ROWS = 500_000
"""Rows of a fragment, and of a part of the output, roughly: row groups stay whole."""
_FRAGMENT_BYTES = 512 * 2**20
_AT_ONCE = 16  # files whose footers are read at the same time


@dataclass(frozen=True)
class Piece:
    """A range of one file."""

    file: int
    """Index of the file in the input."""
    first_row: int
    """Number of its first row in the file, from 0."""
    rows: int
    size: int
    """Bytes, roughly: what it takes in memory."""
    row_groups: tuple[int, ...] = ()
    """Of a parquet file."""
    start: int = 0
    """Of a text file, in bytes before compression."""
    end: int = 0


@dataclass(frozen=True)
class Fragment:
    """The unit of work, which becomes one part of the output."""

    number: int
    pieces: tuple[Piece, ...]

    @property
    def rows(self) -> int:
        """How many rows it has; of text, roughly."""
        return sum(piece.rows for piece in self.pieces)


@dataclass(frozen=True)
class Shape:
    """Structure of a file: row groups or row ends, and columns."""

    schema: pa.Schema | None
    """None of ndjson, where every line has columns of its own."""
    pieces: tuple[Piece, ...]
    separator: str = ","
    """What separates the values of a CSV file."""


def open_file(address: str) -> BinaryIO:
    """Open a file of the input for reading."""
    files, path = fsspec.core.url_to_fs(address)
    return files.open(path, "rb")  # type: ignore[no-any-return]


def examine(files: Sequence[SourceFile]) -> list[Shape]:
    """Return the structure of each file; text is read once to find where its rows end.

    Raises:
        DataError: a file cannot be read; the message names it.
    """
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        return list(pool.map(_examine, range(len(files)), files))


def fragments_of(
    files: Sequence[SourceFile], shapes: Iterable[Shape], rows: int = FRAGMENT_ROWS
) -> list[Fragment]:
    """Combine the pieces of all files into fragments of about ``rows`` rows, in their order.

    A compressed file stays in one fragment, as reading cannot start in its middle.
    """
    fragments: list[Fragment] = []
    waiting: list[Piece] = []
    for run in _indivisible(files, shapes):
        full = sum(piece.rows for piece in waiting) + sum(piece.rows for piece in run) > rows
        large = sum(piece.size for piece in (*waiting, *run)) > _FRAGMENT_BYTES
        if waiting and (full or large):
            fragments.append(Fragment(len(fragments), tuple(waiting)))
            waiting = []
        waiting += run
    if waiting:
        fragments.append(Fragment(len(fragments), tuple(waiting)))
    return fragments


def _indivisible(files: Sequence[SourceFile], shapes: Iterable[Shape]) -> Iterator[list[Piece]]:
    for file, shape in zip(files, shapes, strict=True):
        if file.address.endswith(".gz"):
            yield list(shape.pieces)
        else:
            yield from ([piece] for piece in shape.pieces)


def _examine(number: int, file: SourceFile) -> Shape:
    try:
        with open_file(file.address) as stream:
            if file.format == "parquet":
                return _of_parquet(number, stream)
            text = opened(stream, file.address)
            return _of_csv(number, text) if file.format == "csv" else _of_ndjson(number, text)
    except UnicodeDecodeError as error:
        raise DataError(
            f"{file.address} cannot be read as {file.format}: its header is not in UTF-8",
            hint="save it as UTF-8: `iconv -f WINDOWS-1252 -t UTF-8` converts a file",
        ) from error
    except (pa.ArrowException, OSError, EOFError, ValueError, csv.Error, zlib.error) as error:
        raise DataError(
            f"{file.address} cannot be read as {file.format}: {error}",
            hint="check that its name says its format",
        ) from error


def _of_parquet(number: int, stream: BinaryIO) -> Shape:
    file = pq.ParquetFile(stream)
    pieces, first = [], 0
    for index in range(file.metadata.num_row_groups):
        group = file.metadata.row_group(index)
        if group.num_rows:
            pieces.append(Piece(number, first, group.num_rows, group.total_byte_size, (index,)))
        first += group.num_rows
    return Shape(file.schema_arrow.remove_metadata(), tuple(pieces))


def _of_csv(number: int, stream: BinaryIO) -> Shape:
    if problem := encoding_problem(stream.read(4096)):
        raise ValueError(problem)
    stream.seek(0)
    separator = separator_in(stream.readline(1 << 16))
    stream.seek(0)
    text = cut(stream, quoted=True, separator=separator)
    if not text:
        raise ValueError("there is no header")
    stream.seek(0)
    head = cut(io.BytesIO(stream.read(text[0].end)), quoted=True, block=1, separator=separator)[0].end
    stream.seek(0)
    line = io.StringIO(stream.read(head).decode("utf-8-sig"), newline="")
    header = csv.reader(line, delimiter=separator)
    names = plain_names(next(header, []))
    if twice := repeated(names):
        raise ValueError(f"several columns have the name {', '.join(map(repr, twice))}: rename one of them")
    if next(header, None) is not None:
        raise ValueError("its lines end in carriage returns only: write line feeds")
    pieces, first = [], 0
    for index, piece in enumerate(text):
        start, lines = (piece.start, piece.lines) if index else (head, piece.lines - 1)
        if lines > 0:
            pieces.append(Piece(number, first, lines, piece.end - start, (), start, piece.end))
        first += lines
    return Shape(pa.schema([(name, pa.string()) for name in names]), tuple(pieces), separator)


def _of_ndjson(number: int, stream: BinaryIO) -> Shape:
    pieces, first = [], 0
    for piece in cut(stream, quoted=False):
        pieces.append(Piece(number, first, piece.lines, piece.end - piece.start, (), piece.start, piece.end))
        first += piece.lines
    return Shape(None, tuple(pieces))
