"""Check the columns of a job's input: types, names, and what is missing."""

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import replace

import pyarrow as pa
import pyarrow.csv as pacsv

from tidemill.errors import UsageError
from tidemill.plurals import some_of
from tidemill.scoring.input.column_values import is_feature
from tidemill.scoring.input.fragments import Shape
from tidemill.scoring.input.line_types import types_of_lines
from tidemill.scoring.input.nested_columns import Path, flattened, has_objects
from tidemill.scoring.input.table_places import SourceFile
from tidemill.scoring.scoring_job import Mode, ScoreRequest

__all__ = [
    "column_types",
    "kept_columns",
    "own_columns",
    "require_columns",
    "require_values",
    "require_writable",
    "shared_types",
]


def own_columns(
    files: list[SourceFile], shapes: list[Shape], wanted: Callable[[], Collection[str]]
) -> tuple[list[SourceFile], list[pa.Schema]]:
    """Return the files with the paths of the fields of objects that are columns, and the columns of each.

    Args:
        files: the input.
        shapes: of each.
        wanted: returns the names that are needed; objects without any of them stay whole.

    Raises:
        DataError: ndjson has no objects in its first lines.
    """
    lines = types_of_lines(files[0]) if shapes[0].schema is None else None  # of ndjson: the same for all
    found: list[SourceFile] = []
    schemas: list[pa.Schema] = []
    names: Collection[str] | None = None
    for file, shape in zip(files, shapes, strict=True):
        schema = shape.schema or lines or pa.schema([])
        paths: tuple[Path, ...] = ()
        if has_objects(schema):
            names = wanted() if names is None else names
            schema, paths = flattened(schema, names)
        found.append(replace(file, nested=paths) if paths else file)
        schemas.append(schema)
    return found, schemas


def column_types(files: list[SourceFile], own: list[pa.Schema], rename: dict[str, str]) -> list[pa.Schema]:
    """Return the columns of each file, under our names, with those from folder names.

    Raises:
        UsageError: two columns have one name, or a column to rename is missing.
    """
    schemas = []
    for file, columns in zip(files, own, strict=True):
        fields = [(field.name, field.type) for field in columns] + [
            (n, pa.string()) for n, _ in file.partitions
        ]
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


def shared_types(
    files: list[SourceFile], schemas: list[pa.Schema], read: list[str], optional: Collection[str] = ()
) -> pa.Schema:
    """Return one type for each column that is read, wide enough for all files.

    Args:
        files: the input.
        schemas: the columns of each.
        read: names of columns.
        optional: those of them that a file may lack.

    Raises:
        UsageError: a file lacks a column, or has it in a type that does not fit the others.
    """
    chosen: list[pa.Schema] = []
    for file, schema in zip(files, schemas, strict=True):
        if absent := [name for name in read if name not in schema.names and name not in optional]:
            raise UsageError(
                f"{file.address} lacks columns that {files[0].address} has: {', '.join(absent)}",
                hint="score it into an output of its own, or name what is kept with --keep",
            )
        there = [name for name in read if name in schema.names]
        one = pa.schema([schema.field(name).with_nullable(True) for name in there])
        if not chosen or one != chosen[-1]:
            chosen.append(one)
    try:
        found = pa.unify_schemas(chosen, promote_options="permissive")
        return pa.schema([found.field(name) for name in read])
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
    raise UsageError(
        f"{file.address} has no column {some_of(absent)} ({what}); it has: {some_of(there)}", hint=hint
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
