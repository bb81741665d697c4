"""Projects: which keep their records here, and who has a role in them."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from fastapi import FastAPI

from tidemill.dashboard.installation import ShownProject
from tidemill.dashboard.page import add_page
from tidemill.dashboard.visit import Here, Visit
from tidemill.errors import TidemillError

__all__ = ["ListedProject", "Projects", "add_to"]


@dataclass(frozen=True)
class ListedProject:
    """A project."""

    name: str
    model: str
    folder: str
    """Nothing for who need not know the places of this machine."""
    here: bool
    """Whether its folder is on this machine, so that acts on it can be done from here."""
    started_at: datetime
    """Wall-clock time of the last start."""
    people: int
    """How many have a role in it alone."""
    four_eyes: bool | None
    """Whether a second person approves promotions; None if its declarations cannot be read here."""


@dataclass(frozen=True)
class Projects:
    """The projects that the visitor may see."""

    projects: Sequence[ListedProject]
    must_log_in: bool
    providers: Sequence[str]
    """By which people may log in, beside their passwords."""


def projects(visit: Here) -> Projects:
    """Return the projects, by name."""
    people = visit.records.counts("role_grants", "project", "1 = 1")
    seen = {row.model: row.seen_at for row in visit.records.select("projects", "1 = 1", order="model")}
    return Projects(
        [
            ListedProject(
                one.name,
                one.model,
                "" if one.root in visit.hidden else str(one.root),
                one.root.is_dir(),
                seen[one.model],
                people.get(one.name, 0),
                _four_eyes(visit, one),
            )
            for one in visit.projects
        ],
        visit.identity.kind != "open",
        [one.label for one in visit.installation.sign_on.providers.values()],
    )


def _four_eyes(visit: Visit, one: ShownProject) -> bool | None:
    try:
        return visit.installation.load(one).config.gate.four_eyes
    except TidemillError:  # its own pages say what is wrong
        return None


def add_to(app: FastAPI) -> None:
    """Add the page."""
    add_page(
        app, "/projects", projects, template="projects.html", needs=("read", "project"), title="Projects"
    )
