"""Says in words what an approval is bound to, and until when. Imports no engine."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from tidemill.tasks.natural_metric import metric_of

if TYPE_CHECKING:
    from tidemill.project.declared_gates import GateConfig
    from tidemill.project.gate_checks import GateCheck

__all__ = ["RULES", "VALID", "bound_to", "declared_rules", "other_rules", "said_terms", "valid_until"]

RULES: Final = "rules"
"""The terms that say by which gates it was judged; approvals of earlier releases have none."""

VALID: Final = timedelta(days=7)
"""A request waits for this long, and its approval counts for this long."""


def valid_until(status: str, asked_at: datetime, decided_at: datetime | None) -> datetime | None:
    """Return until when a request waits, or its approval counts; None if it does neither any more.

    >>> valid_until("waiting", datetime(2013, 7, 1), None)
    datetime.datetime(2013, 7, 8, 0, 0)
    >>> valid_until("refused", datetime(2013, 7, 1), datetime(2013, 7, 2)) is None
    True
    """
    since = {"waiting": asked_at, "approved": decided_at}.get(status)
    return None if since is None else since + VALID


def bound_to(digest: str | None, numbers: Mapping[str, Any]) -> dict[str, Any]:
    """Return what else an approval of a promotion is bound to: the version's file, and the gate's figures.

    Args:
        digest: SHA-256 of what would serve, where it is on record.
        numbers: of the gate's decision. Those of the hold-out count, with four digits: times differ.

    >>> bound_to("9a0e", {"metric": "r2", "candidate": {"r2": 0.52703}, "champion": None, "rows": 90})
    {'sha256': '9a0e', 'gate': {'metric': 'r2', 'candidate': 0.527, 'champion': None, 'rows': 90}}
    """
    name = str(numbers.get("metric"))
    values = {side: (numbers.get(side) or {}).get(name) for side in ("candidate", "champion")}
    rounded = {side: None if value is None else round(value, 4) for side, value in values.items()}
    return {"sha256": digest, "gate": {"metric": name, **rounded, "rows": numbers.get("rows")}}


def declared_rules(gates: "Sequence[GateCheck]", gate: "GateConfig | None" = None) -> dict[str, Any]:
    """Return the gates that an approval is bound to, as params.yaml declares them, without defaults.

    Args:
        gates: ``gates``, or those of a stage.
        gate: the section ``gate``; None for a stage.

    >>> from tidemill.project.declared_gates import GateConfig
    >>> from tidemill.project.gate_checks import MetricCheck
    >>> declared_rules([MetricCheck(check="metric", floor=0.6)], GateConfig(floor=0.7))["rules"]
    {'gate': {'floor': 0.7}, 'gate `metric`': {'check': 'metric', 'floor': 0.6}}
    """
    shown = {} if gate is None else {"gate": _set(gate)}
    return {RULES: {**shown, **{f"gate `{one.title}`": _set(one) for one in gates}}}


def _set(section: Any) -> dict[str, Any]:
    return dict(section.model_dump(mode="json", exclude_defaults=True, exclude={"four_eyes"}))


def other_rules(before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """Say in what gates differ from those under which something was approved.

    >>> other_rules({"gate": {"floor": 0.7}, "gate `size`": {}}, {"gate": {"floor": 0.75, "min_rows": 90}})
    'gate: floor was 0.7, is 0.75; gate: min_rows was not set, is 90; gate `size` is not declared any more'
    """
    return "; ".join(_differences(before, now))


def _differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[str]:
    for name in dict.fromkeys((*now, *before)):
        if name not in now or name not in before:
            yield f"{name} {'was not declared' if name in now else 'is not declared any more'}"
            continue
        was, there = before[name], now[name]
        for field in sorted({*was, *there}):
            if was.get(field) != there.get(field):
                yield f"{name}: {field} was {was.get(field, 'not set')}, is {there.get(field, 'not set')}"


def said_terms(terms: Mapping[str, Any] | None) -> str:
    """Return the terms of a request in words.

    >>> said_terms({"champion": "1"}), said_terms({"champion": None})
    ('in place of version 1', 'as the first champion')
    >>> said_terms({"champion": "1", "kind": "canary", "name": "canary", "share": 1.0})
    'beside version 1 as the canary, with 100 % of the keys'
    >>> gate = {"metric": "neg_mae", "candidate": -3.5, "champion": -4.0, "rows": 9000}
    >>> said_terms({"champion": "1", "sha256": "9a0e", "gate": gate})
    'in place of version 1, with mae 3.5000 against 4.0000 on 9,000 rows'
    >>> said_terms({"champion": "1", "stage": "staging", "from": "2"})
    'into staging, in place of version 2, while version 1 serves'
    >>> steps = [{"share": 0.05, "minutes": 10}, {"share": 1.0, "minutes": 10}]
    >>> said_terms({"champion": "1", "plan": {"steps": steps}, "since": None})
    'in place of version 1, by steps of 5 %, 100 %'
    """
    if terms is None:
        return "asked for by an earlier version of Tidemill: it counts for nothing"
    before = terms.get("champion")
    said = f"in place of version {before}" if before else "as the first champion"
    if stage := terms.get("stage"):
        serving = f"version {before} serves" if before else "no version serves"
        after = f"in place of version {terms['from']}, " if terms["from"] else ""
        said = f"into {stage}, {after}while {serving}"
    if (gate := terms.get("gate")) and gate["candidate"] is not None:
        metric = metric_of(gate["metric"])
        beside = f" against {metric.number(gate['champion'])}" if gate["champion"] is not None else ""
        said += f", with {metric.said(gate['candidate'])}{beside} on {gate['rows']:,} rows"
    if kind := terms.get("kind"):
        what = f"the experiment {terms['name']}" if kind == "ab" else f"the {kind}"
        return f"beside version {before} as {what}, with {terms['share'] * 100:g} % of the keys"
    if plan := terms.get("plan"):
        shares = [f"{step['share'] * 100:g} %" for step in plan["steps"]]
        said += f", by steps of {', '.join(shares)}"
    if since := terms.get("since"):
        said += f", counting answers since {since[:16].replace('T', ' ')} UTC"
    return said
