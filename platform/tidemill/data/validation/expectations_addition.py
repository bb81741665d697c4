"""Adds inferred expectations to ``expectations.yaml``."""

from pathlib import Path
from textwrap import indent

from tidemill.data.expectations.declarations import parse_expectations
from tidemill.data.validation.inference import Inferred
from tidemill.errors import ConfigError, DataError, UsageError
from tidemill.files.atomic import replace_file
from tidemill.files.yaml_reading import compose_yaml

__all__ = ["append_expectations"]

_NULL = "tag:yaml.org,2002:null"


def append_expectations(path: Path, inferred: Inferred) -> None:
    """Add inferred expectations to ``expectations.yaml``, without changing its other text.

    Args:
        path: the file; it is made if there is none.
        inferred: the data set; it must not be declared there yet.

    Raises:
        UsageError: the data set is declared already.
        ConfigError: the file is wrong, or its data sets are not written as a block.
        DataError: it cannot be written.
    """
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    before = parse_expectations(text, path)
    if inferred.name in before.datasets:
        raise UsageError(
            f"{path} declares {inferred.name!r} already", hint="choose another --name, or edit it by hand"
        )
    after = _inserted(text, inferred)
    declared = parse_expectations(after, path)
    expected = {*before.datasets, inferred.name}
    same = {name: declared.datasets.get(name) for name in before.datasets} == before.datasets
    if set(declared.datasets) != expected or not same:
        raise ConfigError(
            f"{path}: {inferred.name} cannot be added without changing other declarations",
            hint="write `datasets:` as a block, one data set below the other, or add it by hand",
        )
    try:
        replace_file(path, after)
    except OSError as error:
        raise DataError(
            f"{path} cannot be written: {error}", hint="check that the disk has space and can be written"
        ) from error


def _inserted(text: str, inferred: Inferred) -> str:
    root = compose_yaml(text) if text.strip() else None
    found = None if root is None else next((v for k, v in root.value if k.value == "datasets"), None)
    start = text if not text or text.endswith("\n") else text + "\n"
    if found is None:
        return f"{start}{inferred.document}"
    if not found.value or found.tag == _NULL:  # `datasets:`, `datasets: {}`, `datasets: null`
        before, after = start[: found.start_mark.index].rstrip(" "), start[found.end_mark.index :]
        rest, newline, following = after.partition("\n")
        return f"{before}{rest}{newline}{indent(inferred.text, '  ')}{following}"
    if found.flow_style:
        raise ConfigError(
            f"`datasets` is written in braces: {inferred.name} cannot be added", hint="write it as a block"
        )
    column = found.value[0][0].start_mark.column
    # A block ends where the next token begins: blank lines and comments between belong to that token.
    end = len(start) if found.end_mark.index >= len(text.rstrip()) else found.end_mark.index
    last = start[:end].rstrip() + "\n"
    return f"{last}\n{indent(inferred.text, ' ' * column)}{start[len(last) :]}"
