"""Reads ``expectations.yaml``; its errors name the file, data set and field."""

from pathlib import Path

from pydantic import ValidationError

from tidemill.data.expectations.expectations_file import EXPECTATIONS
from tidemill.data.expectations.rules import Expectations
from tidemill.errors import ConfigError, UsageError
from tidemill.files.declaration_files import Declaration, parse_declaration, read_declaration
from tidemill.files.field_problems import field_problems
from tidemill.project import Project

__all__ = ["EXPECTATIONS", "declared_sets", "load_expectations", "parse_expectations"]


def load_expectations(root: Path) -> Expectations:
    """Read ``expectations.yaml`` of the project at ``root``; without that file there are no rules.

    Raises:
        ConfigError: it is wrong; the message names file, data set and field.
    """
    file = read_declaration(root / EXPECTATIONS)
    return Expectations() if file is None else _check(file)


def parse_expectations(text: str, path: Path) -> Expectations:
    """Read ``text``, the content of ``path``.

    Raises:
        ConfigError: it is wrong; the message names file, data set and field.

    >>> declared = parse_expectations('''
    ... datasets:
    ...   flights:
    ...     source: data/raw/flights.parquet
    ...     columns: {carrier: {type: string, regex: "[A-Z0-9]{2}"}}
    ... ''', Path("expectations.yaml"))
    >>> declared.datasets["flights"].mode, declared.datasets["flights"].columns["carrier"].nullable
    ('stop', False)
    """
    return _check(parse_declaration(text, path))


def _check(file: Declaration) -> Expectations:
    hint, path = "docs/validation.md describes every field", file.path
    try:
        declared = Expectations.model_validate({} if file.content is None else file.content)
    except ValidationError as error:
        wrong = [
            f"{_place(keys)}: {message}{file.line_note(keys)}"
            for keys, message in field_problems(error.errors(), Expectations)
        ]
        raise ConfigError(f"{path} is wrong: {'; '.join(wrong)}", hint=hint) from error
    if wrong := _inconsistencies(declared):
        raise ConfigError(f"{path} is wrong: {'; '.join(wrong)}", hint=hint)
    return declared


def _place(location: tuple[int | str, ...]) -> str:
    # pydantic adds the member of a union that it tried
    return ".".join(str(part) for n, part in enumerate(location) if n < 4 or not _is_tried(part)) or "file"


def _is_tried(part: int | str) -> bool:
    return part in ("str", "Edges") or str(part).startswith("function-")


def _inconsistencies(declared: Expectations) -> list[str]:
    wrong = []
    written: dict[str, str] = {declared.report: "report"}
    for name, rules in declared.datasets.items():
        for field, column in rules.mentioned():
            if rules.strict and column not in rules.columns:
                wrong.append(f"datasets.{name}.{field}: the data set declares no column {column!r}")
        for n, reference in enumerate(rules.references):
            place, other = f"datasets.{name}.references.{n}", declared.datasets.get(reference.to)
            if other is None:
                known = ", ".join(declared.datasets)
                wrong.append(f"{place}.to: no data set {reference.to!r} is declared (there are: {known})")
            elif other.strict:
                missing = [key for key in reference.keys or reference.columns if key not in other.columns]
                wrong += [f"{place}.keys: {reference.to} declares no column {key!r}" for key in missing]
        for field, path in (("accepted", rules.accepted), ("rejected", rules.rejected)):
            if path is not None and path in (rules.source, *written):
                wrong.append(f"datasets.{name}.{field}: {path} is {written.get(path, 'its source')} already")
            elif path is not None:
                written[path] = f"datasets.{name}.{field}"
    return wrong


def declared_sets(project: Project, only: str | None = None) -> Expectations:
    """Return the rules that the project declares.

    Raises:
        ConfigError: the declaration is wrong.
        UsageError: it has no data set, or none with the name ``only``.
    """
    declared = load_expectations(project.root)
    path = project.root / EXPECTATIONS
    if not declared.datasets:
        raise UsageError(
            f"{path} declares no data set", hint="begin with `tidemill data infer FILE --append`"
        )
    if only is not None and only not in declared.datasets:
        raise UsageError(
            f"{path} declares no data set {only!r}", hint=f"it declares: {', '.join(declared.datasets)}"
        )
    return declared
