"""Plan a job: files, columns, features. Requests that cannot succeed are refused before it begins."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path, PurePosixPath
from typing import Literal

import pyarrow as pa

from tidemill.clock import FIRST_YEAR, LAST_YEAR, utc
from tidemill.data.repository.git import git_try
from tidemill.errors import DataError, UsageError
from tidemill.features.project_features import requested_columns
from tidemill.project import Project
from tidemill.project.feature_columns import read_columns, read_keys
from tidemill.scoring.execution.answer_columns import added_columns, recorded_fields
from tidemill.scoring.execution.application_rows import request_columns
from tidemill.scoring.execution.input_columns import (
    column_types,
    kept_columns,
    own_columns,
    require_columns,
    require_values,
    require_writable,
    shared_types,
)
from tidemill.scoring.input.fragments import FRAGMENT_ROWS, Shape, examine, fragments_of
from tidemill.scoring.input.prediction_ids import new_job_id
from tidemill.scoring.input.table_places import SourceFile, find_files, locate
from tidemill.scoring.scoring_job import Job, Mode, ScoreRequest
from tidemill.stages.ingest import column_formats
from tidemill.tasks.task import Task
from tidemill.version import __version__

__all__ = ["logged_keys", "plan"]

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
    task: Task,
    words: tuple[str, ...] = (),
) -> Job:
    """Return the job for a request.

    Args:
        project: whose model it is.
        request: what is asked for.
        version: number of the version, resolved.
        features: of the version, in its order.
        now: wall-clock time.
        folder: the folder that relative inputs start at.
        task: what the version predicts.
        words: the features that are text.

    Raises:
        ConfigError: features are to be looked up, and there is no feature store.
        UsageError: the request is contradictory, or its columns do not fit; the message names them.
        DataError: an input is not there, or cannot be read.
        FeatureError: features are to be looked up, and the definitions were not applied.
    """
    files, shapes, schemas = _examined(request, folder, lambda: _named(project, request, features))
    optional = _optional(project)
    mode, decide, at_column, needed = _way(project, request, features, schemas, files[0], optional)
    keyed = mode != "columns"
    if not keyed:
        require_values([one for one in features if one in schemas[0].names], schemas[0], files[0], words)
    fields = recorded_fields(task)
    keep = kept_columns(request, schemas[0].names, () if keyed else features, added_columns(fields))
    schema = shared_types(files, schemas, [*dict.fromkeys([*keep, *needed])], optional.difference(keep))
    return Job(
        id=new_job_id(),
        started_at=now,
        model=project.model,
        version=version,
        mode=mode,
        features=features,
        service=project.feature_service if keyed else None,
        definition=_definition(project, features) if keyed else None,
        at_column=at_column,
        at=_at(request, at_column, mode, now),
        keep=keep,
        rename=dict(request.rename),
        decide=decide,
        format=_format(request, keep, schema),
        log=request.log,
        schema=schema,
        files=tuple(files),
        fragments=tuple(fragments_of(files, shapes, _part_rows(request, decide, mode))),
        code=_code(project),
        answer_fields=fields,
        formats=column_formats(project) if project.config.features.source != "store" else {},
    )


def _way(
    project: Project,
    request: ScoreRequest,
    features: Sequence[str],
    schemas: Sequence[pa.Schema],
    file: SourceFile,
    optional: frozenset[str],
) -> tuple[Mode, bool, str | None, list[str]]:
    """Return where features come from, whether rows get decisions, the column of moments, what is read."""
    there = schemas[0].names
    anywhere = {name for schema in schemas for name in schema.names}
    features = [name for name in features if name not in optional or name in anywhere]
    mode = _mode(project, request, features, there)
    decide, at_column = _decides(project, request, there), _at_column(request, there, mode)
    needed = _needed(project, features, mode, at_column, decide, request.log, there, file, optional)
    return mode, decide, at_column, needed


def _mode(project: Project, request: ScoreRequest, features: Sequence[str], there: Sequence[str]) -> Mode:
    """Return where the features come from; raise an error if it is a store and the project has none."""
    if request.features in ("keys", "online"):
        project.require_store()
    given = not project.has_store or set(features) <= set(there)
    return request.features or ("columns" if given else "keys")


def _named(project: Project, request: ScoreRequest, features: Sequence[str]) -> set[str]:
    """Return the columns that the job may need."""
    named = {*features, *request.rename, *(request.keep or ()), request.at_column or _AT}
    if request.decide is not False and project.config.project.application is not None:
        named |= _request_columns(project).keys()
    return named | set(logged_keys(project) if request.log or request.features != "columns" else ())


def _examined(
    request: ScoreRequest, folder: Path, named: Callable[[], set[str]]
) -> tuple[list[SourceFile], list[Shape], list[pa.Schema]]:
    """Return the input's files, with the headers of CSV files, what each looks like, and its columns."""
    files = _files(request, folder)
    shapes = examine(files)
    headed = [
        replace(
            file,
            header=() if shape.schema is None else tuple(shape.schema.names),
            separator=shape.separator,
        )
        if file.format == "csv"
        else file
        for file, shape in zip(files, shapes, strict=True)
    ]
    headed, own = own_columns(headed, shapes, named)
    return headed, shapes, column_types(headed, own, request.rename)


def _needed(
    project: Project,
    features: Sequence[str],
    mode: Mode,
    at_column: str | None,
    decide: bool,
    log: bool,
    there: Sequence[str],
    file: SourceFile,
    optional: frozenset[str],
) -> list[str]:
    """Return the columns to read, besides those that are kept, after checking that they are there."""
    looked_up = [] if mode == "columns" or decide else _keys(project)
    needed = [*(features if mode == "columns" else looked_up), *([at_column] if at_column else [])]
    if mode != "columns":
        needed += _required(project)
    require_columns([name for name in dict.fromkeys(needed) if name not in optional], there, mode, file)
    if mode != "columns" and project.config.features.source == "both":
        brought = [column.name for column in read_columns(project) if column.name in there]
        _require_uncomputed(project, brought)
        needed += brought
    if decide:
        needed += [name for name in _request_columns(project) if name in there]
    if mode == "columns" and log:
        needed += [name for name in logged_keys(project) if name in there]
    return list(dict.fromkeys(needed))


def _optional(project: Project) -> frozenset[str]:
    """Return the features that rows may leave out, as requests may."""
    if project.config.features.source != "request":
        return frozenset()
    return frozenset(column.name for column in read_columns(project) if not column.required)


def _required(project: Project) -> list[str]:
    """Return the columns that rows must bring, because their views are not looked up by ``features.from``."""
    always = requested_columns(project)
    return (
        [one.name for one in read_columns(project) if one.required and one.name in always] if always else []
    )


def _require_uncomputed(project: Project, brought: Sequence[str]) -> None:
    from tidemill.scoring.execution.feature_lookup import keys_of  # Feast takes seconds to import

    if read := sorted(keys_of(project).computed_from & set(brought)):
        raise UsageError(
            f"the rows bring {', '.join(read)}, from which on-demand views compute features: with a table "
            "they would compute from the store's values instead",
            hint="leave the column out, or give all features as columns: --columns",
        )


def _part_rows(request: ScoreRequest, decide: bool, mode: Mode) -> int:
    in_python = decide or request.log or mode == "online"
    return request.part_rows or (_IN_PYTHON_ROWS if in_python else FRAGMENT_ROWS)


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


def _decides(project: Project, request: ScoreRequest, there: Sequence[str]) -> bool:
    """Return whether the rows are instances of the application's request."""
    if request.decide is False or (request.decide is None and project.config.project.application is None):
        return False
    missing = [n for n, required in _request_columns(project).items() if required and n not in there]
    if missing and request.decide:
        raise UsageError(
            f"the rows lack columns of the application's request: there is no column {', '.join(missing)}",
            hint="add them, rename columns with --rename, or score with --no-decide",
        )
    return not missing


def _request_columns(project: Project) -> dict[str, bool]:
    return request_columns(project.load_application().request)


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


def logged_keys(project: Project) -> list[str]:
    """Return the columns that tell in the prediction log what a row is about, where features are given.

    Raises:
        ConfigError: ``features.yaml`` is missing or wrong.
        FeatureError: the definitions were not applied.
    """
    listed = read_keys(project) if project.config.features.source != "store" else ()
    looked_up = _keys(project) if project.has_store else []
    return list(dict.fromkeys([*looked_up, *(column.name for column in listed)]))


def _keys(project: Project) -> list[str]:
    from tidemill.scoring.execution.feature_lookup import keys_of  # Feast takes seconds to import

    return list(keys_of(project).columns)


def _format(request: ScoreRequest, keep: Sequence[str], schema: pa.Schema) -> Literal["parquet", "csv"]:
    """Return the output's format, after checking that it takes the columns to keep."""
    name = PurePosixPath(request.output).suffix.lower()
    own: Literal["parquet", "csv"] | None = {".parquet": "parquet", ".csv": "csv"}.get(name)  # type: ignore[assignment]
    if own and request.format and own != request.format:
        raise UsageError(
            f"--format {request.format} does not fit the output {request.output}",
            hint="leave --format out, or name a folder",
        )
    form = own or request.format or "parquet"
    if form == "csv":
        require_writable(keep, schema)
    return form


def _definition(project: Project, features: tuple[str, ...]) -> str:
    from tidemill.features.feature_store import (  # Feast takes seconds to import
        definition_hash,
        service_features,
    )

    brought = read_columns(project) if project.config.features.source == "both" else ()
    there = {*service_features(project), *(column.name for column in brought)}
    if absent := [name for name in features if name not in there]:
        raise UsageError(
            f"the version needs features that service {project.feature_service!r} does not have: "
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
