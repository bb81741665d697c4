"""Who served when, from the records alone."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidemill.registry.history.serving_history import (
    champion_at,
    decisions_for,
    history,
    past_champions,
    periods_of,
    previous_champion,
)
from tidemill.state import open_state
from tidemill.state.tables import GateDecision, Promotion

NOW = datetime(2013, 4, 1, tzinfo=UTC)


@pytest.fixture
def state(tmp_path):
    opened = open_state(f"sqlite:///{tmp_path / 'state.db'}")
    yield opened
    opened.close()


def move(number, version, before=None, **others):
    return Promotion(
        **{
            "id": f"move_{number}",
            "model": "small",
            "alias": "champion",
            "from_version": before,
            "to_version": version,
            "kind": "promotion",
            "status": "done",
            "actor": "ada",
            "reason": "better",
            "at": NOW + timedelta(days=number),
            "requested_at": datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=number),
            **others,
        }
    )


def test_who_was_champion_at_a_moment(state):
    with state.transaction() as session:
        session.add_all([move(1, "1"), move(3, "2", "1"), move(4, "3", "2", status="pending")])
    moments = [NOW, *(NOW + timedelta(days=days) for days in (1, 2.9, 3, 9))]
    assert [champion_at(state, "small", each) for each in moments] == [None, "1", "1", "2", "2"]


def test_each_serves_until_the_next(state):
    decision = GateDecision(
        id="gate_1",
        model="small",
        candidate="2",
        champion="1",
        mode="enforce",
        passed=True,
        reasons=["better"],
        numbers={"gain": 0.02},
        decided_at=NOW,
    )
    with state.transaction() as session:
        session.add(decision)
    with state.transaction() as session:
        session.add_all(
            [
                move(1, "1"),
                move(2, "2", "1", decision_id="gate_1", actor="policy drift"),
                move(3, "3", "2", status="superseded"),
                move(4, "1", "2", kind="rollback"),
                move(5, "9", model="other"),
            ]
        )

    found = history(state, "small")

    assert [(one.version, one.since, one.until) for one in found] == [
        ("1", NOW + timedelta(days=1), NOW + timedelta(days=2)),
        ("2", NOW + timedelta(days=2), NOW + timedelta(days=4)),
        ("1", NOW + timedelta(days=4), None),
    ]
    assert [one.kind for one in found] == ["promotion", "promotion", "rollback"]
    assert (found[1].passed, found[1].gain, found[1].actor) == (True, 0.02, "policy drift")
    assert (found[2].passed, found[2].gain) == (None, None)
    assert [one.id for one in decisions_for(state, "small", "2")] == ["gate_1"]
    assert history(state, "nobody") == []
    for version in "129":
        assert periods_of(state, "small", version) == [one for one in found if one.version == version]
    assert [one.until for one in periods_of(state, "small", "1", most=1)] == [None]


versions = st.sampled_from(["1", "2", "3", "4"])


@given(st.lists(st.tuples(st.sampled_from(["promotion", "rollback"]), versions), max_size=12))
def test_going_back_never_ends_where_it_began(moves):
    stack = past_champions(moves)
    if moves:
        assert stack[-1] == moves[-1][1]
    current = stack[-1] if stack else None
    assert previous_champion(moves, current) != current or current is None


def test_going_back_twice_goes_further_back():
    moves = [("promotion", "1"), ("promotion", "2"), ("promotion", "3")]
    assert previous_champion(moves, "3") == "2"
    assert previous_champion([*moves, ("rollback", "2")], "2") == "1"
    assert previous_champion([*moves, ("rollback", "2"), ("rollback", "1")], "1") is None
    assert previous_champion([*moves, ("rollback", "1"), ("promotion", "3")], "3") == "1"
