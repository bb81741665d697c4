"""A turn that learns nothing new is told from one that does."""

from datetime import UTC, datetime, timedelta

from tidemill.retraining.turns.turn_steps import same_data
from tidemill.state import open_state
from tidemill.state.tables import Turn

NOW = datetime(2013, 5, 27, tzinfo=UTC)


def test_the_latest_turn_that_ended_with_the_same_data_is_found():
    state = open_state("sqlite://")

    def add(name: str, status: str, data: str | None, days: int = 0) -> Turn:
        made = Turn(
            id=name, model="m", trigger="manual", reason="r", actor="ada", promote=True, overrides={},
            as_of=NOW - timedelta(days=days), status=status, step="register", seconds={}, requested_at=NOW,
            inputs={"data": data},
        )  # fmt: skip
        with state.transaction() as session:
            session.add(made)
        return made

    add("old", "promoted", "a", 9)
    add("newer", "refused", "a", 5)
    add("failed", "failed", "a", 1)
    add("unknown", "promoted", None, 1)
    mine = add("mine", "refused", "a")
    found = same_data(state, mine, "a")
    assert found is not None
    assert found.id == "newer"
    assert [same_data(state, mine, other) for other in ("b", None)] == [None, None]
    state.close()
