"""The checks under ``gates`` in ``params.yaml``, on real versions."""

import json
from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from tests.tidemill.training.small_project import day
from tidemill.errors import GateRefused
from tidemill.project.project_config import ProjectConfig
from tidemill.registry.gates import champion_comparison
from tidemill.registry.promotion import evaluate_gate, promote
from tidemill.registry.versions.model_versions import get_version, load_holdout, load_judged
from tidemill.state.tables import GateDecision

pytestmark = pytest.mark.engine

PASSING = [
    {"check": "metric", "floor": 0.6, "min_gain": -0.2, "by": "interval"},
    {"check": "groups", "column": "hour", "edges": [8, 16], "max_difference": 0.5, "floor": 0.5},
    {"check": "slices", "columns": ["hour"], "max_loss": 1, "min_rows": 10},
    {"check": "calibration", "max_error": 0.4, "max_rise": 0.4},
    {"check": "latency", "max_ms": 5000, "max_ratio": 500},
    {"check": "size", "max_mb": 50, "max_ratio": 1000},
    {"check": "signature"},
    {"check": "robustness", "max_loss": 0.9, "changes": ["missing", "unseen", "permuted"]},
    {"check": "leakage"},
    {"check": "data_age", "max_days": 5},
    {"check": "card", "required": ["owner"]},
    {"check": "function", "function": "own_gate:looks_fine"},
    {"check": "function", "function": "own_gate:fails", "name": "not asked", "mode": "off"},
]
FAILING = [
    ({"check": "function", "function": "own_gate:fails"}, "ZeroDivisionError"),  # and spoils its answers
    ({"check": "metric", "floor": 0.99}, "the floor is 0.9900"),
    (
        {"check": "metric", "min_gain": -0.02, "by": "interval"},
        "by its 90 % interval; needed is at least -0.0200",
    ),
    (
        {
            "check": "groups",
            "column": "hour",
            "edges": [12],
            "max_difference": 0,
            "measure": "equal_opportunity",
        },
        "at most 0 is allowed",
    ),
    ({"check": "groups", "column": "carrier", "floor": 0.1}, "the hold-out has no column 'carrier'"),
    (
        {"check": "groups", "column": "late", "floor": 0.1},
        "roc_auc is defined in no group of late with 50 rows",
    ),
    (
        {"check": "groups", "column": "hour", "edges": [1000], "max_difference": 0.5},
        "the only group of enough rows; no difference can be measured, at most 0.5 is allowed",
    ),
    (
        {"check": "slices", "columns": ["late"], "floor": 0.1, "min_rows": 10},
        "roc_auc is defined in no slice of late with 10 rows",
    ),
    ({"check": "slices", "columns": ["hour"], "floor": 0.99, "min_rows": 10}, "for hour 0, at least 0.9900"),
    ({"check": "calibration", "max_error": 0.0001}, "off by 0."),
    ({"check": "latency", "max_ms": 0.000001}, "one row takes"),
    ({"check": "size", "max_ratio": 1}, "× the champion's 0.001 MB"),
    ({"check": "robustness", "max_loss": 0.01}, "where wind is missing"),
    ({"check": "data_age", "max_days": 1}, "4.0 days ago"),
    ({"check": "card", "required": ["owner", "risk"]}, "card.yaml says nothing under risk"),
    ({"check": "function", "function": "own_gate:fails"}, "ZeroDivisionError"),
    ({"check": "function", "function": "own_gate:answers"}, "must return a tidemill.GateFinding"),
    ({"check": "function", "function": "own_gate:refuses"}, "too few rows"),
    ({"check": "function", "function": "own_gate:exits"}, "it ends the process, by sys.exit(3)"),
    ({"check": "function", "function": "own_gate:says_nothing"}, "`said` a sentence"),
]
OWN = """
import sys

from tidemill import GateFinding, GateRows

def looks_fine(rows: GateRows):
    return GateFinding(rows.measure("roc_auc").candidate > 0.5, "it looks fine", {"rows": len(rows.truth)})

def fails(rows):
    rows.answers[:] = 0.5
    return 1 / 0

def answers(rows):
    return True

def refuses(rows):
    return GateFinding(rows.answers.max() > 1, "too few rows")

def exits(rows):
    sys.exit(3)

def says_nothing(rows):
    return GateFinding(rows.answers.max() <= 1, None)
"""
KPI = """
from datetime import datetime

import numpy as np
from pydantic import BaseModel

from tidemill import Application


class Flight(BaseModel):
    wind: float | None = None
    hour: int
    event_timestamp: datetime


class Caller(BaseModel):
    phone: str


def decide(flight, score):
    return {"warn": score > 0.5, "at": flight.event_timestamp, "early": flight.hour < 6}


application = Application(request=Flight, feature_row=dict, decide=decide)
unknown = Application(request=Caller, feature_row=dict, decide=decide)


def worth(decisions, labels, features):
    assert len(decisions) == len(labels) == features.height and type(decisions[0]["at"]) is str
    right = np.asarray([one["warn"] == (label == 1) for one, label in zip(decisions, labels)])
    return np.where([one["early"] for one in decisions], np.nan, np.where(right, 2.0, -1.0))


def nothing(decisions, labels, features):
    return 1.0


def fails(decisions, labels, features):
    return 1 / 0
"""
NOW = day(102)


def declared(project, gates, **gate):
    (project.root / "own_gate.py").write_text(OWN)
    (project.root / "card.yaml").write_text("owner: Ada\n")
    given = {**project.params, "gate": {**project.params["gate"], **gate}, "gates": gates}
    return replace(project, config=ProjectConfig.model_validate(given))


def judged(project, gates, **gate):
    own = declared(project, gates, **gate)
    return champion_comparison.compare(own, get_version(own, "2"), get_version(own, "1"), NOW)


def test_every_check_measures_on_one_scoring_of_the_hold_out(registered, monkeypatch):
    scored, load = [], champion_comparison.load_judged

    def watched(project, version):
        found = load(project, version)
        return replace(found, score=lambda matrix: scored.append(len(matrix)) or found.score(matrix))

    monkeypatch.setattr(champion_comparison, "load_judged", watched)
    verdict = judged(registered, PASSING, min_gain=-1)
    assert verdict.passed, verdict.reasons
    rows = verdict.numbers["rows"]
    assert scored == [rows] + 6 * [rows]  # the gate once; what robustness spoils: 3 features in two ways
    listed = {each["name"]: each for each in verdict.numbers["gates"]}
    assert list(listed) == ["gate", *(each["check"] for each in PASSING[:-1])]
    json.dumps(verdict.numbers, allow_nan=False)
    low, high = listed["metric"]["numbers"]["gain_interval"]
    assert [low, high] == verdict.numbers["gain_interval"]
    assert low < listed["metric"]["numbers"]["gain"] < high
    groups = listed["groups"]["numbers"]["groups"]
    assert list(groups) == ["16 and more", "8 to 16", "below 8"]
    assert sum(each["rows"] for each in groups.values()) == rows
    assert listed["latency"]["numbers"]["calls"] == 30
    assert set(listed["robustness"]["numbers"]["losses"]["permuted"]) == {"wind", "delay", "hour"}
    assert listed["function"]["numbers"] == {"rows": rows}
    assert "function: it looks fine" in verdict.reasons


def test_every_check_can_refuse_and_says_why(registered):
    gates = [{**one, "name": f"{place}"} for place, (one, _) in enumerate(FAILING)]
    verdict = judged(registered, gates, min_gain=-1)
    said = {each["name"]: each for each in verdict.numbers["gates"]}
    for place, (one, why) in enumerate(FAILING):
        assert not said[str(place)]["passed"], one
        assert why in said[str(place)]["said"]
    assert not verdict.passed
    assert verdict.reasons[0].startswith("0: ")
    assert [f"{place}: {said[str(place)]['said']}" in verdict.reasons for place in range(len(FAILING))] == [
        True
    ] * len(FAILING)
    json.dumps(verdict.numbers, allow_nan=False)


def test_a_dry_run_stops_nothing_beside_an_enforced_gate_and_is_on_record(registered, state):
    tried = [{"check": "data_age", "max_days": 1, "mode": "dry_run"}]
    own = declared(registered, tried, min_gain=-1)
    decision = evaluate_gate(own, state, "2", NOW)
    assert (decision.mode, decision.passed) == ("enforce", True)
    assert decision.reasons[-1].startswith("dry run, would refuse: data_age: its data ends on")
    own = declared(registered, [{"check": "data_age", "max_days": 1}], mode="off")
    with pytest.raises(GateRefused, match="the gate refused small-model 2: data_age: its data ends on"):
        promote(own, state, "2", actor="ada", reason="", now=NOW)
    with state.transaction() as session:
        row = session.query(GateDecision).order_by(GateDecision.id.desc()).first()
        assert (row.mode, row.passed, row.numbers["gates"][1]["numbers"]["days"]) == (
            "enforce",
            False,
            3.9999884259259257,
        )


def test_checks_of_rows_say_what_kept_them_from_measuring(registered):
    later = replace(get_version(registered, "1"), version="1")
    verdict = champion_comparison.compare(
        declared(registered, PASSING[:1]), later, get_version(registered, "2"), NOW
    )
    assert "not measured: version 2 learnt from rows up to" in verdict.numbers["gates"][1]["said"]


def kpis(project, application, *checks):
    (project.root / "own_kpi.py").write_text(KPI)
    params = {**project.params, "project": {**project.params["project"], "application": application}}
    gates = [{"check": "kpi", "name": f"{place}", **one} for place, one in enumerate(checks)]
    verdict = judged(replace(project, params=params), gates, mode="off")
    return {each["name"]: each for each in verdict.numbers["gates"]}


def test_a_kpi_is_what_the_applications_decisions_on_the_hold_out_are_worth(registered):
    limits = {"floor": 0.2, "min_gain": 0.0, "by": "interval"}, {"floor": 1.9}, {"min_gain": 0.9}
    found = kpis(
        registered,
        "own_kpi:application",
        *({"function": "own_kpi:worth", **one} for one in limits),
        {"function": "own_kpi:nothing", "floor": 0},
        {"function": "own_kpi:fails", "floor": 0},
        {"function": "own_kpi:absent", "floor": 0},
        {"function": "own_kpi:worth", "floor": 0, "min_rows": 421},
    )
    of, held = found["0"]["numbers"], load_holdout(registered, "2")
    counting = held.filter(pl.col("hour") >= 6)
    truth = counting["late"].to_numpy()
    mine, theirs = (load_judged(registered, get_version(registered, each)) for each in ("2", "1"))
    worth = [
        float(np.where((one.predict(counting.to_pandas()) > 0.5) == (truth == 1), 2, -1).mean())
        for one in (mine, theirs)
    ]
    assert [of["candidate"], of["champion"]] == pytest.approx(worth)
    assert (of["rows"], of["refused"]) == (counting.height, 0)
    assert of["interval"][0] < of["candidate"] < of["interval"][1]
    low, high = of["gain_interval"]
    assert low < of["gain"] < high
    assert of["gain"] == pytest.approx(worth[0] - worth[1])
    assert found["0"]["passed"] is (low >= 0)
    assert f"worth is {worth[0]:.4g} a row, the floor is 0.2; a gain of" in found["0"]["said"]
    assert [found[name]["passed"] for name in "12345"] == [False] * 5
    assert "returned shape () for 420 rows" in found["3"]["said"]
    assert "own_kpi:fails failed: ZeroDivisionError" in found["4"]["said"]
    assert "absent" in found["5"]["said"]
    assert (found["6"]["passed"], of["rows"]) == (False, counting.height)
    assert f"a number for {counting.height} rows by the decisions of version 2, 421 are" in found["6"]["said"]


def test_a_kpi_needs_an_application_and_what_its_request_asks_for(registered):
    one = {"function": "own_kpi:worth", "floor": 0}
    said = kpis(registered, "own_kpi:unknown", one)["0"]["said"]
    assert "the hold-out has no column phone, which the application's request needs" in said
    with pytest.raises(ValueError, match=r"gates: entry 1, 0: project.application names no application"):
        kpis(replace(registered, params={**registered.params, "features": {"from": "request"}}), None, one)
