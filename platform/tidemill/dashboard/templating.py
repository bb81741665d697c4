"""The templates, and how values are shown in them. Everything that is not markup of ours is escaped."""

import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from tidemill.actor_words import reason_beside, told, who
from tidemill.dashboard.charts.heat_map import heat_map, heat_names
from tidemill.dashboard.charts.histogram import histogram
from tidemill.dashboard.charts.keys import key_of_event, key_of_part, key_of_series
from tidemill.dashboard.charts.lines_by_month import line_key
from tidemill.dashboard.charts.shares_over_time import names_of_shares, shares_over_time
from tidemill.dashboard.charts.time_series import time_series
from tidemill.dashboard.page_addresses import address_of
from tidemill.dashboard.static_files import static_address
from tidemill.digits import number
from tidemill.version import __version__

__all__ = ["ago", "compile_templates", "count", "moment", "render", "share", "tidy"]

_FOLDER = Path(__file__).parent / "templates"
_LONG = re.compile(r"(?<![\w.:/@-])-?\d+\.\d+(?:[eE][+-]?\d+)?(?![\w.:/@-])")
_DIGITS = 6
_FAR = timedelta(days=60)
_STEPS = ((timedelta(days=1), "d"), (timedelta(hours=1), "h"), (timedelta(minutes=1), "min"))


@cache
def _environment() -> Environment:
    made = Environment(
        loader=FileSystemLoader(_FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    made.filters.update(tidy=tidy, moment=moment, number=number, share=share, count=count, data=_data)
    made.globals.update(ago=ago, static=static_address, product_version=__version__)
    made.globals.update(address=address_of, who=who, reason_beside=reason_beside, told=told)
    made.globals.update(
        chart_series=time_series,
        chart_heat=heat_map,
        chart_heat_names=heat_names,
        chart_shares=shares_over_time,
        chart_histogram=histogram,
        chart_share_names=names_of_shares,
        chart_part=key_of_part,
        chart_mark=key_of_series,
        chart_event=key_of_event,
        chart_line=line_key,
    )
    return made


def compile_templates() -> None:
    """Compile all templates, so that no visitor waits for that."""
    for name in _environment().list_templates():
        _environment().get_template(name)


def render(template: str, values: Mapping[str, Any]) -> str:
    """Return a template of ``templates/`` with its values."""
    return _environment().get_template(template).render(values)


def moment(value: datetime | None) -> str:
    """Return a moment in UTC, to the minute.

    >>> moment(datetime(2013, 4, 1, 6, 30, tzinfo=UTC)), moment(None)
    ('2013-04-01 06:30', '–')
    """
    return "–" if value is None else f"{value.astimezone(UTC):%Y-%m-%d %H:%M}"


def ago(value: datetime | None, now: datetime) -> str:
    """Return how long ago a moment was, or how far ahead it is; the day where that is more than two months.

    >>> now = datetime(2013, 4, 1, 6, 30, tzinfo=UTC)
    >>> ago(datetime(2013, 4, 1, 4, tzinfo=UTC), now), ago(datetime(2013, 4, 3, 6, 30, tzinfo=UTC), now)
    ('2 h ago', 'in 2 d')
    >>> ago(now, now), ago(datetime(2012, 12, 1, tzinfo=UTC), now)
    ('now', '2012-12-01')
    """
    if value is None:
        return "–"
    gap = abs(now - value)
    if gap >= _FAR:
        return f"{value.astimezone(UTC):%Y-%m-%d}"
    said = next((f"{gap // size} {unit}" for size, unit in _STEPS if gap >= size), None)
    if said is None:
        return "now"
    return f"{said} ago" if value < now else f"in {said}"


def tidy(value: object) -> object:
    """Return a text or a float with its decimals to six significant digits; anything else as it is.

    Versions, addresses and moments have decimals that are no numbers, and stay.

    >>> tidy("59.52000000000001"), tidy("rate 0.08918419461547462, depth 3"), tidy(0.1 + 0.2)
    ('59.52', 'rate 0.0891842, depth 3', '0.3')
    >>> tidy("127.0.0.1:80"), tidy("1.10"), tidy(3), tidy("123456789.25")
    ('127.0.0.1:80', '1.10', 3, '123456789')
    """
    if isinstance(value, float):
        return f"{value:.{_DIGITS}g}"
    return _LONG.sub(_shorter, value) if isinstance(value, str) else value


def _shorter(found: re.Match[str]) -> str:
    given = found[0]
    digits = len(given.partition("e")[0].lstrip("-0.").replace(".", ""))
    if digits <= _DIGITS:
        return given
    value = float(given)
    return f"{value:.0f}" if abs(value) >= 10**_DIGITS else f"{value:.{_DIGITS}g}"


def count(value: int | None) -> str:
    """Return a count with its thousands apart.

    >>> count(16220)
    '16,220'
    """
    return "–" if value is None else f"{value:,}"


def share(value: float | None) -> str:
    """Return a share in per cent.

    >>> share(0.0512), share(1.0)
    ('5.12 %', '100 %')
    """
    return "–" if value is None else f"{100 * value:.3g} %"


def _data(value: Any) -> str:
    """Return a value as JSON for an attribute of a tag, which is escaped like any text."""
    return json.dumps(value, default=str, separators=(",", ":"))
