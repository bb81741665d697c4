"""Reads which providers of identities (OpenID Connect) people may log in by: the file ``TIDEMILL_OIDC``."""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from tidemill.accounts.roles import Role
from tidemill.errors import ConfigError
from tidemill.files.declaration_files import read_declaration
from tidemill.settings import Secret

__all__ = ["Provider", "SignOn", "client_secret", "read_sign_on"]

_LOCAL = ("127.0.0.1", "localhost", "::1")
_HINT = "docs/single-sign-on.md describes the file"


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Provider(_Section):
    """A provider of identities."""

    label: str = Field(min_length=1, max_length=60)
    """What the login page calls it."""
    issuer: str
    """Its address, as its tokens say it."""
    client_id: str = Field(min_length=1)
    client_secret_env: str | None = None
    """Environment variable with the client's secret; null: none is sent."""
    client_secret_file: str | None = None
    """File with it, in place of a variable."""
    scopes: tuple[str, ...] = ("openid", "profile", "email")
    groups_claim: str = "groups"
    """The claim of the ID token that lists the person's groups."""
    groups: Mapping[str, Mapping[str, Role]]
    """Group → project (or ``*`` for every project) → role."""
    verified_email: bool = True
    """Whether somebody whose e-mail address the provider has not verified is refused."""

    @field_validator("issuer")
    @classmethod
    def _secure(cls, issuer: str) -> str:
        parts = urlsplit(issuer)
        if parts.scheme != "https" and not (parts.scheme == "http" and parts.hostname in _LOCAL):
            raise ValueError("it must begin with https:// (http:// only on this machine)")
        return issuer

    @model_validator(mode="after")
    def _one_secret(self) -> "Provider":
        if self.client_secret_env and self.client_secret_file:
            raise ValueError("give client_secret_env or client_secret_file, not both")
        if "openid" not in self.scopes:
            raise ValueError("scopes must contain openid")
        return self


class SignOn(_Section):
    """The file."""

    address: str | None = None
    """Of the dashboard, as browsers see it, such as ``https://tidemill.example.com``; providers send people
    back to it. Needed beyond this machine."""
    providers: dict[str, Provider] = {}

    @field_validator("providers")
    @classmethod
    def _names(cls, providers: dict[str, Provider]) -> dict[str, Provider]:
        wrong = [name for name in providers if not re.fullmatch(r"[a-z0-9][a-z0-9-]{0,39}", name)]
        if wrong:
            raise ValueError(f"{wrong[0]!r} cannot name a provider: take small letters, digits and -")
        return providers


def read_sign_on(path: str | None) -> SignOn:
    """Return the providers of a file; none without a file.

    Raises:
        ConfigError: the file is missing or wrong.
    """
    if not path:
        return SignOn()
    declared = read_declaration(Path(path))
    if declared is None:
        raise ConfigError(f"TIDEMILL_OIDC names {path}, and there is no such file", hint=_HINT)
    return declared.as_model(SignOn, _HINT)


def client_secret(provider: Provider, environment: Mapping[str, str] = os.environ) -> Secret | None:
    """Return the secret of our client at a provider, read anew each time; None if it has none.

    Raises:
        ConfigError: the variable is not set, or the file cannot be read.
    """
    if provider.client_secret_env:
        value: Any = environment.get(provider.client_secret_env)
        if not value:
            raise ConfigError(
                f"the environment variable {provider.client_secret_env} is not set",
                hint="it holds the client's secret of the provider: set it where the dashboard starts",
            )
        return Secret(value)
    if provider.client_secret_file:
        try:
            return Secret(Path(provider.client_secret_file).read_text(encoding="utf-8").strip())
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(
                f"the secret's file {provider.client_secret_file} cannot be read",
                hint="check client_secret_file and its rights",
            ) from error
    return None
