"""The moment of a turn by hand in a clone, whose records know none of the original's turns."""

import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

from tests.tidemill.project.test_moments import project_of
from tidemill.retraining.by_hand.moment_by_hand import moment_by_hand
from tidemill.retraining.turns.turn_steps import data_message
from tidemill.state import open_state

WRITTEN = datetime(2013, 3, 20, 7, 30, tzinfo=UTC)


def test_in_a_clone_the_moment_that_a_turn_committed_gives_way_to_now(tmp_path: Path):
    project = project_of(tmp_path, {"as_of": WRITTEN.isoformat()})
    state = open_state(project.state_url)
    subprocess.run(["git", "init", "-q"], cwd=project.root, check=True)
    assert moment_by_hand(project, state, None) == WRITTEN  # nobody but the user can have written it
    person = ["-c", "user.name=ada", "-c", "user.email=ada@example.org"]
    commit = ["git", *person, "commit", "-q", "--allow-empty", "-m", f"{data_message(WRITTEN)}\n\nby hand"]
    subprocess.run(commit, cwd=project.root, check=True)
    assert datetime.now(UTC) - moment_by_hand(project, state, None) < timedelta(minutes=5)
    assert moment_by_hand(project, state, WRITTEN) == WRITTEN
    state.close()
