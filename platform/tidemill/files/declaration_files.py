"""Reads YAML files that people write, with messages that name the file, the line and the key."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from tidemill.errors import ConfigError
from tidemill.files.field_problems import field_problems
from tidemill.files.yaml_reading import YamlError, line_in_yaml, parse_yaml, read_yaml_text, yaml_problem

if TYPE_CHECKING:
    from pydantic import BaseModel

__all__ = ["Declaration", "parse_declaration", "read_declaration"]

_HINT = "it must be a file of YAML in UTF-8"
Model = TypeVar("Model", bound="BaseModel")


@dataclass(frozen=True)
class Declaration:
    """The content of a YAML file, and the lines of its keys."""

    path: Path
    text: str
    content: Any

    def as_model(self, model: type[Model], hint: str, item: str | None = None) -> Model:
        """Return the content as ``model``; an empty file is an empty mapping.

        Args:
            model: what the file declares.
            hint: where its fields are described.
            item: what an entry of the file's list is, such as ``monitor``, to be named in messages.

        Raises:
            ConfigError: a field is missing or wrong; the message names each, and its line.
        """
        from pydantic import ValidationError  # import pydantic only if a model is used

        try:
            return model.model_validate({} if self.content is None else self.content)
        except ValidationError as error:
            found = field_problems(error.errors(), model)
            wrong = "; ".join(self._wrong(keys, message, item) for keys, message in found)
            raise ConfigError(f"{self.path} is wrong: {wrong}", hint=hint) from error

    def line_of(self, keys: Sequence[int | str]) -> int | None:
        """Return the line of a key, counted from 1; of the deepest part of ``keys`` that the file has.

        >>> parse_declaration("a: 1\\nb:\\n  - c: 2\\n  - d: 3\\n", Path("x.yaml")).line_of(["b", 1, "d"])
        4
        """
        return line_in_yaml(self.text, keys)

    def line_note(self, keys: Sequence[int | str]) -> str:
        """Return the line of a key as the end of a message: ``" (line 4)"``, or an empty string."""
        line = self.line_of(keys)
        return "" if line is None else f" (line {line})"

    def refuse_doubled(self, key: str, names: Sequence[str], hint: str) -> None:
        """Check that no two entries of the list ``key`` have the same name.

        Raises:
            ConfigError: two have; the message names the line of the second one.
        """
        for number, name in enumerate(names):
            if name in names[:number]:
                keys: list[int | str] = [key, number, "name"]
                place = ".".join(map(str, keys))
                raise ConfigError(
                    f"{self.path} is wrong: {place}: {name!r} is declared twice: rename one"
                    f"{self.line_note(keys)}",
                    hint=hint,
                )

    def _wrong(self, keys: Sequence[int | str], message: str, item: str | None) -> str:
        whose, field = "", keys
        if item and len(keys) > 1 and isinstance(keys[1], int):
            whose, field = f"{item} {self._name_of(keys[0], keys[1])}: ", keys[2:]
        place = ".".join(map(str, field)) or ("" if whose else "file")
        return f"{whose}{place}{': ' if place else ''}{message}{self.line_note(keys)}"

    def _name_of(self, key: int | str, number: int) -> str:
        try:
            return repr(self.content[key][number]["name"])
        except (KeyError, TypeError):
            return str(number + 1)


def read_declaration(path: Path) -> Declaration | None:
    """Return the content of a file, or None when there is no such file.

    Raises:
        ConfigError: the file cannot be read, or is not valid YAML.
    """
    try:
        text = read_yaml_text(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise ConfigError(
            f"{path} cannot be read: {error.strerror or error}", hint="check that you may read it"
        ) from error
    except YamlError as error:
        raise ConfigError(f"{path} cannot be read: {error}", hint=_HINT) from error
    return parse_declaration(text, path)


def parse_declaration(text: str, path: Path) -> Declaration:
    r"""Parse ``text``, the content of ``path``.

    Raises:
        ConfigError: it is not valid YAML, or a mapping has a key twice (YAML itself would take the last).

    >>> parse_declaration("a: 1\na: 2\n", Path("x.yaml"))
    Traceback (most recent call last):
    tidemill.errors.ConfigError: x.yaml cannot be read: line 2, column 1: 'a' stands twice
    """
    try:
        return Declaration(path, text, parse_yaml(text))
    except YamlError as error:
        raise ConfigError(f"{path} cannot be read: {yaml_problem(error)}", hint=_HINT) from error
