"""Check the columns of a job's input: types, names, and what is missing."""

from collections.abc import Iterable, Sequence

import pyarrow as pa
import pyarrow.csv as pacsv

from tidemill.errors import UsageError
from tidemill.scoring.input.column_values import is_feature
from tidemill.scoring.input.fragments import Shape
from tidemill.scoring.input.row_reading import types_of_lines
from tidemill.scoring.input.table_places import SourceFile
from tidemill.scoring.scoring_job import Mode, ScoreRequest

_FLATTENED = (
    """jq -c '[paths(type != "object") as $p | select($p | all(type == "string")) | """
    """{key: ($p | join("_")), value: getpath($p)}] | from_entries'"""
)
"""Writes objects as training reads them: the field total of order as order_total."""

__all__ = [
    "column_types",
    "kept_columns",
    "require_columns",
    "require_values",
    "require_writable",
    "shared_types",
]


def column_types(files: list[SourceFile], shapes: list[Shape], rename: dict[str, str]) -> list[pa.Schema]:
    """Return the columns of each file, under our names, with those from folder names.

    Raises:
        UsageError: two columns have one name, or a column to rename is missing.
    """
    lines = types_of_lines(files[0]) if shapes[0].schema is None else None  # of ndjson: the same for all
    schemas = []
    for file, shape in zip(files, shapes, strict=True):
        own = shape.schema or lines or pa.schema([])
        fields = [(field.name, field.type) for field in own] + [(n, pa.string()) for n, _ in file.partitions]
        names = [rename.get(name, name) for name, _ in fields]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise UsageError(
                f"{file.address} has two columns {', '.join(twice)}",
                hint="names must differ, those of folders like date=2013-04-01 and --rename included",
            )
        if absent := [name for name in rename if name not in dict(fields)]:
            raise UsageError(f"--rename {absent[0]}=…: {file.address} has no such column")
        schemas.append(pa.schema([(name, kind) for name, (_, kind) in zip(names, fields, strict=True)]))
    return schemas


def shared_types(files: list[SourceFile], schemas: list[pa.Schema], read: list[str]) -> pa.Schema:
    """Return one type for each column that is read, wide enough for all files.

    Raises:
        UsageError: a file lacks a column, or has it in a type that does not fit the others.
    """
    chosen: list[pa.Schema] = []
    for file, schema in zip(files, schemas, strict=True):
        if absent := [name for name in read if name not in schema.names]:
            raise UsageError(
                f"{file.address} lacks columns that {files[0].address} has: {', '.join(absent)}",
                hint="score it into an output of its own, or name what is kept with --keep",
            )
        one = pa.schema([schema.field(name).with_nullable(True) for name in read])
        if not chosen or one != chosen[-1]:
            chosen.append(one)
    try:
        return pa.unify_schemas(chosen, promote_options="permissive")
    except pa.ArrowException as error:
        raise UsageError(f"the files do not agree on a column's type: {error}") from error


def require_columns(needed: Iterable[str], there: Sequence[str], mode: Mode, file: SourceFile) -> None:
    """Raise for columns that the job needs and the input does not have.

    Raises:
        UsageError: columns are missing; the message names them and those that there are.
    """
    absent = [name for name in needed if name not in there]
    if not absent:
        return
    what = "features of the version" if mode == "columns" else "keys of the features"
    hint = (
        "--rename NAME=OURS if they have other names; --keys looks features up, --columns takes them as given"
    )
    if any(name.startswith(f"{column}_") for name in absent for column in there) and file.format == "ndjson":
        hint = (
            f"if these are fields of objects, make columns of them: {_FLATTENED} table.ndjson > flat.ndjson"
        )
    raise UsageError(
        f"{file.address} has no column {', '.join(absent)} ({what}); it has: {', '.join(there)}", hint=hint
    )


def require_values(
    features: Sequence[str], schema: pa.Schema, file: SourceFile, words: Sequence[str]
) -> None:
    """Raise for features whose columns cannot be their values.

    Args:
        features: of the version.
        schema: of the file.
        file: named in errors.
        words: the features that are text; all others are numbers.

    Raises:
        UsageError: a column has another type.
    """
    wrong = [
        f"{name} ({schema.field(name).type})" for name in features if not is_feature(schema.field(name).type)
    ]
    if wrong:
        what = f"numbers, lists of numbers, or text ({', '.join(words)})" if words else "numbers"
        raise UsageError(f"{file.address}: features must be {what}: {', '.join(wrong)}")


def kept_columns(
    request: ScoreRequest, there: Sequence[str], features: Sequence[str], added: Sequence[str]
) -> tuple[str, ...]:
    """Return the columns of the input that go into the output.

    Args:
        request: what is asked for.
        there: the columns of the input.
        features: those that are features of the version.
        added: the names of the columns that scoring adds.

    Raises:
        UsageError: one does not exist, or has the name of a column that scoring adds.
    """
    keep = request.keep
    if keep == ("*",):
        keep = tuple(there)
    elif keep is None:
        keep = tuple(name for name in there if name not in features)
    if absent := [name for name in keep if name not in there]:
        raise UsageError(
            f"--keep: there is no column {', '.join(absent)}", hint=f"there are: {', '.join(there)}"
        )
    if taken := [name for name in keep if name in added]:
        raise UsageError(
            f"the input has a column {', '.join(taken)}, a name that the output needs",
            hint=f"--rename {taken[0]}=earlier_{taken[0]}, or name what is kept with --keep",
        )
    return tuple(dict.fromkeys(keep))


def require_writable(keep: Sequence[str], schema: pa.Schema) -> None:
    """Raise for types that CSV cannot hold, such as lists.

    Raises:
        UsageError: there are such columns; the message names them.
    """
    unfit = []
    for name in keep:
        try:
            pacsv.CSVWriter(pa.BufferOutputStream(), pa.schema([schema.field(name)])).close()
        except pa.ArrowException:
            unfit.append(f"{name} ({schema.field(name).type})")
    if unfit:
        raise UsageError(
            f"CSV cannot hold {', '.join(unfit)}", hint="write parquet, or name what is kept with --keep"
        )
