"""Makes pseudonyms, which replace personal values where the values themselves must not appear.

A pseudonym is a keyed hash. With the key, a known value is found by hashing it; without the key the value
cannot be found, not even by trying all possible values. The key is the environment variable
``TIDEMILL_PRIVACY_KEY``, else the file ``.tidemill/privacy.key``, which is made when it is first needed.
"""

import contextlib
import hmac
import json
import secrets
from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import polars as pl

from tidemill.clock import utc
from tidemill.errors import ConfigError
from tidemill.files.atomic import flush_file
from tidemill.files.drafts import discard_draft, new_draft
from tidemill.project import Project

__all__ = [
    "KEY_FILE",
    "PREFIX",
    "Pseudonymiser",
    "is_pseudonym",
    "key_source",
    "load_key",
    "pseudonymisers_for",
    "text_of",
]

KEY_FILE = "privacy.key"
"""Name of the key's file in ``.tidemill``."""
PREFIX = "psn_"

_DIGITS = 32
_LENGTH = len(PREFIX) + _DIGITS
_HEXADECIMAL = frozenset("0123456789abcdef")
_SHORTEST = 16  # bytes of a key
_VARIABLE = "TIDEMILL_PRIVACY_KEY"


@dataclass(frozen=True)
class Pseudonymiser:
    """Makes pseudonyms with a key: the first 128 bits of HMAC-SHA256 (RFC 2104).

    >>> hide = Pseudonymiser(b"a key of at least 16 bytes").hide
    >>> hide("N14228")
    'psn_804a7b9783543fba4191da1373ecff00'
    >>> hide(hide("N14228")) == hide("N14228")
    True
    >>> hide(7) == hide(7.0) == hide("7")
    True
    """

    key: bytes = field(repr=False)

    def hide(self, value: object) -> str:
        """Return the pseudonym of ``value``; a pseudonym is returned unchanged."""
        text = value if isinstance(value, str) else text_of(value)
        if is_pseudonym(text):
            return text
        return PREFIX + hmac.digest(self.key, text.encode(), "sha256").hex()[:_DIGITS]

    def hide_series(self, values: pl.Series) -> pl.Series:
        """Return the pseudonyms of ``values``, null where they are null; each distinct value is hashed once.

        >>> hidden = Pseudonymiser(b"a key of at least 16 bytes").hide_series(pl.Series([7, None, 7]))
        >>> hidden[0] == hidden[2], hidden[1] is None
        (True, True)
        """
        name, values = values.name, values.alias("")  # Polars takes names such as ^a$ for patterns
        distinct = values.drop_nulls().unique()
        if distinct.is_empty():
            return pl.Series(name, [None] * values.len(), dtype=pl.String)
        hidden = pl.Series([self.hide(value) for value in distinct], dtype=pl.String)
        return values.replace_strict(distinct, hidden, default=None, return_dtype=pl.String).alias(name)

    @property
    def fingerprint(self) -> str:
        """Return 16 hexadecimal digits that identify the key without revealing it."""
        return hmac.digest(self.key, b"tidemill: which key is this?", "sha256").hex()[:16]


def is_pseudonym(text: str) -> bool:
    """Return whether ``text`` has the form of a pseudonym.

    >>> is_pseudonym("psn_" + 32 * "0"), is_pseudonym("psn_N14228")
    (True, False)
    """
    return text.startswith(PREFIX) and len(text) == _LENGTH and _HEXADECIMAL.issuperset(text[len(PREFIX) :])


def text_of(value: object) -> str:
    """Return the text that a value's pseudonym is made from; the same for a number of any type.

    >>> text_of(5), text_of(5.0), text_of("5"), text_of({"b": 1, "a": None})
    ('5', '5', '5', '{"a": null, "b": 1}')
    """
    match value:
        case str():
            return str(value)
        case bool():
            return str(value).lower()
        case float() if value.is_integer():
            return str(int(value))
        case datetime():
            return utc(value).isoformat()
        case bytes():
            return value.hex()
        case dict() | list() | tuple():
            return json.dumps(value, sort_keys=True, default=text_of)
        case _:
            return str(value)


def key_source(project: Project) -> str:
    """Return the source of the key: the variable, the file, or none yet; never the key itself."""
    if _given(project):
        return f"environment variable {_VARIABLE}"
    path = project.home / KEY_FILE
    return str(path) if path.exists() else f"none yet: {path} is made when it is first needed"


def load_key(project: Project) -> bytes:
    """Return the project's key, and make one if it has none.

    Raises:
        ConfigError: the key is too short, its file cannot be read or written or is open to other users; or
            there is none, but subjects were erased under one: a new key would bring them back.
    """
    given = _given(project)
    if given:
        return _long_enough(given.encode(), _VARIABLE)
    path = project.home / KEY_FILE
    try:
        if not path.exists():
            _refuse_to_forget(project, path)
            _make(path)
        mode = path.stat().st_mode & 0o777
        if mode & 0o077:
            raise ConfigError(
                f"{path} can be read by other users (mode {mode:o}), who can then undo the pseudonyms",
                hint=f"chmod 600 {path}, if you are sure that it was not read; or set {_VARIABLE}",
            )
        return _long_enough(path.read_bytes().strip(), str(path))
    except OSError as error:
        raise ConfigError(
            f"the privacy key {path} cannot be read or made: {error.strerror or error}",
            hint=f"make its folder writable, or set {_VARIABLE}",
        ) from error


def pseudonymisers_for(project: Project, columns: Collection[str]) -> dict[str, Pseudonymiser]:
    """Return the pseudonymiser of each of ``columns``; no key is made if there are no columns.

    Raises:
        ConfigError: as `load_key`.
    """
    return dict.fromkeys(columns, Pseudonymiser(load_key(project))) if columns else {}


def _given(project: Project) -> str:
    secret = project.settings.privacy_key
    return secret.get_secret_value() if secret else ""


def _long_enough(key: bytes, where: str) -> bytes:
    if len(key) < _SHORTEST:
        raise ConfigError(
            f"the privacy key in {where} has {len(key)} bytes only: it could be guessed",
            hint="use 32 random bytes, such as `openssl rand -hex 32` gives",
        )
    return key


def _refuse_to_forget(project: Project, path: Path) -> None:
    tombstones = project.root / "tombstones.yaml"
    if tombstones.exists() and PREFIX in tombstones.read_text(encoding="utf-8"):
        raise ConfigError(
            f"{tombstones} names erased subjects, but their privacy key is missing: there is "
            f"neither {path} nor {_VARIABLE}",
            hint="restore the key that was used for the erasure: with another key their rows would come back",
        )


def _make(path: Path) -> None:
    """Write a new key atomically, unless another process has written one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = new_draft(path, mode=0o600)
    try:
        draft.write_text(secrets.token_hex(32) + "\n")
        flush_file(draft)
        with contextlib.suppress(FileExistsError):  # unlike a rename, a link never replaces another's key
            path.hardlink_to(draft)
    finally:
        discard_draft(draft)
