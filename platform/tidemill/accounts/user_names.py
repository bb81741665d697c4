"""Checks names of users, and says which of them are the same."""

import re
import unicodedata
from typing import Final

from tidemill.accounts.look_alikes import mixed_scripts
from tidemill.errors import UsageError

__all__ = ["checked_name", "folded"]

_NAME: Final = re.compile(r"[^\W_][\w.@+-]{0,63}")
_UNSEEN: Final = frozenset("\u115f\u1160\u3164\uffa0")
"""Letters by Unicode that show nothing."""


def folded(name: str) -> str:
    """Return what names are compared by: Unicode's NFKC and case folding.

    Full-width letters, ligatures and capitals make no difference. The Turkish dotless i is another letter.

    >>> folded("ＡＤＡ"), folded("Straße") == folded("STRASSE"), folded("ılgaz") == folded("ilgaz")
    ('ada', True, False)
    """
    once = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name.strip()).casefold())
    return unicodedata.normalize("NFKC", once.casefold()).strip()


def checked_name(name: str) -> str:
    """Return a name as it is kept.

    Raises:
        UsageError: it cannot be the name of a user.

    >>> checked_name(" ada ")
    'ada'
    """
    tidy = unicodedata.normalize("NFKC", name.strip())
    if _NAME.fullmatch(tidy) is None or _UNSEEN & set(tidy):
        raise UsageError(
            f"{name!r} cannot be the name of a user",
            hint="take up to 64 letters, digits and any of . @ _ + -, a letter or digit first",
        )
    if scripts := mixed_scripts(tidy):
        raise UsageError(
            f"{name!r} mixes letters of {' and '.join(scripts)}, which look alike",
            hint="take letters of one script",
        )
    return tidy
