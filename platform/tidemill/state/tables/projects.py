"""Defines the table of the projects that keep their records here."""

from datetime import datetime

from sqlalchemy.orm import Mapped, mapped_column

from tidemill.state.tables.declarative import Table

__all__ = ["KnownProject"]


class KnownProject(Table):
    """A project whose stack has been started with these records, and where its folder is."""

    __tablename__ = "projects"

    model: Mapped[str] = mapped_column(primary_key=True)
    """Name of the registered model: all other records carry it."""
    name: Mapped[str]
    """``project.name`` of params.yaml: roles are given by it."""
    root: Mapped[str]
    """Its folder on the machine that started it."""
    seen_at: Mapped[datetime]
    """Wall-clock time of the last start."""
