"""Reads who is told of changes of the registry, from ``webhooks.yaml``."""

import os
from pathlib import Path
from typing import Annotated, Final

from pydantic import BaseModel, ConfigDict, Field, model_validator

from tidemill.accounts.roles import TABLE
from tidemill.errors import ConfigError, NotDelivered
from tidemill.files.declaration_files import read_declaration
from tidemill.project import ProjectFolder

__all__ = ["ACTIONS", "HOOKS_FILE", "Hook", "load_hooks", "secret_of"]

HOOKS_FILE = "webhooks.yaml"
ACTIONS: Final = ({*TABLE["version"], *TABLE["rollout"]} - {"read"}) | {
    "advance", "archive", "ask-approval", "compile", "drop", "expire", "import", "keep-card", "move",
    "reject", "stage", "unarchive", "unstage",
}  # fmt: skip
"""What the audit log has about versions and rollouts."""
_HINT = "docs/webhooks.md describes every field"
_SHORTEST = 16
_Variable = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]


class Hook(BaseModel):
    """Somebody who is told. Neither address nor secret is in the file itself."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9-]*$", max_length=60)
    url_env: _Variable | None = None
    """The variable of the environment with the address."""
    url_file: str | None = None
    """The file with the address; relative to the project's folder."""
    secret_env: _Variable | None = None
    """The variable of the environment with the secret that signs."""
    secret_file: str | None = None
    """The file with the secret."""
    actions: tuple[str, ...] = ()
    """Such as ``promote``, ``roll-back``, ``deploy``; none: all."""

    @model_validator(mode="after")
    def _one_of_each(self) -> "Hook":
        for what in ("url", "secret"):
            if (getattr(self, f"{what}_env") is None) == (getattr(self, f"{what}_file") is None):
                raise ValueError(f"set either {what}_env or {what}_file")
        if unknown := [each for each in self.actions if each not in ACTIONS]:
            raise ValueError(f"there is no action {unknown[0]!r}: choose among {', '.join(sorted(ACTIONS))}")
        return self


class _Hooks(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    webhooks: tuple[Hook, ...] = ()


def load_hooks(project: ProjectFolder) -> tuple[Hook, ...]:
    """Return the declared webhooks; none without the file.

    Raises:
        ConfigError: the file is wrong; the message names file, line and field.
    """
    file = read_declaration(project.root / HOOKS_FILE)
    if file is None:
        return ()
    hooks = file.as_model(_Hooks, _HINT, "webhook").webhooks
    names = [one.name for one in hooks]
    for number, name in enumerate(names):
        if name in names[:number]:
            note = file.line_note(["webhooks", number, "name"])
            raise ConfigError(f"{file.path} is wrong: webhooks: {name!r} is declared twice{note}", hint=_HINT)
    return hooks


def secret_of(hook: Hook, what: str, root: Path) -> str:
    """Return the address (``url``) or the ``secret`` of a webhook, from the environment or its file.

    Raises:
        NotDelivered: it is not there, or the secret is too short; the message never has it.
    """
    variable = getattr(hook, f"{what}_env")
    if variable is not None:
        found, where = os.environ.get(variable, "").strip(), variable
    else:
        path = root / str(getattr(hook, f"{what}_file"))
        where = str(path)
        try:
            found = path.read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise NotDelivered(
                f"webhook {hook.name!r} has no {what}: {path} cannot be read", hint="write it there"
            ) from error
    if not found:
        raise NotDelivered(
            f"webhook {hook.name!r} has no {what}: {where} is empty",
            hint="set it where the controller runs, and start it again",
        )
    if what == "secret" and len(found) < _SHORTEST:
        raise NotDelivered(
            f"the secret of webhook {hook.name!r} has fewer than {_SHORTEST} characters: it could be guessed",
            hint="use 32 random bytes, such as `openssl rand -hex 32` gives",
        )
    return found
