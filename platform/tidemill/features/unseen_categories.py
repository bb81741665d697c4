"""Declared categories of text features: what happens to a value that was not seen in training.

``features.yaml`` declares them for features that come in the request. A view declares them once for training
and for serving, in tags as it does defaults:
``Field(name="gate", dtype=String, tags={"categories": '["A1", "B2"]', "unseen": "flag"})``. Feast drops the
tags of an on-demand view's features, so there the view has them: ``tags={"categories:gate": …,
"unseen:gate": "flag"}``.
"""

import json
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple, get_args

from feast import FeatureService, FeatureView, Field, OnDemandFeatureView
from feast.types import String

from tidemill.errors import FeatureError
from tidemill.project.feature_columns import REFUSED, UNSEEN, Unseen

__all__ = ["Categories", "check_categories", "declared_categories"]

_KNOWN, _UNSEEN = "categories", "unseen"


class Categories(NamedTuple):
    """The categories of one feature."""

    known: frozenset[str]
    flag: str
    """Of a row with another value: ``unseen:<feature>``, or ``refused:<feature>`` where it gets no answer."""


def declared_categories(
    service: FeatureService, views: Iterable[FeatureView | OnDemandFeatureView]
) -> dict[str, Categories]:
    """Return the categories that a service's views declare, where other values are not just taken as unknown.

    Args:
        service: the service.
        views: its on-demand views, at least.

    Raises:
        FeatureError: a declaration is wrong.
    """
    tags = {view.name: view.tags for view in views if isinstance(view, OnDemandFeatureView)}
    found: dict[str, Categories] = {}
    for projection in service.feature_view_projections:
        for field in projection.features:
            of_field = _tags_of(field, tags.get(projection.name))
            one = _declared(projection.name_to_use(), field, of_field)
            if one is not None:
                found[field.name] = one
    return found


def check_categories(view: FeatureView | OnDemandFeatureView) -> None:
    """Check the categories that a view declares.

    Raises:
        FeatureError: they are no JSON list of texts, of a feature that is no text, or of no feature.
    """
    of_view = view.tags if isinstance(view, OnDemandFeatureView) else None
    for field in view.features:
        _declared(view.name, field, _tags_of(field, of_view))
    names = {field.name for field in view.features}
    for tag in of_view or {}:
        kind, _, name = tag.partition(":")
        if kind in (_KNOWN, _UNSEEN) and name and name not in names:
            raise FeatureError(
                f"view {view.name!r} has a tag {tag!r}, but no feature {name!r}",
                hint=f"its features: {', '.join(sorted(names))}",
            )


def _tags_of(field: Field, of_view: Mapping[str, str] | None) -> dict[str, str]:
    tags = of_view or {}
    found = {tag: tags.get(f"{tag}:{field.name}", field.tags.get(tag)) for tag in (_KNOWN, _UNSEEN)}
    return {tag: value for tag, value in found.items() if value is not None}


def _declared(view: str, field: Field, tags: Mapping[str, str]) -> Categories | None:
    if not tags:
        return None
    where = f"view {view!r}: feature {field.name!r}"
    if field.dtype != String:
        raise FeatureError(f"{where} is {field.dtype}, and only text has categories", hint="remove the tags")
    try:
        known: Any = json.loads(tags.get(_KNOWN, ""))
    except ValueError:
        known = None
    if not isinstance(known, list) or not known or not all(isinstance(one, str) for one in known):
        raise FeatureError(
            f"{where}: the tag {_KNOWN!r} is {tags.get(_KNOWN)!r}, no JSON list of texts",
            hint="""write tags={"categories": '["A1", "B2"]', "unseen": "flag"}""",
        )
    unseen: Any = tags.get(_UNSEEN, "unknown")
    if unseen not in get_args(Unseen):
        raise FeatureError(
            f"{where}: the tag {_UNSEEN!r} is {unseen!r}", hint=f"one of: {', '.join(get_args(Unseen))}"
        )
    return _categories(field.name, known, unseen)


def _categories(name: str, known: Iterable[str], unseen: Unseen) -> Categories | None:
    if unseen == "unknown":
        return None
    return Categories(frozenset(known), f"{UNSEEN if unseen == 'flag' else REFUSED}:{name}")
