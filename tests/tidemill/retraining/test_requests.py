from datetime import UTC, datetime
from pathlib import Path

import pytest

from tidemill.errors import ConfigError, UsageError
from tidemill.project import load_project
from tidemill.project.scaffold import copy_project, reference_project
from tidemill.retraining.turns.turn import make_turn
from tidemill.retraining.turns.turn_begin import TurnRequest
from tidemill.state import open_state
from tidemill.state.tables import Turn

OF_LINES = {"project.training": None, "train.families": ["linear"]}
WRONG = [
    ({"data.as_of": "2013-06-01T00:00:00Z"}, UsageError, "the turn sets it to its own moment"),
    ({"data.last_month": "2013-06"}, UsageError, "the turn sets it to its own moment"),
    ({"train.trials": "many"}, ConfigError, "train.trials"),
    ({"train": 5}, ConfigError, "train"),
    ({"train.colour": 5}, ConfigError, "train.colour"),
    ({"train.search": "grid", "train.trials": 5}, ConfigError, "which makes more than the 5 of train.trials"),
    ({**OF_LINES, "train.scheduler": "pbt"}, ConfigError, "family 'linear' cannot be trained so"),
    ({"project.training": "pipelines.model:nothing"}, ConfigError, "nothing"),
]


@pytest.mark.parametrize(("params", "error", "said"), WRONG, ids=str)
def test_what_cannot_be_set_is_refused_before_anything_begins(
    tmp_path: Path, params: dict[str, object], error: type[Exception], said: str
):
    copy_project(reference_project(), tmp_path / "project")
    project = load_project(tmp_path / "project")
    before = (project.root / "params.yaml").read_bytes()
    state = open_state(project.state_url)
    request = TurnRequest(datetime(2013, 4, 1, tzinfo=UTC), "a test", "tester", params=params)
    with pytest.raises(error, match=said):
        make_turn(project, state, request)
    with state.transaction() as session:
        assert session.query(Turn).count() == 0
    state.close()
    assert (project.root / "params.yaml").read_bytes() == before


def test_what_a_policy_asks_for_in_vain_is_on_record_and_fails_before_its_data(tmp_path: Path):
    copy_project(reference_project(), tmp_path / "project")
    project = load_project(tmp_path / "project")
    before = (project.root / "params.yaml").read_bytes()
    state = open_state(project.state_url)
    grid = {"train.search": "grid", "train.trials": 5}
    request = TurnRequest(datetime(2013, 4, 1, tzinfo=UTC), "r", "policy:p", policy="p", params=grid)
    with pytest.raises(ConfigError, match="which makes more than the 5"):
        make_turn(project, state, request)
    with state.transaction() as session:
        turn = session.query(Turn).one()
    assert (turn.status, turn.step, "train.search is grid" in turn.error) == ("failed", "data", True)
    state.close()
    assert (project.root / "params.yaml").read_bytes() == before
