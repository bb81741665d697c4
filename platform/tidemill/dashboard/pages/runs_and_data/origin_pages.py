"""Adds the pages of this folder to the dashboard."""

from fastapi import FastAPI

from tidemill.dashboard.pages.runs_and_data import (
    card_page,
    data_comparison_page,
    data_pages,
    data_version_page,
    lineage_page,
    prediction_pages,
    run_comparison,
    run_pages,
    settings_page,
    version_list_page,
    version_pages,
)

__all__ = ["add_to"]


def add_to(app: FastAPI) -> None:
    """Add the pages; those that compare before those of one, whose addresses they would fit."""
    for pages in (
        run_comparison,
        run_pages,
        card_page,
        version_list_page,
        version_pages,
        prediction_pages,
        data_comparison_page,
        data_pages,
        data_version_page,
        lineage_page,
        settings_page,
    ):
        pages.add_to(app)
