"""``tidemill data log``, ``diff``, ``show``, ``checkout``, ``add`` and ``labels import``."""

import typer

__all__ = ["add_to"]


def add_to(app: typer.Typer) -> None:
    """Add the commands."""
