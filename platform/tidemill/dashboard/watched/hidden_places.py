"""Takes the places of this machine out of what is shown to who need not know them.

An error names the file that it is about; within the project its path is enough for who looks only.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import Any

from markupsafe import Markup

__all__ = ["said_without", "without_places"]


def said_without(said: str, places: Sequence[Path]) -> str:
    """Return a text with paths below some folders as they are in there.

    >>> said_without("/srv/shop/params.yaml is wrong in /srv/shop, not /srv/shops", [Path("/srv/shop")])
    "params.yaml is wrong in the project's folder, not /srv/shops"
    """
    for place in sorted(map(str, places), key=len, reverse=True):
        if place in said:
            whole = rf"(?<![\w./-]){re.escape(place)}"
            said = re.sub(rf"{whole}/(?=\w|\.\w)", "", said)
            said = re.sub(rf"{whole}/?(?![\w-])", "the project's folder", said)
    return said


def without_places(value: Any, places: Sequence[Path]) -> Any:
    """Return a value of a page with all its texts as `said_without` gives them; markup stays as it is."""
    if not places:
        return value
    if isinstance(value, str):
        return value if isinstance(value, Markup) else said_without(value, places)
    if isinstance(value, Mapping):
        return {key: without_places(one, places) for key, one in value.items()}
    if type(value) in (list, tuple):
        return type(value)(without_places(one, places) for one in value)
    if is_dataclass(value) and not isinstance(value, type):
        known = {one.name: getattr(value, one.name) for one in fields(value) if one.init}
        changed = {name: without_places(one, places) for name, one in known.items()}
        return replace(value, **{name: one for name, one in changed.items() if one is not known[name]})
    return value
