"""Wraps the undocumented names of Evidently, and lists why each is needed.

Evidently's own report draws every column several times; ours uses its parts and draws each column once.
"""

from collections.abc import Sequence
from typing import Any

from evidently.core.metric_types import render_widgets
from evidently.legacy.renderers.html_widgets import group_widget, table_data, text_widget

__all__ = ["NAMES", "group_widget", "page", "table_data", "text_widget", "widgets_of", "widgets_of_metric"]

NAMES = (
    ("evidently.core.metric_types.render_widgets", "makes the page of widgets that we choose"),
    ("evidently.core.metric_types.MetricResult.get_widgets", "gives the drawing of one metric"),
    ("evidently.core.report.Snapshot.metric_results", "finds the result of a metric by its id"),
    ("evidently.core.report.Snapshot.to_snapshot_model", "has the drawings of a preset"),
    ("evidently.legacy.renderers.html_widgets.group_widget", "puts the drawings of a column below its name"),
    ("evidently.legacy.renderers.html_widgets.table_data", "shows our own table of columns"),
    ("evidently.legacy.renderers.html_widgets.text_widget", "shows the title"),
)
"""Dotted path, and why it is needed."""


def page(widgets: Sequence[Any]) -> str:
    """Return the HTML page that shows ``widgets`` in their order."""
    html: str = render_widgets(list(widgets))
    return html


def widgets_of(snapshot: Any) -> list[Any]:
    """Return the widgets of all metrics in the result of ``Report.run``."""
    widgets: list[Any] = snapshot.to_snapshot_model().widgets
    return widgets


def widgets_of_metric(snapshot: Any, metric: str) -> list[Any]:
    """Return the widgets of one metric, by its id, in the result of ``Report.run``."""
    widgets: list[Any] = snapshot.metric_results[metric].get_widgets()
    return widgets
