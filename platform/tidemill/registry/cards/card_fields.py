"""Reads what people say about the project's model: ``card.yaml``."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from tidemill.files.declaration_files import read_declaration

__all__ = ["CARD_FILE", "KEPT", "CardFields", "KeptFields", "kept_fields", "read_fields"]

CARD_FILE = "card.yaml"
KEPT = "tidemill.card"
"""Tag of a version with the fields that are kept with it, as JSON."""
_HINT = "docs/model-card.md describes its fields: purpose, limits, owner, contact, risk and kpi, each a text"


def _told(text: str | None) -> str | None:
    return None if text is None else text.strip() or None


Said = Annotated[str | None, Field(max_length=10_000), AfterValidator(_told)]


class CardFields(BaseModel):
    """What people fill in; what is None or empty is not filled in.

    >>> CardFields(owner=" Ada ", risk="").model_dump(exclude_none=True)
    {'owner': 'Ada'}
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    purpose: Said = None
    """What the model is for, and who uses its answers."""
    limits: Said = None
    """What it must not be used for."""
    owner: Said = None
    contact: Said = None
    risk: Said = None
    """What a wrong answer costs, and whom."""
    kpi: Said = None
    """What the business measures it by."""


def read_fields(root: Path) -> CardFields:
    """Return what ``card.yaml`` of a project says; without the file nothing is filled in.

    Raises:
        ConfigError: the file cannot be read, or a key or a value is wrong; the message names its line.
    """
    file = read_declaration(root / CARD_FILE)
    return CardFields() if file is None else file.as_model(CardFields, _HINT)


@dataclass(frozen=True)
class KeptFields:
    """What is kept with a version."""

    fields: CardFields
    at: datetime
    """By the clock of the machine."""


def kept_fields(tags: Mapping[str, str]) -> KeptFields | None:
    """Return what is kept with a version of these tags; None if nothing is.

    >>> kept_fields({KEPT: '{"at": "2026-04-01T12:00:00+00:00", "said": {"owner": "Ada"}}'}).fields.owner
    'Ada'
    """
    text = tags.get(KEPT)
    if text is None:
        return None
    found = json.loads(text)
    return KeptFields(CardFields(**found["said"]), datetime.fromisoformat(found["at"]))
