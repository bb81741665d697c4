"""Hashes passwords with Argon2id, and checks them in the same time whether there is such a user or not."""

import secrets
from functools import cache
from typing import TYPE_CHECKING, Final

from tidemill.errors import UsageError

if TYPE_CHECKING:
    from argon2 import PasswordHasher

__all__ = ["LEAST_LENGTH", "hash_password", "is_outdated", "require_password", "verify_password"]

LEAST_LENGTH: Final = 12
"""Characters of a password."""
_MOST_LENGTH: Final = 256  # so that hashing a long one is no way to keep the server busy


def require_password(password: str, name: str = "") -> None:
    """Refuse a password that is too easy to guess.

    Args:
        password: to check.
        name: of its user.

    Raises:
        UsageError: it is too short or long, of one character, or the user's name.
    """
    if len(password) < LEAST_LENGTH:
        raise UsageError(
            f"the password has {len(password)} characters: {LEAST_LENGTH} are the least",
            hint="several words are easy to keep in mind",
        )
    if len(password) > _MOST_LENGTH:
        raise UsageError(f"the password is longer than {_MOST_LENGTH} characters", hint="take a shorter one")
    if len(set(password)) < 4 or (name and password.casefold().strip() == name.casefold()):
        raise UsageError("the password is too easy to guess", hint="take several words that nobody expects")


def hash_password(password: str) -> str:
    """Return the digest that is kept of a password, with its parameters and its salt."""
    return _hasher().hash(password)


def verify_password(digest: str | None, password: str) -> bool:
    """Return whether a password is right; no digest takes as long as a wrong password.

    >>> verify_password(None, "anything")
    False
    """
    from argon2.exceptions import InvalidHashError, VerificationError

    try:
        return _hasher().verify(digest or _decoy(), password[: _MOST_LENGTH + 1]) and digest is not None
    except (VerificationError, InvalidHashError):
        return False


def is_outdated(digest: str) -> bool:
    """Return whether a digest was made with other parameters than are used now."""
    return _hasher().check_needs_rehash(digest)


@cache
def _hasher() -> "PasswordHasher":
    from argon2 import PasswordHasher

    return PasswordHasher()  # RFC 9106's second recommendation: 64 MiB, 3 passes


@cache
def _decoy() -> str:
    return _hasher().hash(secrets.token_urlsafe(16))
