"""Shows one alert on a terminal."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tidemill.cli.output import format_moment, print_indented
from tidemill.errors import NotWritable
from tidemill.plurals import counted
from tidemill.state.alert_queries import EXTERNAL

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["render_alert", "write_page"]


def render_alert(console: "Console", facts: Mapping[str, Any]) -> None:
    """Print the facts that `tidemill.alerting.alert_evidence.describe` gives."""
    console.print(f"{facts['id']}  {facts['status']} · {facts['severity']} · {facts['kind']}")
    print_indented(console, facts["message"])
    console.print()
    about = {
        "monitor": facts["monitor"],
        "version": f"{facts['model']} {facts['version']}",
        **_times(facts),
        **facts["measured"],
        **facts["labels"],
    }
    for name, said in about.items():
        print_indented(console, f"{name}: {said}")
    _section(console, "worst features", [_feature(each) for each in facts["features"]])
    _section(console, "worst slices", [_slice(each) for each in facts["slices"]])
    _section(console, "example predictions", facts["examples"])
    _section(
        console,
        "changed before",
        [f"{format_moment(each['at'])}  {each['what']}: {each['why']}" for each in facts["changes"]],
    )
    _section(console, "noise", [each["said"] for each in facts["noise"]])
    for title, steps in _openings(facts["steps"]):
        _section(console, title, [_step(each) for each in steps])
    _section(console, "messages", [_message(each) for each in facts["notifications"]])
    _section(console, "what policies decided", [_decision(each) for each in facts["decisions"]])
    _section(
        console,
        "broken at the source: mend it before you retrain",
        [_fault(each) for each in facts["faults"]],
    )
    _section(console, "next", facts["next"])


def _times(facts: Mapping[str, Any]) -> dict[str, str]:
    """Return the first window, the last one and its report; what comes from elsewhere has none."""
    if facts["kind"] == EXTERNAL:
        return {
            "raised": format_moment(facts["raised_at"]),
            "last told": format_moment(facts["last_seen_at"]),
        }
    seen_in = f"{counted(facts['rows'], 'row')}, {counted(facts['labelled'], 'label')}"
    return {
        "first window": _window(facts["first_window"]),
        "last window": f"{_window(facts['last_window'])}, {seen_in}",
        "report": facts["report"] or "–",
    }


def _decision(decided: Mapping[str, Any]) -> str:
    """Return what a policy made of an alert, and how often.

    >>> from datetime import UTC, datetime
    >>> at = datetime(2013, 5, 1, tzinfo=UTC)
    >>> held = {"policy": "decay", "verdict": "hold", "reason": "cooling down", "turn_id": None}
    >>> _decision({**held, "first_at": at, "last_at": at, "rounds": 3})
    '2013-05-01 00:00  decay held: cooling down (3 rounds)'
    >>> _decision({**held, "verdict": "retrain", "turn_id": "turn_1", "first_at": at})
    '2013-05-01 00:00  decay: turn turn_1'
    """
    at = format_moment(decided["first_at"])
    if decided["verdict"] == "retrain":
        made = f"turn {decided['turn_id']}" if decided["turn_id"] else "a turn was due"
        return f"{at}  {decided['policy']}: {made}"
    return f"{at}  {decided['policy']} held: {decided['reason']} ({counted(decided['rounds'], 'round')})"


def _fault(found: Mapping[str, Any]) -> str:
    return f"{', '.join(found['names'])}: {found['message']}"


def write_page(path: Path, facts: Mapping[str, Any]) -> None:
    """Write the same facts as a page of HTML with pictures.

    Raises:
        NotWritable: the file cannot be written.
    """
    from tidemill.alerting.alert_html import page_of

    try:
        path.write_text(page_of([facts], f"{facts['kind']}: {facts['message']}"), encoding="utf-8")
    except OSError as error:
        raise NotWritable(
            f"the page cannot be written: {path}: {error.strerror or error}", hint="give another file"
        ) from error


def _section(console: "Console", title: str, lines: Sequence[str]) -> None:
    if lines:
        console.print(f"\n{title}")
        for line in lines:
            print_indented(console, line)


def _window(window: Sequence[Any]) -> str:
    return " … ".join(map(format_moment, window))


def _feature(column: Mapping[str, Any]) -> str:
    told = [column["name"]]
    if column.get("value") is not None and column.get("threshold") is not None:
        told.append(f"distance {column['value']:.3g} (drifted from {column['threshold']:.3g})")
    before, now = column.get("reference_mean"), column.get("current_mean")
    if before is not None and now is not None:
        told.append(f"mean {before:.4g} → {now:.4g}")
    missing = column.get("reference_missing"), column.get("current_missing")
    reasons = dict.fromkeys(column[name] for name in ("broken", "note", "verdict") if column.get(name))
    if None not in missing and missing[0] != missing[1] and not any(map(_tells_gaps, reasons)):
        told.append(f"missing {missing[0]:.1%} → {missing[1]:.1%}")
    told += [one.partition(", ")[2] if one.startswith("distance ") else one for one in reasons]
    return ", ".join(told)


def _tells_gaps(reason: str) -> bool:
    return reason.startswith("missing: ")


def _slice(found: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {_short(value)}" for name, value in found.items() if value not in (None, []))


def _short(value: Any) -> str:
    if isinstance(value, list):
        return " and ".join(map(str, value))
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _openings(steps: Sequence[Mapping[str, Any]]) -> list[tuple[str, list[Mapping[str, Any]]]]:
    """Return the steps of each opening with a title, the latest first.

    >>> from datetime import UTC, datetime
    >>> at = datetime(2013, 5, 1, tzinfo=UTC)
    >>> [title for title, _ in _openings([{"opening": 1, "at": at}, {"opening": 2, "at": at}])]
    ['steps since it was reopened', 'steps of its opening before, from 2013-05-01 00:00']
    """
    found: dict[int, list[Mapping[str, Any]]] = {}
    for each in steps:
        found.setdefault(each["opening"], []).append(each)
    latest = max(found, default=1)
    titles = {latest: "steps since it was reopened" if latest > 1 else "steps"}
    before = "steps of its opening before, from"
    return [
        (titles.get(one, f"{before} {format_moment(found[one][0]['at'])}"), found[one])
        for one in sorted(found, reverse=True)
    ]


def _step(step: Mapping[str, Any]) -> str:
    said = f": {step['comment']}" if step["comment"] else ""
    return f"{format_moment(step['at'])}  {step['step']}, {step['person']}{said}"


def _message(sent: Mapping[str, Any]) -> str:
    to = sent["receiver"] or "nobody"
    why = sent["reason"] or sent["error"]
    tries = f", {sent['attempts']} attempts" if sent["attempts"] > 1 else ""
    at = format_moment(sent["sent_at"] or sent["at"])
    return f"{at}  {sent['step']} to {to}: {sent['status']}{tries}" + (f": {why}" if why else "")
