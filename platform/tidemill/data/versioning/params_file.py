"""Sets values in ``params.yaml`` without changing its comments, order and layout.

The value's characters are replaced in the text. A round trip through ruamel.yaml would change others: it
sets one indentation for the whole file, writes ``null`` as nothing, and drops ``\\r`` and spaces in braces.
"""

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tidemill.errors import ConfigError, UsageError
from tidemill.files.declaration_files import parse_declaration
from tidemill.files.yaml_reading import YamlError, compose_yaml, parse_yaml
from tidemill.files.yaml_writing import flow_yaml

__all__ = ["read_file", "set_values"]


def set_values(text: str, values: Mapping[str, object]) -> str:
    """Return the YAML ``text`` with each dotted name set to its value.

    Only the characters of the values change; an equal value keeps its spelling. Strings are
    written in double quotes, which YAML 1.1 (PyYAML) and 1.2 (DVC) read alike. A parameter that the text has
    not, but that every project may have, is added to its block.

    Args:
        text: the content of a ``params.yaml``.
        values: dotted name (``data.last_month``) → string, number, boolean, None, list or mapping of these.

    Raises:
        ConfigError: the text has no such parameter, or cannot be read.
        UsageError: a value is of another type.

    >>> text = "data:  # of 2013\\n  last: '2013-03'  # included\\n"
    >>> set_values(text, {"data.last": "2013-04"}).splitlines()
    ['data:  # of 2013', '  last: "2013-04"  # included']
    >>> set_values("train:\\n  trials: 8\\n", {"train.seed": 5})
    'train:\\n  seed: 5\\n  trials: 8\\n'
    """
    before = parse_declaration(text, Path("params.yaml")).content
    wanted = copy.deepcopy(before)
    for name, value in values.items():
        if _is_left_out(before, name):
            text = _add(text, name, _flow(name, value))
            _set(wanted, name, value)
            continue
        if _get(before, name) == value and type(_get(before, name)) is type(value):
            continue
        text = _replace(text, name, _flow(name, value))
        _set(wanted, name, value)
    try:
        written = parse_yaml(text)
    except YamlError:
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


def _is_left_out(content: Any, name: str) -> bool:
    """Return whether a block of the content could have a parameter, by the form of ``params.yaml``."""
    from tidemill.project.project_config import ProjectConfig

    *above, last = name.split(".")
    form: Any = ProjectConfig
    for part in above:
        fields = getattr(form, "model_fields", {})
        if not isinstance(content, Mapping) or part not in content or part not in fields:
            return False
        content, form = content[part], fields[part].annotation
    known = last in getattr(form, "model_fields", {})
    return bool(above and known and isinstance(content, Mapping) and content and last not in content)


def _set(content: Any, name: str, value: object) -> None:
    *above, last = name.split(".")
    for part in above:
        content = content[part]
    content[last] = value


def _replace(text: str, name: str, new: str) -> str:
    node = compose_yaml(text)
    for part in name.split("."):
        node = next((value for key, value in node.value if key.value == part), None)
        if node is None:
            raise ConfigError(
                f"params.yaml: {name} comes from a merged key (<<) and cannot be set",
                hint="write it out where it is used",
            )
    start, end = node.start_mark.index, node.end_mark.index
    end = start + len(text[start:end].rstrip())  # a block's end is where the next token starts
    before = "" if text[start - 1 : start].isspace() else " "  # `key:` without a value ends at its colon
    return text[:start] + before + new + text[end:]


def _add(text: str, name: str, new: str) -> str:
    node = compose_yaml(text)
    *above, last = name.split(".")
    for part in above:
        node = next(value for key, value in node.value if key.value == part)
    start = node.start_mark.index
    if node.flow_style:
        return f"{text[: start + 1]}{last}: {new}, {text[start + 1 :]}"
    return f"{text[:start]}{last}: {new}\n{' ' * node.start_mark.column}{text[start:]}"


def _flow(name: str, value: object) -> str:
    try:
        return flow_yaml(value)
    except TypeError as error:
        raise UsageError(
            f"{name} cannot be set to {value!r}: {error}", hint="moments go in as ISO 8601 strings"
        ) from error
