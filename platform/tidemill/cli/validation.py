"""``tidemill data validate`` and what else judges a data set."""

import typer

__all__ = ["add_to"]


def add_to(app: typer.Typer) -> None:
    """Add the commands."""
