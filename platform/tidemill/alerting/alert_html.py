"""Writes an alert as a page of HTML that needs nothing else: for a browser, a mail or a ticket. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from html import escape
from typing import Any

from tidemill.alerting.alert_pictures import pictures_of
from tidemill.plurals import counted
from tidemill.state.alert_queries import EXTERNAL

__all__ = ["page_of", "section_of"]

_STYLE = (
    "body{font:14px/1.5 sans-serif;color:#222;max-width:50em;margin:2em auto;padding:0 1em}"
    "h1{font-size:1.3em}h2{font-size:1em;margin:1.2em 0 .3em}table{border-collapse:collapse}"
    "td{padding:.1em 1em .1em 0;vertical-align:top}code{background:#f2f4f6;padding:.1em .3em}"
    "figure{display:inline-block;margin:.5em 1em .5em 0}figcaption{font-size:.85em;color:#555}"
)


def page_of(alerts: Sequence[Mapping[str, Any]], title: str) -> str:
    """Return a page about alerts.

    Args:
        alerts: of each the facts that `tidemill.alerting.alert_evidence.describe` gives.
        title: of the page.
    """
    head = f'<meta charset="utf-8"><title>{escape(title)}</title><style>{_STYLE}</style>'
    body = "<hr>".join(map(section_of, alerts))
    return f'<!DOCTYPE html><html lang="en"><head>{head}</head><body>{body}</body></html>\n'


def section_of(facts: Mapping[str, Any]) -> str:
    """Return one alert: what it is, its pictures, and what is needed to find its cause."""
    about = f"{facts['status']} · {facts['severity']} · {facts['kind'].replace('_', ' ')}"
    parts = [f"<h1>{escape(str(facts['message']))}</h1>", f"<p>{escape(about)} · {escape(facts['id'])}</p>"]
    parts += _pictures(facts)
    parts.append(_table(_about(facts)))
    parts += _lists(facts)
    return "\n".join(parts)


def _pictures(facts: Mapping[str, Any]) -> Iterator[str]:
    for each in pictures_of(facts):
        yield f"<figure>{each['svg']}<figcaption>{escape(each['title'])}</figcaption></figure>"


def _about(facts: Mapping[str, Any]) -> dict[str, str]:
    return {
        "monitor": facts["monitor"],
        "version": f"{facts['model']} {facts['version']}",
        **_times(facts),
        **facts["measured"],
        **{name: str(value) for name, value in facts["labels"].items()},
    }


def _times(facts: Mapping[str, Any]) -> dict[str, str]:
    """Return the first window and the last one; what comes from elsewhere has none."""
    if facts["kind"] == EXTERNAL:
        return {"raised": _moment(facts["raised_at"]), "last told": _moment(facts["last_seen_at"])}
    seen = f"{counted(facts['rows'], 'row')}, {counted(facts['labelled'], 'label')}"
    return {
        "first window": _window(facts["first_window"]),
        "last window": f"{_window(facts['last_window'])}, {seen}",
    }


def _lists(facts: Mapping[str, Any]) -> Iterator[str]:
    yield from _list("worst features", [_feature(each) for each in facts["features"]])
    yield from _list("worst slices", [_slice(each) for each in facts["slices"]])
    yield from _list("example predictions", facts["examples"], code=True)
    yield from _list(
        "changed before",
        [f"{_moment(each['at'])} {each['what']}: {each['why']}" for each in facts["changes"]],
    )
    yield from _list("noise", [each["said"] for each in facts["noise"]])
    faults = [f"{', '.join(each['names'])}: {each['message']}" for each in facts["faults"]]
    yield from _list("broken at the source: mend it before you retrain", faults)
    yield from _list("next", facts["next"], code=True)


def _feature(column: Mapping[str, Any]) -> str:
    name = column["name"]
    told = next((str(column[key]) for key in ("broken", "note") if column.get(key)), None)
    if told is None and column.get("value") is not None and column.get("threshold") is not None:
        told = f"distance {column['value']:.3g}, drifted from {column['threshold']:.3g}"
    return str(name) if told is None else f"{name}: {told}"


def _slice(found: Mapping[str, Any]) -> str:
    return ", ".join(f"{name}: {_short(value)}" for name, value in found.items() if value not in (None, []))


def _short(value: Any) -> str:
    if isinstance(value, list):
        return " and ".join(map(str, value))
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _list(title: str, lines: Sequence[str], *, code: bool = False) -> Iterator[str]:
    if lines:
        told = (f"<code>{escape(str(line))}</code>" if code else escape(str(line)) for line in lines)
        yield f"<h2>{title}</h2><ul>{''.join(f'<li>{each}</li>' for each in told)}</ul>"


def _table(rows: Mapping[str, str]) -> str:
    cells = (f"<tr><td>{escape(name)}</td><td>{escape(said)}</td></tr>" for name, said in rows.items())
    return f"<table>{''.join(cells)}</table>"


def _window(window: Sequence[Any]) -> str:
    return " … ".join(map(_moment, window))


def _moment(at: datetime | None) -> str:
    return "–" if at is None else f"{at:%Y-%m-%d %H:%M} UTC"
