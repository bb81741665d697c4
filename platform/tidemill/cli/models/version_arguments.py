"""The arguments of commands that take a model and a version, and what they mean where one is left out."""

from typing import TYPE_CHECKING, Annotated

import typer

from tidemill.errors import UsageError

if TYPE_CHECKING:
    from tidemill.project import ProjectFolder

__all__ = [
    "AnyVersion",
    "Model",
    "NamedVersion",
    "Version",
    "is_version",
    "meant_version",
    "named_version",
    "require_own_model",
]

Model = Annotated[
    str | None, typer.Argument(help="Name of the model (default: the project's).", show_default=False)
]
Version = Annotated[
    str | None,
    typer.Argument(help="A version number or an alias (default: the champion).", show_default=False),
]
AnyVersion = Annotated[
    str | None,
    typer.Argument(
        metavar="VERSION", help="A version number or an alias (default: all).", show_default=False
    ),
]
NamedVersion = Annotated[
    str | None,
    typer.Argument(metavar="VERSION", help="A version number or an alias.", show_default=False),
]


def meant_version(folder: "ProjectFolder", model: str | None, version: str | None) -> tuple[str, str]:
    """Return the model and the version that arguments mean; one alone may be either."""
    from tidemill.registry.versions.alias_names import CHAMPION

    if version is None and model is not None and is_version(folder, model):
        return folder.model, model
    return model or folder.model, version or CHAMPION


def named_version(
    folder: "ProjectFolder", model: str | None, version: str | None, command: str
) -> tuple[str, str]:
    """Return the model and the version that arguments of ``command`` mean; a version must be among them.

    Raises:
        UsageError: no version is named.
    """
    if version is None and model is not None and is_version(folder, model):
        return folder.model, model
    if version is None:
        raise UsageError(
            f"{command} needs a version of {model or folder.model}: a number or an alias",
            hint=f"`tidemill models list {model or folder.model}` shows them",
        )
    return model or folder.model, version


def require_own_model(folder: "ProjectFolder", model: str, command: str) -> None:
    """Raise an error for the model of another project, which a shared registry may have.

    Raises:
        UsageError: it is not the project's model.
    """
    if model != folder.model:
        raise UsageError(
            f"{command} moves the champion of {folder.model}, this project's model, not of {model!r}",
            hint="check the spelling, or name the project of that model with --project DIR",
        )


def is_version(folder: "ProjectFolder", text: str) -> bool:
    """Return whether an argument alone is a version of the project's model, not the name of a model."""
    from tidemill.registry.versions.alias_names import CHAMPION
    from tidemill.registry.versions.registry_reader import read_alias_names

    return text != folder.model and (text.isdecimal() or text == CHAMPION or text in read_alias_names(folder))
