"""Plan a job: files, columns, features. Requests that cannot succeed are refused before it begins."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path, PurePosixPath
from typing import Literal

import pyarrow as pa
import pyarrow.csv as pacsv

from tidemill.clock import FIRST_YEAR, LAST_YEAR, utc
from tidemill.data.repository.git import git_try
from tidemill.errors import DataError, UsageError
from tidemill.project import Project
from tidemill.scoring.execution.batch_rows import request_columns
from tidemill.scoring.input.column_values import is_numeric
from tidemill.scoring.input.fragments import FRAGMENT_ROWS, Shape, examine, fragments_of
from tidemill.scoring.input.prediction_ids import new_job_id
from tidemill.scoring.input.row_reading import types_of_lines
from tidemill.scoring.input.table_places import SourceFile, find_files, locate
from tidemill.scoring.scoring_job import ADDED, Job, Mode, ScoreRequest
from tidemill.version import __version__

__all__ = ["plan"]

_AT = "event_timestamp"
_IN_PYTHON_ROWS = 100_000
"""Rows of a part where each row runs through Python, and takes ten times as long or more."""


def plan(
    project: Project,
    request: ScoreRequest,
    version: str,
    features: tuple[str, ...],
    now: datetime,
    folder: Path,
    *,
    words: bool = False,
) -> Job:
    """Return the job for a request.

    Args:
        project: whose model it is.
        request: what is asked for.
        version: number of the version, resolved.
        features: of the version, in its order.
        now: wall-clock time.
        folder: the folder that relative inputs start at.
        words: whether the version takes text, too.

    Raises:
        UsageError: the request is contradictory, or its columns do not fit; the message names them.
        DataError: an input is not there, or cannot be read.
        FeatureError: features are to be looked up, and the definitions were not applied.
    """
    files = _files(request, folder)
    shapes = examine(files)
    files = [
        replace(f, header=_header(s)) if f.format == "csv" else f for f, s in zip(files, shapes, strict=True)
    ]
    schemas = _schemas(files, shapes, request.rename)
    there = schemas[0].names
    mode = request.features or ("columns" if set(features) <= set(there) else "keys")
    decide = _decides(project, request, there)
    at_column = _at_column(request, there, mode)
    looked_up = () if mode == "columns" or decide else _keys(project)
    needed = dict.fromkeys(
        [*(features if mode == "columns" else looked_up), *([at_column] if at_column else [])]
    )
    _require(needed, there, mode, files[0])
    if decide:
        needed |= dict.fromkeys(name for name in _request_columns(project) if name in there)
    if mode == "columns":
        _require_types(features, schemas[0], files[0], words)
    keep = _kept(request, there, features if mode == "columns" else ())
    form, schema = _format(request), _shared(files, schemas, [*dict.fromkeys([*keep, *needed])])
    if form == "csv":
        _require_writable(keep, schema)
    keyed = mode != "columns"
    in_python = decide or request.log or mode == "online"
    rows = request.part_rows or (_IN_PYTHON_ROWS if in_python else FRAGMENT_ROWS)
    return Job(
        id=new_job_id(),
        started_at=now,
        model=project.model,
        version=version,
        mode=mode,
        features=features,
        service=project.config.features.service if keyed else None,
        definition=_definition(project, features) if keyed else None,
        at_column=at_column,
        at=_at(request, at_column, mode, now),
        keep=keep,
        rename=dict(request.rename),
        decide=decide,
        format=form,
        log=request.log,
        schema=schema,
        files=tuple(files),
        fragments=tuple(fragments_of(files, shapes, rows)),
        code=_code(project),
    )


def _files(request: ScoreRequest, folder: Path) -> list[SourceFile]:
    files = [file for text in request.inputs for file in find_files(locate(text, folder))]
    if not files:
        raise UsageError("there is no input", hint="--input names files or folders; it may be repeated")
    seen: set[str] = set()
    for file in files:
        if file.address in seen:
            raise UsageError(f"{file.address} is in the input twice", hint="name each file once")
        seen.add(file.address)
    if len(kinds := {file.format for file in files}) > 1:
        raise UsageError(
            f"the input has files of several formats: {', '.join(sorted(kinds))}",
            hint="score the files of each format into an output of their own",
        )
    return files


def _header(shape: Shape) -> tuple[str, ...]:
    return () if shape.schema is None else tuple(shape.schema.names)


def _schemas(files: list[SourceFile], shapes: list[Shape], rename: dict[str, str]) -> list[pa.Schema]:
    """Return the columns of each file, under our names, with those from folder names."""
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


def _shared(files: list[SourceFile], schemas: list[pa.Schema], read: list[str]) -> pa.Schema:
    """Return one type for each column that is read, wide enough for all files."""
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


def _decides(project: Project, request: ScoreRequest, there: Sequence[str]) -> bool:
    """Return whether the rows are instances of the application's request."""
    if request.decide is False:
        return False
    missing = [n for n, required in _request_columns(project).items() if required and n not in there]
    if missing and request.decide:
        raise UsageError(
            f"the rows lack columns of the application's request: there is no column {', '.join(missing)}",
            hint="add them, rename columns with --rename, or score with --no-decide",
        )
    return not missing


def _request_columns(project: Project) -> dict[str, bool]:
    return request_columns(project.load(project.config.project.application).request)


def _at_column(request: ScoreRequest, there: Sequence[str], mode: Mode) -> str | None:
    if request.at_column is not None and request.at is not None:
        raise UsageError("--at-column and --at exclude each other", hint="choose one")
    if mode == "columns" and not request.log:
        return None  # the result does not depend on it
    if request.at_column is not None or request.at is not None:
        return request.at_column
    if _AT in there:
        return _AT
    if mode == "keys" and request.default_at is None:
        raise UsageError(
            f"the rows have no moments: there is no column {_AT!r}",
            hint="--at-column names the column, --at gives one moment for all rows; if the features are "
            "columns, --columns says which are missing",
        )
    return None


def _at(request: ScoreRequest, at_column: str | None, mode: Mode, now: datetime) -> datetime | None:
    if at_column is not None or (mode == "columns" and not request.log):
        return None
    given = request.at or request.default_at
    if given is not None and not FIRST_YEAR <= given.year <= LAST_YEAR:
        raise UsageError(f"{given.isoformat()} is not in the years {FIRST_YEAR} to {LAST_YEAR}")
    return utc(given) if given else (now if mode == "online" else None)


def _keys(project: Project) -> list[str]:
    from tidemill.scoring.execution.feature_lookup import keys_of  # Feast takes seconds to import

    return list(keys_of(project).columns)


def _require(needed: Iterable[str], there: Sequence[str], mode: Mode, file: SourceFile) -> None:
    absent = [name for name in needed if name not in there]
    if not absent:
        return
    what = "features of the version" if mode == "columns" else "keys of the features"
    raise UsageError(
        f"{file.address} has no column {', '.join(absent)} ({what}); it has: {', '.join(there)}",
        hint="--rename NAME=OURS if they are called otherwise; --keys looks features up, --columns takes "
        "them as given",
    )


def _require_types(features: Sequence[str], schema: pa.Schema, file: SourceFile, words: bool) -> None:
    wrong = [
        f"{name} ({schema.field(name).type})" for name in features if not is_numeric(schema.field(name).type)
    ]
    if wrong:
        raise UsageError(f"{file.address}: features must be numbers: {', '.join(wrong)}")
    if words and file.format == "csv":
        raise UsageError(
            "the version takes text as well as numbers, and CSV does not say which is which",
            hint="give it parquet or ndjson",
        )


def _kept(request: ScoreRequest, there: Sequence[str], features: Sequence[str]) -> tuple[str, ...]:
    keep = request.keep
    if keep == ("*",):
        keep = tuple(there)
    elif keep is None:
        keep = tuple(name for name in there if name not in features)
    if absent := [name for name in keep if name not in there]:
        raise UsageError(
            f"--keep: there is no column {', '.join(absent)}", hint=f"there are: {', '.join(there)}"
        )
    if taken := [name for name in keep if name in ADDED]:
        raise UsageError(
            f"the input has a column {', '.join(taken)}, as the output will",
            hint=f"--rename {taken[0]}=earlier_{taken[0]}, or name what is kept with --keep",
        )
    return tuple(dict.fromkeys(keep))


def _require_writable(keep: Sequence[str], schema: pa.Schema) -> None:
    """Raise for types that CSV cannot hold, such as lists."""
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


def _format(request: ScoreRequest) -> Literal["parquet", "csv"]:
    name = PurePosixPath(request.output).suffix.lower()
    own: Literal["parquet", "csv"] | None = {".parquet": "parquet", ".csv": "csv"}.get(name)  # type: ignore[assignment]
    if own and request.format and own != request.format:
        raise UsageError(
            f"{request.output} is to be {request.format}", hint="leave --format away, or name a folder"
        )
    return own or request.format or "parquet"


def _definition(project: Project, features: tuple[str, ...]) -> str:
    from tidemill.features.feature_store import (  # Feast takes seconds to import
        definition_hash,
        service_features,
    )

    if absent := [name for name in features if name not in service_features(project)]:
        raise UsageError(
            f"the version needs features that service {project.config.features.service!r} does not have: "
            f"{', '.join(absent)}",
            hint="score a version that was trained on this service, or give the features as columns",
        )
    return definition_hash(project)


def _code(project: Project) -> dict[str, str]:
    try:
        commit = git_try(project.root, "rev-parse", "HEAD")
    except DataError:  # there is no git here
        return {"tidemill": __version__}
    found = {"git_commit": commit.stdout.strip()} if commit.returncode == 0 else {}
    return {"tidemill": __version__, **found}
