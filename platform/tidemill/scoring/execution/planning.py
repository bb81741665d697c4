"""Plan a job: files, columns, features. Requests that cannot succeed are refused before it begins."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import pyarrow as pa

from tidemill.data.repository.git import git_try
from tidemill.errors import DataError, UsageError
from tidemill.features.project_features import requested_columns
from tidemill.project import Project
from tidemill.project.feature_columns import read_columns, read_keys
from tidemill.scoring.execution.answer_columns import added_columns, recorded_fields
from tidemill.scoring.execution.input_columns import (
    column_types,
    kept_columns,
    own_columns,
    require_columns,
    require_values,
    shared_types,
)
from tidemill.scoring.execution.request_choices import (
    AT,
    application_columns,
    at_column_of,
    choose_mode,
    chooses_decisions,
    format_of,
    moment_of_all,
    part_rows,
)
from tidemill.scoring.input.fragments import Shape, examine, fragments_of
from tidemill.scoring.input.prediction_ids import new_job_id
from tidemill.scoring.input.table_places import SourceFile, find_files, locate
from tidemill.scoring.scoring_job import Job, Mode, ScoreRequest
from tidemill.stages.ingest import column_formats
from tidemill.tasks.task import Task
from tidemill.version import __version__

__all__ = ["logged_keys", "plan"]


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
        at=moment_of_all(request, at_column, mode, now),
        keep=keep,
        rename=dict(request.rename),
        decide=decide,
        format=format_of(request, keep, schema),
        log=request.log,
        schema=schema,
        files=tuple(files),
        fragments=tuple(fragments_of(files, shapes, part_rows(request, decide, mode))),
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
    mode = choose_mode(project, request, features, there)
    decide = chooses_decisions(project, request, there)
    at_column = at_column_of(request, there, mode, features)
    needed = _needed(project, features, mode, at_column, decide, request.log, there, file, optional)
    return mode, decide, at_column, needed


def _named(project: Project, request: ScoreRequest, features: Sequence[str]) -> set[str]:
    """Return the columns that the job may need."""
    named = {*features, *request.rename, *(request.keep or ()), request.at_column or AT}
    if request.decide is not False and project.config.project.application is not None:
        named |= application_columns(project).keys()
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
        needed += [name for name in application_columns(project) if name in there]
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
