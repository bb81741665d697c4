"""Reads YAML safely: the project's own files as YAML 1.1, and the files of DVC as YAML 1.2."""

import re
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

__all__ = [
    "YamlError",
    "compose_yaml",
    "line_in_yaml",
    "parse_dvc_yaml",
    "parse_yaml",
    "read_yaml",
    "read_yaml_text",
    "yaml_problem",
]

YamlError = yaml.YAMLError
"""The error for invalid YAML; `yaml_problem` says what is wrong, and where."""

_Safe: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def parse_yaml(text: str | bytes) -> Any:
    """Parse YAML 1.1, as PyYAML does, but refuse duplicate keys.

    Raises:
        YamlError: it is not valid YAML, or a mapping has a key twice (YAML itself would take the last).

    >>> parse_yaml("data: {last: '2013-03'}")
    {'data': {'last': '2013-03'}}
    """
    try:
        return yaml.load(text, _UniqueKeys)  # noqa: S506 - a safe loader
    except UnicodeEncodeError as error:
        raise YamlError(f"character {error.start + 1} is not UTF-8") from error
    except yaml.reader.ReaderError as error:
        before = (text.encode() if isinstance(text, str) else text)[: error.position].decode(errors="replace")
        line, column = before.count("\n"), len(before) - before.rfind("\n") - 1
        mark = yaml.Mark("", error.position, line, column, None, 0)
        raise yaml.MarkedYAMLError(None, None, error.reason, mark) from error


def yaml_problem(error: YamlError) -> str:
    """Return what is wrong with a YAML text, after its line and column where they are known.

    >>> try:
    ...     parse_yaml("a: 1\\nb: 2013-02-30")
    ... except YamlError as error:
    ...     yaml_problem(error)
    "line 2, column 4: '2013-02-30' cannot be read: day is out of range for month"
    """
    mark, problem = getattr(error, "problem_mark", None), getattr(error, "problem", None)
    place = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
    if problem and problem.startswith("but "):
        problem = f"{getattr(error, 'context', None) or ''}, {problem}".removeprefix(", ")
    return f"{place}{problem or error}"


def read_yaml_text(path: Path) -> str:
    """Return the text of a YAML file in UTF-8. A named pipe or a device is not read: it may never end.

    Raises:
        OSError: it cannot be read.
        YamlError: it is not in UTF-8, or no ordinary file.
    """
    kind = path.stat().st_mode
    if stat.S_ISDIR(kind):
        raise YamlError("it is a folder")
    if not stat.S_ISREG(kind):
        raise YamlError("it is a named pipe or a device")
    try:
        return path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise YamlError(f"it is not in UTF-8 (byte {error.start + 1})") from error


def read_yaml(path: Path) -> Any:
    """Return the content of a YAML file in UTF-8.

    Raises:
        OSError: it cannot be read.
        YamlError: it is not in UTF-8, is not valid YAML, or a mapping has a key twice.
    """
    return parse_yaml(read_yaml_text(path))


def parse_dvc_yaml(text: str | bytes) -> Any:
    """Parse ``dvc.yaml``, ``dvc.lock`` or a ``.dvc`` file, which DVC writes in YAML 1.2.

    YAML 1.1 would read a file name such as ``12:00`` as the number 720.

    Raises:
        YamlError: it is not valid YAML.

    >>> parse_dvc_yaml("outs: [{path: 12:00, size: 5}]")
    {'outs': [{'path': '12:00', 'size': 5}]}
    """
    return yaml.load(text, _Core)  # noqa: S506 - a safe loader


def compose_yaml(text: str) -> Any:
    """Return the nodes of YAML 1.1, whose marks say where each begins and ends; None for an empty text.

    Raises:
        YamlError: it is not valid YAML.
    """
    return yaml.compose(text, yaml.SafeLoader)


def line_in_yaml(text: str, keys: Sequence[int | str]) -> int | None:
    """Return the line of a key in valid YAML, counted from 1; of the deepest part of ``keys`` that it has.

    >>> line_in_yaml("a: 1\\nb:\\n  - c: 2\\n  - d: 3\\n", ["b", 1, "d"])
    4
    """
    node, line = compose_yaml(text), None
    for key in keys:
        found = None
        if isinstance(node, yaml.MappingNode):
            found = next(((name, value) for name, value in node.value if name.value == str(key)), None)
        elif isinstance(node, yaml.SequenceNode) and isinstance(key, int) and key < len(node.value):
            found = (node.value[key], node.value[key])
        if found is None:
            break
        line, node = found[0].start_mark.line + 1, found[1]
    return line


class _UniqueKeys(_Safe):  # type: ignore[misc]
    """A loader that refuses duplicate keys, and says where a value that it cannot read stands."""

    def construct_object(self, node: Any, deep: bool = False) -> Any:
        try:
            return super().construct_object(node, deep)
        except (ValueError, AttributeError, OverflowError) as error:  # 2013-02-30, or !!int and no digits
            shown = f"{node.value!r} cannot be read" if isinstance(node, yaml.ScalarNode) else "wrong value"
            why = "" if isinstance(error, AttributeError) else f": {error}"
            raise yaml.MarkedYAMLError(None, None, f"{shown}{why}", node.start_mark) from error

    def construct_mapping(self, node: Any, deep: bool = False) -> Any:
        seen = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.tag != "tag:yaml.org,2002:merge":
                if key.value in seen:
                    raise yaml.MarkedYAMLError(
                        "while reading a mapping",
                        node.start_mark,
                        f"{key.value!r} stands twice",
                        key.start_mark,
                    )
                seen.add(key.value)
        return super().construct_mapping(node, deep)


class _Core(_UniqueKeys):
    """A loader that resolves only the core schema of YAML 1.2 (https://yaml.org/spec/1.2.2)."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012 - PyYAML's


for _tag, _pattern, _first in (
    ("bool", r"^(?:true|True|TRUE|false|False|FALSE)$", "tTfF"),
    ("null", r"^(?:~|null|Null|NULL|)$", ["~", "n", "N", ""]),
    ("int", r"^[-+]?(?:0|[1-9][0-9]*)$", "-+0123456789"),
    ("float", r"^[-+]?(?:[0-9]+\.[0-9]*|\.[0-9]+|[0-9]+)(?:[eE][-+]?[0-9]+)?$", "-+.0123456789"),
    ("merge", r"^(?:<<)$", "<"),
):
    _Core.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(_pattern), list(_first))
