"""Infer the types of the columns of newline-delimited JSON from its first lines."""

import io
from codecs import BOM_UTF8
from contextlib import suppress

import orjson
import pyarrow as pa
import pyarrow.json as pajson

from tidemill.errors import DataError
from tidemill.scoring.input.fragments import open_file
from tidemill.scoring.input.table_places import SourceFile
from tidemill.scoring.input.text_splitter import BLOCK, opened

__all__ = ["types_of_lines"]

_JUDGED = 1000  # lines that are parsed one by one where their types differ
_TIMES = (pa.types.is_timestamp, pa.types.is_date, pa.types.is_time, pa.types.is_null)


def types_of_lines(file: SourceFile) -> pa.Schema:
    """Return the columns of the first lines of an ndjson file, and the types they are read as.

    Text that Arrow would read as a moment stays text.

    Raises:
        DataError: none of the lines is an object.
    """
    with open_file(file.address) as stream:
        head = opened(stream, file.address).read(BLOCK).removeprefix(BOM_UTF8)
    lines = [line for line in head[: head.rfind(b"\n") + 1 or None].split(b"\n") if _object(line)]
    if not lines:
        raise DataError(f"{file.address} cannot be read as ndjson", hint="each line is one JSON object")
    try:
        schema = _inferred(b"\n".join(lines))
    except pa.ArrowException:  # types differ: use the lines that agree with the first ones
        schema = _inferred(lines[0])
        for line in lines[1:_JUDGED]:
            with suppress(pa.ArrowException):  # such a line is rejected when it is read
                schema = pa.unify_schemas([schema, _inferred(line)], promote_options="permissive")
    return pa.schema([(field.name, _without_times(field.type)) for field in schema])


def _without_times(kind: pa.DataType) -> pa.DataType:
    if pa.types.is_struct(kind):
        return pa.struct([(field.name, _without_times(field.type)) for field in kind])
    return pa.string() if any(is_time(kind) for is_time in _TIMES) else kind


def _inferred(content: bytes) -> pa.Schema:
    return pajson.read_json(
        io.BytesIO(content), pajson.ReadOptions(use_threads=False, block_size=len(content) + 1)
    ).schema


def _object(line: bytes) -> bool:
    try:
        return isinstance(orjson.loads(line), dict)
    except ValueError:
        return False
