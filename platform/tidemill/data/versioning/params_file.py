"""Sets values in ``params.yaml`` without changing its comments, order and layout."""

import copy
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from tidemill.errors import ConfigError, UsageError

__all__ = ["read_file", "replace_file", "set_values"]


def set_values(text: str, values: Mapping[str, object]) -> str:
    """Return the YAML ``text`` with each dotted name set to its value.

    Only the characters of the values change; an equal value keeps its spelling. Strings are
    written in double quotes, which YAML 1.1 (PyYAML) and 1.2 (DVC) read alike.

    Args:
        text: the content of a ``params.yaml``.
        values: dotted name (``data.last_month``) → string, number, boolean, None, list or mapping of these.

    Raises:
        ConfigError: the text has no such parameter, or cannot be read.
        UsageError: a value is of another type.

    >>> text = "data:  # of 2013\\n  last: '2013-03'  # included\\n"
    >>> set_values(text, {"data.last": "2013-04"}).splitlines()
    ['data:  # of 2013', '  last: "2013-04"  # included']
    """
    before = _parse(text)
    wanted = copy.deepcopy(before)
    for name, value in values.items():
        if _get(before, name) == value and type(_get(before, name)) is type(value):
            continue
        text = _replace(text, name, _flow(name, value))
        _set(wanted, name, value)
    try:
        written = yaml.safe_load(text)
    except yaml.YAMLError:
        written = None
    if written != wanted:
        raise ConfigError(
            f"params.yaml: {', '.join(values)} cannot be set without changing other values",
            hint="write them out there without anchors and aliases",
        )
    return text


def read_file(path: Path) -> str | None:
    """Return the content of ``path`` with its line ends unchanged; None if there is no such file."""
    try:
        with path.open(encoding="utf-8", newline="") as file:
            return file.read()
    except FileNotFoundError:
        return None


def replace_file(path: Path, text: str, scratch: Path) -> None:
    """Write ``text`` to ``path`` so that a reader sees the old content or the new one, never a part.

    Args:
        path: the file.
        text: its new content.
        scratch: a folder on the same file system, for the file while it is being written.
    """
    scratch.mkdir(parents=True, exist_ok=True)
    temporary = scratch / f"{path.name}.new"
    with temporary.open("w", encoding="utf-8", newline="") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    if path.exists():
        temporary.chmod(path.stat().st_mode)
    temporary.replace(path)


def _parse(text: str) -> Any:
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigError(f"params.yaml cannot be read: {error}", hint="it must be YAML in UTF-8") from error


def _get(content: Any, name: str) -> Any:
    parts = name.split(".")
    for position, part in enumerate(parts):
        if not isinstance(content, Mapping) or part not in content:
            known = (
                ", ".join(str(key) for key in content) if isinstance(content, Mapping) else "no parameters"
            )
            above = ".".join(parts[:position]) or "its top level"
            raise ConfigError(
                f"params.yaml has no parameter {name!r}: {above} has {known}",
                hint="declare it there first; a new parameter would reach no stage",
            )
        content = content[part]
    return content


def _set(content: Any, name: str, value: object) -> None:
    *above, last = name.split(".")
    for part in above:
        content = content[part]
    content[last] = value


def _replace(text: str, name: str, new: str) -> str:
    node: Any = yaml.compose(text, Loader=yaml.SafeLoader)
    for part in name.split("."):
        # Of two equal keys the last one counts, as it does for the parser.
        found = [value for key, value in node.value if key.value == part]
        if not found:
            raise ConfigError(f"params.yaml: {name} comes from a merged key and cannot be set")
        node = found[-1]
    start, end = node.start_mark.index, node.end_mark.index
    end = start + len(text[start:end].rstrip())  # a block's end is where the next token starts
    before = "" if text[start - 1 : start].isspace() else " "  # `key:` without a value ends at its colon
    return text[:start] + before + new + text[end:]


def _flow(name: str, value: object) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return str(value).lower()
        case str():
            return json.dumps(value, ensure_ascii=False)
        case int():
            return str(value)
        case float():
            return _float(value)
        case Mapping():
            return (
                "{"
                + ", ".join(f"{_flow(name, str(key))}: {_flow(name, item)}" for key, item in value.items())
                + "}"
            )
        case Sequence():
            return "[" + ", ".join(_flow(name, item) for item in value) + "]"
    raise UsageError(
        f"{name} cannot be set to {value!r}: {type(value).__name__} has no place in params.yaml",
        hint="moments go in as ISO 8601 strings",
    )


def _float(value: float) -> str:
    text: str = yaml.safe_dump(value).splitlines()[0]
    return text
