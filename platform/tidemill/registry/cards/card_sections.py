"""Puts a card into words: sections of facts, tables and notes, which each form of the card shows alike."""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from tidemill.registry.cards.card_limits import limits_of
from tidemill.registry.cards.model_card import ModelCard

__all__ = ["NOT_FILLED_IN", "Section", "Table", "sections_of"]

NOT_FILLED_IN = "not filled in"
_NONE = "not on record"
_TITLES = {"kpi": "KPI"}


@dataclass(frozen=True)
class Table:
    """A table; texts are plain, not escaped."""

    header: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True)
class Section:
    """A part of the card; texts are plain, not escaped."""

    title: str
    facts: Sequence[tuple[str, str]] = ()
    table: Table | None = None
    notes: Sequence[str] = ()


def sections_of(card: ModelCard) -> list[Section]:
    """Return the parts of a card, in the order in which they are shown."""
    said = [(_TITLES.get(name, name.capitalize()), text or NOT_FILLED_IN) for name, text in card.said.items()]
    return [
        Section("What people say", said, notes=tuple(_kept(card))),
        _identity(card),
        _data(card),
        _features(card),
        _metrics(card),
        _gate(card),
        _calibration(card),
        _groups(card),
        _live(card),
        _drift(card),
        _use(card),
        Section("Lineage", list(card.lineage.items()), notes=() if card.lineage else (f"It is {_NONE}.",)),
        Section("What these numbers do not say", notes=limits_of(card)),
    ]


def _kept(card: ModelCard) -> Iterator[str]:
    if card.said_at is not None:
        yield f"Kept with the version on {_moment(card.said_at)}."
    if card.said_otherwise:
        yield f"The project's file says otherwise by now: {', '.join(card.said_otherwise)}."


def _identity(card: ModelCard) -> Section:
    made = ", ".join(f"{name} {_value(value)}" for name, value in sorted(card.parameters.items()))
    return Section(
        "Identity",
        [
            ("Model and version", f"{card.model} {card.version}"),
            ("Aliases", ", ".join(card.aliases) or "none"),
            ("Task", card.task or _NONE),
            ("Family", card.family or _NONE),
            ("Parameters", made or _NONE),
            ("Registered", f"{_moment(card.registered_at)}, by the clock of the machine"),
            ("By", card.by or _NONE),
            ("Why", card.why or _NONE),
            ("Run", card.run_id or "none"),
            ("Turn", card.turn_id or "none"),
            ("SHA-256 of its file", card.digest or _NONE),
        ],
    )


def _data(card: ModelCard) -> Section:
    facts = [
        ("Data version", card.data_version or _NONE),
        ("Known as of", _moment(card.as_of) if card.as_of else _NONE),
        ("Labelled rows", _NONE if card.rows is None else f"{card.rows:,}"),
    ]
    return Section("Data", [*facts, *((name.capitalize(), told) for name, told in card.parts.items())])


def _features(card: ModelCard) -> Section:
    rows = [
        (
            one.name,
            one.type,
            f"{one.missing:.1%}",
            f"{one.different:,}",
            _number(one.mean),
            _number(one.deviation),
        )
        for one in card.features
    ]
    header = "Feature", "Type", "Missing", "Different values", "Mean", "Standard deviation"
    notes = f"Of {card.feature_rows:,} rows that it learnt from.", f"They are {_NONE}."
    return Section("Features", table=_table(header, rows), notes=notes[:1] if rows else notes[1:])


def _metrics(card: ModelCard) -> Section:
    rows = [(one.part, one.metric, _number(one.value), _interval(one.low, one.high)) for one in card.figures]
    table = _table(("Rows", "Metric", "Value", "90 % interval"), rows)
    return Section("Metrics", table=table, notes=() if rows else (f"They are {_NONE}.",))


def _gate(card: ModelCard) -> Section:
    gate = card.gate
    if gate is None:
        return Section("Gate", notes=("It has not seen this version.",))
    against = f"against version {gate.champion}" if gate.champion else "there was no champion"
    facts = [
        (
            "Decision",
            f"{'passed' if gate.passed else 'refused'} ({gate.mode}), {_moment(gate.at)}, {against}",
        ),
        ("Hold-out rows", _NONE if gate.rows is None else f"{gate.rows:,}"),
    ]
    if gate.gain is not None:
        told = f"{gate.gain:+.4f}, 90 % interval {_gained(gate.low, gate.high)}; more is better"
        facts.append((f"Gain in {gate.metric or 'its metric'}", told))
    return Section("Gate", facts, notes=gate.reasons)


def _calibration(card: ModelCard) -> Section:
    rows = [(one.on, _number(one.error), _number(one.chance), f"{one.rows:,}") for one in card.calibration]
    table = _table(("On", "Mean distance of probability and frequency", "By chance", "Rows"), rows)
    return Section("Calibration", table=table, notes=() if rows else (f"It is {_NONE}.",))


def _groups(card: ModelCard) -> Section:
    rows = [
        (
            one.kind,
            one.name,
            one.metric,
            _number(one.value),
            _number(one.beside),
            _count(one.rows),
            _moment(one.at),
        )
        for one in card.groups
    ]
    header = "Kind", "Group", "Metric", "Value", "Beside", "Rows", "Judged"
    told = "Beside: of a slice its value on the hold-out; of fairness that of all other rows."
    notes = (told,) if rows else ("No monitor has judged any.",)
    return Section("Slices and fairness", table=_table(header, rows), notes=notes)


def _live(card: ModelCard) -> Section:
    rows = [
        (one.monitor, one.how, one.metric, _number(one.value), _interval(one.low, one.high), f"{one.rows:,}",
         f"{_moment(one.start)} to {_moment(one.end)}")
        for one in card.live
    ]  # fmt: skip
    header = "Monitor", "How", "Metric", "Value", "90 % interval", "Rows", "Last window"
    return Section(
        "Quality in service", table=_table(header, rows), notes=() if rows else (f"It is {_NONE}.",)
    )


def _drift(card: ModelCard) -> Section:
    runs = sum(card.monitor_runs.values())
    facts = [
        ("Runs of monitors", ", ".join(f"{name} {n}" for name, n in card.monitor_runs.items()) or "none"),
        ("Alerts", ", ".join(f"{kind} {n}" for kind, n in card.alerts.items()) or "none"),
    ]
    rows = [(name, f"{times} of {runs}") for name, times in card.drifted.items()]
    return Section("Drift since it serves", facts, _table(("Feature", "Runs in which it had drifted"), rows))


def _use(card: ModelCard) -> Section:
    counts = [
        (
            f"Rows as {one.role}",
            f"{one.answered:,} scored, {one.failed:,} failed; last {_moment(one.last_at)}",
        )
        for one in card.use
    ]
    rows = [
        (_moment(one.since), _moment(one.until) if one.until else "still", one.how, one.by, one.why)
        for one in card.served
    ]
    notes = [] if rows else ["It was not the champion."]
    notes += [] if counts else ["No replica has scored with it."]
    return Section("Use", counts, _table(("Champion since", "Until", "How", "By", "Why"), rows), notes)


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> Table | None:
    found = list(rows)
    return Table(header, found) if found else None


def _moment(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M} UTC"


def _count(rows: int | None) -> str:
    return "–" if rows is None else f"{rows:,}"


def _number(value: float | None) -> str:
    """Return a number to five digits.

    >>> _number(0.684543), _number(None), _number(12022.0)
    ('0.68454', '–', '12,022')
    """
    if value is None or not math.isfinite(value):
        return "–"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.5g}"


def _value(value: object) -> str:
    return _number(value) if isinstance(value, float) else str(value)


def _gained(low: float | None, high: float | None) -> str:
    """Return the interval of a gain, with as many digits as the gain.

    >>> _gained(0.0086596, 0.017728), _gained(None, None)
    ('+0.0087 to +0.0177', '–')
    """
    return "–" if low is None or high is None else f"{low:+.4f} to {high:+.4f}"


def _interval(low: float | None, high: float | None) -> str:
    return "–" if low is None or high is None else f"{_number(low)} to {_number(high)}"
