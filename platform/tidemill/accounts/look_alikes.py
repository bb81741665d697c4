"""Finds names that look like another one although they are written with other letters."""

import unicodedata
from typing import Final

__all__ = ["mixed_scripts", "skeleton"]

_CYRILLIC: Final = ("АВСЕНІЈКМОРЅТУХаеһіјӏорѕсухԁԛԝё", "ABCEHIJKMOPSTYXaehijlopscyxdqwe")
_GREEK: Final = ("ΑΒΕΖΗΙΚΜΝΟΡΤΥΧαιϳονρυκ", "ABEZHIKMNOPTYXaijovpuk")
_OTHERS: Final = ("օսհոցզɑɡⅼ", "ouhngqagl")
_ALIKE: Final = str.maketrans(
    "".join(pair[0] for pair in (_CYRILLIC, _GREEK, _OTHERS)),
    "".join(pair[1] for pair in (_CYRILLIC, _GREEK, _OTHERS)),
)
_SCRIPTS: Final = frozenset({"LATIN", "CYRILLIC", "GREEK", "ARMENIAN", "CHEROKEE", "COPTIC"})
"""Those whose letters are taken for each other's."""


def skeleton(name: str) -> str:
    r"""Return what a name looks like: two names with the same one are taken for each other.

    A short form of Unicode's UTS 39: letters of other scripts that have the shape of a Latin one.

    >>> skeleton("\u0430da"), skeleton("\u0412\u041e\u0412") == skeleton("Bob")
    ('ada', True)
    """
    return unicodedata.normalize("NFKC", name.strip()).translate(_ALIKE).casefold()


def mixed_scripts(name: str) -> list[str]:
    r"""Return the scripts of a name's letters, if they are several of those that look alike.

    >>> mixed_scripts("\u0430dmin"), mixed_scripts("ada"), mixed_scripts("\u0430\u0434\u0430")
    (['Cyrillic', 'Latin'], [], [])
    """
    found = {unicodedata.name(each, "").partition(" ")[0] for each in name if each.isalpha()} & _SCRIPTS
    return sorted(script.capitalize() for script in found) if len(found) > 1 else []
