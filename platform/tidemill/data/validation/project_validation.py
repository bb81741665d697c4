"""Validates the data sets of a project by its declared rules, and reports all failures together."""

import json
from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import ExitStack
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import pandera.polars as pa
import polars as pl

from tidemill.data.bias.group_rates import find_bias
from tidemill.data.expectations.declarations import EXPECTATIONS, declared_sets
from tidemill.data.expectations.rules import DatasetRules, Expectations
from tidemill.data.personal.pseudonyms import pseudonymisers_for
from tidemill.data.tables.frames import RowWriter, is_csv, keep, open_table, table_files, temporary_beside
from tidemill.data.tables.scanning import scan_parquet
from tidemill.data.validation.earlier_reports import earlier_reports
from tidemill.data.validation.examination import CheckInputs, WriterFactories, examine_set
from tidemill.data.validation.pandera_checks import coerced, comparable, is_castable, misdeclared
from tidemill.data.validation.validation_report import SetReport
from tidemill.errors import ConfigError, DataError
from tidemill.files.drafts import discard_draft
from tidemill.plurals import counted
from tidemill.project import Project

__all__ = ["check_project", "failures", "open_declared", "raise_for", "write_checked"]

Progress = Callable[[str, str, int | None, int | None], None]


def _untold(_step: str, _message: str, _done: int | None, _total: int | None) -> None:
    """Ignore progress."""


def check_project(
    project: Project,
    as_of: datetime | None,
    *,
    only: str | None = None,
    file: Path | None = None,
    failing: Path | None = None,
    on_progress: Progress = _untold,
) -> dict[str, SetReport]:
    """Run the declared checks on the current data, without changing the project.

    Args:
        project: the project, whose ``expectations.yaml`` has the rules.
        as_of: the moment at which data must be fresh; None: freshness is not judged.
        only: name of one data set to check; None: all.
        file: check this file instead of the source of ``only``.
        failing: folder for the failing rows, ``<data set>.parquet`` each, in every mode.
        on_progress: called with the data set, the action, the finished rows and the total rows.

    Returns:
        One report for each data set, in the order of the file.

    Raises:
        ConfigError: the declaration is wrong, or invalid for the columns of a file.
        DataError: a file is missing, cannot be read, or changed while it was read.
        UsageError: no data set ``only`` is declared.
    """
    files = {only: file} if only and file else {}
    declared = _with_types_of_text(project, declared_sets(project, only), files)
    tables = open_declared(project, declared, files, only)
    with ExitStack() as stack:
        parts: list[RowWriter] = []
        reports = {}
        for name in declared.datasets if only is None else [only]:
            sides = WriterFactories(failing=_writer(stack, parts, failing and failing / f"{name}.parquet"))
            reports[name] = _check(project, declared, name, tables, sides, as_of, on_progress, file=file)
        keep([(part.part, part.path) for part in parts])
    return reports


def write_checked(
    project: Project,
    as_of: datetime | None,
    *,
    personal: Collection[str] = (),
    on_progress: Progress = _untold,
) -> dict[str, SetReport]:
    """Run the declared checks and write the results: accepted and rejected rows, and the report.

    All files appear together, or none if a data set in mode ``stop`` fails as a whole.

    Args:
        project: the project, whose ``expectations.yaml`` has the rules and the output paths.
        as_of: the moment at which data must be fresh; None: freshness is not judged.
        personal: columns whose values the report must not show; groups are named by pseudonyms.
        on_progress: as in `check_project`.

    Raises:
        ConfigError: the declaration is wrong, or makes no sense for the columns of a file.
        DataError: a data set in mode ``stop`` fails, a file cannot be read or written, or changed meanwhile.
    """
    declared = _with_types_of_text(project, declared_sets(project))
    tables = open_declared(project, declared)
    with ExitStack() as stack:
        parts: list[RowWriter] = []
        reports = {}
        for name, rules in declared.datasets.items():
            sides = WriterFactories(
                accepted=_writer(stack, parts, rules.accepted and project.root / rules.accepted),
                rejected=_writer(stack, parts, rules.rejected and project.root / rules.rejected),
            )
            report = _check(project, declared, name, tables, sides, as_of, on_progress)
            if rules.bias and rules.accepted and not report.stops:
                kept = next(part.part for part in parts if part.path == project.root / rules.accepted)
                found = find_bias(
                    scan_parquet([kept]),
                    rules.bias,
                    name,
                    pseudonymisers_for(project, rules.bias.named_by_value & set(personal)),
                )
                report = replace(report, bias=found.as_dict())
            reports[name] = report
        raise_for(reports)
        place = project.root / declared.report
        text = json.dumps({name: found.as_dict() for name, found in reports.items()}, indent=2) + "\n"
        part = temporary_beside(place)
        stack.callback(discard_draft, part)
        try:
            part.write_text(text, encoding="utf-8")
        except OSError as error:
            raise DataError(f"{place} cannot be written: {error}", hint="free space on the disk") from error
        keep([*((part.part, part.path) for part in parts), (part, place)])
    return reports


def open_declared(
    project: Project,
    declared: Expectations,
    files: Mapping[str, Path] | None = None,
    only: str | None = None,
) -> dict[str, pl.LazyFrame]:
    """Open the source of every data set to check and those it refers to, and validate its declaration.

    Args:
        project: the project with the sources.
        declared: the declaration.
        files: data set → file to use instead of its source.
        only: name of one data set to open, with those that it refers to; None: all.

    Raises:
        ConfigError: declarations are invalid for the columns; all are named.
        DataError: files are missing or cannot be read; all are named.
    """
    files = files or {}
    wanted = set(declared.datasets) if only is None else {only}
    wanted |= {reference.to for name in wanted for reference in declared.datasets[name].references}
    tables, missing, wrong = {}, [], []
    for name, rules in declared.datasets.items():
        if name not in wanted:
            continue
        try:
            types = {column: dtype for column, dtype in rules.dtypes.items() if is_castable(dtype)}
            tables[name] = open_table(files.get(name, project.root / rules.source), types)
        except DataError as error:
            missing.append(error)
            continue
        schema = _schema(rules, tables[name])
        if rules.mode != "off":
            wrong += [f"datasets.{name}.{problem}" for problem in misdeclared(rules, schema)]
    if missing:
        raise DataError("; ".join(str(error) for error in missing), hint=missing[0].hint)
    if wrong:
        raise ConfigError(
            f"{project.root / EXPECTATIONS} is wrong: {'; '.join(wrong)}",
            hint="docs/validation.md describes every field",
        )
    return tables


def _with_types_of_text(
    project: Project, declared: Expectations, files: Mapping[str, Path] | None = None
) -> Expectations:
    """Return the declaration with ``coerce`` on for CSV, whose text has no types but the declared ones."""
    sets = {
        name: rules.model_copy(update={"coerce": True})
        if is_csv((files or {}).get(name, project.root / rules.source))
        else rules
        for name, rules in declared.datasets.items()
    }
    return declared.model_copy(update={"datasets": sets})


def failures(reports: Mapping[str, SetReport]) -> list[str]:
    """Return every failure of data sets in mode ``stop`` as a line, with the rules that bad rows break."""
    lines = []
    for name, report in reports.items():
        if not report.stops:
            continue
        for check in report.failed:
            lines.append(f"{name}: {check.check}" + (f": {check.detail}" if check.detail else ""))
            if check.kind == "share of bad rows":
                most = sorted(report.broken.items(), key=lambda item: -item[1])
                lines += [f"    {rule}: {counted(count, 'row')}" for rule, count in most]
    return lines


def raise_for(reports: Mapping[str, SetReport]) -> None:
    """Raise a DataError with all failures, if any data set in mode ``stop`` fails as a whole."""
    if lines := failures(reports):
        listed = "".join(f"\n  - {line}" if line[0] != " " else f"\n{line}" for line in lines)
        raise DataError(
            f"data is not what {EXPECTATIONS} declares:{listed}",
            hint="see the rows with `tidemill data validate --failing DIR`; correct the data or the "
            "declaration",
        )


def _check(
    project: Project,
    declared: Expectations,
    name: str,
    tables: Mapping[str, pl.LazyFrame],
    sides: WriterFactories,
    as_of: datetime | None,
    on_progress: Progress,
    *,
    file: Path | None = None,
) -> SetReport:
    rules = declared.datasets[name]
    files = table_files(file or project.root / rules.source)
    before = _fingerprints(files)
    others = {}
    for reference in rules.references:
        schema = tables[reference.to].collect_schema()
        types = coerced(declared.datasets[reference.to], schema).values()
        others[reference.to] = comparable(tables[reference.to].with_columns(types))
    earlier = []
    if rules.volume and rules.volume.change:
        reports = earlier_reports(project.root, declared.report, rules.volume.versions)
        earlier = [report[name] for report in reports if isinstance(report.get(name), dict)]
    total = int(tables[name].select(pl.len()).collect().item())
    asked = CheckInputs(name, rules, tables[name], others, _pandera(project, name, rules), as_of, earlier)
    on_progress(name, f"mode {rules.mode}", 0, total)
    report = examine_set(asked, sides, lambda done: on_progress(name, f"mode {rules.mode}", done, total))
    if _fingerprints(files) != before:
        raise DataError(
            f"{file or project.root / rules.source} changed while it was read",
            hint="run again when no program writes to it",
        )
    return report


def _fingerprints(files: Iterable[Path]) -> list[tuple[int, int]]:
    try:
        return [(found.st_size, found.st_mtime_ns) for found in (file.stat() for file in files)]
    except OSError:  # a file was deleted
        return []


def _pandera(project: Project, name: str, rules: DatasetRules) -> pa.DataFrameSchema | None:
    if rules.pandera is None or rules.mode == "off":
        return None
    place = f"{project.root / EXPECTATIONS}: datasets.{name}.schema"
    try:
        found = project.load(rules.pandera)
    except ConfigError as error:
        raise ConfigError(f"{place}: {rules.pandera} cannot be loaded: {error}", hint=error.hint) from error
    if isinstance(found, type) and issubclass(found, pa.DataFrameModel):
        found = found.to_schema()  # type: ignore[attr-defined]
    if not isinstance(found, pa.DataFrameSchema):
        raise ConfigError(
            f"{place}: {rules.pandera} is a {type(found).__name__}, not a schema of pandera.polars",
            hint="make it a DataFrameSchema or a DataFrameModel",
        )
    return found


def _schema(rules: DatasetRules, table: pl.LazyFrame) -> pl.Schema:
    schema = table.collect_schema()
    return table.with_columns(coerced(rules, schema).values()).collect_schema()


def _writer(stack: ExitStack, parts: list[RowWriter], path: Path | str | None) -> Any:
    """Return a factory of a writer for known columns; the exit stack deletes a file that is not kept."""
    if not path:
        return None

    def begin(schema: pl.Schema) -> RowWriter:
        writer = RowWriter(Path(path), schema)
        stack.callback(writer.drop)
        parts.append(writer)
        return writer

    return begin
