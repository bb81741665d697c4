"""The card of a version: all that is on record about it, and what people say, on one sheet."""

from collections.abc import Sequence
from dataclasses import dataclass

from fastapi import FastAPI

from tidemill.dashboard.page import add_page
from tidemill.dashboard.records.card_reading import read_card
from tidemill.dashboard.records.registry_reading import read_registry, refuse_lost_registry
from tidemill.dashboard.visit import Here
from tidemill.registry.cards.card_sections import Section, sections_of
from tidemill.registry.cards.model_card import ModelCard

__all__ = ["ShownCard", "add_to", "card_page"]


@dataclass(frozen=True)
class ShownCard:
    """A card, and how the page shows it."""

    card: ModelCard

    @property
    def sections(self) -> Sequence[Section]:
        """Return its parts in words."""
        return sections_of(self.card)


def card_page(visit: Here, model: str, version: str) -> ShownCard:
    """Return the card of a version, by its number or an alias."""
    project = visit.installation.load(visit.project(model))
    refuse_lost_registry(visit.records, project)
    records, key = visit.records, ("card", str(project.root), version)
    return ShownCard(read_registry(key, lambda: read_card(project, records, version, visit.now)))


def add_to(app: FastAPI) -> None:
    """Add the page."""
    path = "/models/{model}/versions/{version}/card"
    add_page(app, path, card_page, template="card.html", needs=("read", "version"), title="Model card")
