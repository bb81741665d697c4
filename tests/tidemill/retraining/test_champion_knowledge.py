"""What policies take for the champion's knowledge where no turn's record says it."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import polars as pl
import pytest
import yaml

from tests.tidemill.retraining.test_policies import PROJECT
from tidemill.errors import ModelNotFound
from tidemill.project import Project, load_project
from tidemill.retraining.policies import Policy
from tidemill.retraining.triggers import champion_knowledge as module
from tidemill.retraining.triggers.champion_knowledge import Knowledge, champion_knowledge, labels_known
from tidemill.state import State, open_state
from tidemill.state.tables import Promotion, Turn

DAYS = [datetime(2013, 5, day, tzinfo=UTC) for day in range(1, 11)]
SHARE = Policy.model_validate({"name": "grown", "any": [{"new_labels": "25%"}]})
OLD = Policy.model_validate({"name": "old", "any": [{"age": "90d"}]})
COUNT = Policy.model_validate({"name": "more", "any": [{"new_labels": 5}]})


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """A row each day, whose label is known a day later; that of the third is missing."""
    dataset = {**PROJECT["dataset"], "time": "at", "label_known": "known"}
    (tmp_path / "params.yaml").write_text(yaml.safe_dump({**PROJECT, "dataset": dataset}))
    (tmp_path / "data").mkdir()
    rows = {"at": DAYS, "known": [day + timedelta(days=1) for day in DAYS], "y": [0, 1, None] + 7 * [0]}
    pl.DataFrame(rows).write_parquet(tmp_path / "data" / "set.parquet")
    return load_project(tmp_path)


@pytest.fixture
def state(project: Project) -> Iterator[State]:
    found = open_state(project.state_url)
    yield found
    found.close()


def version(monkeypatch: pytest.MonkeyPatch, as_of: datetime | None, labels: int | None = None, **more: str):
    """Put a version into the registry: not Tidemill's without a moment."""
    lineage = None if as_of is None else SimpleNamespace(as_of=as_of, imported=more or None)
    trained = None if as_of is None else SimpleNamespace(labels=labels)
    monkeypatch.setattr(module, "get_version", lambda *_: SimpleNamespace(lineage=lineage, trained=trained))


def refused(*_: Any) -> Any:
    raise AssertionError("nothing asks for it")


def test_the_labels_of_a_moment_are_counted_in_the_training_set(project: Project):
    assert [labels_known(project, day) for day in DAYS[:5]] == [0, 1, 2, 2, 3]
    project.dataset_path.unlink()
    assert labels_known(project, DAYS[4]) is None


def test_what_a_turn_recorded_is_not_looked_up(project: Project, state: State, monkeypatch):
    monkeypatch.setattr(module, "get_version", refused)
    made = Turn(as_of=DAYS[4], inputs={"labels": 400})
    assert champion_knowledge(project, state, [SHARE, OLD], "1", made) == Knowledge(DAYS[4], 400)
    before = Turn(as_of=DAYS[4], inputs={"sources": "s"})  # the number was not recorded yet
    assert champion_knowledge(project, state, [COUNT], "1", before) == Knowledge(DAYS[4], None)
    assert champion_knowledge(project, state, [COUNT], "1", None) == Knowledge()
    assert champion_knowledge(project, state, [SHARE], None, None) == Knowledge()


def test_a_turn_from_before_the_number_was_recorded(project: Project, state: State, monkeypatch):
    before = Turn(as_of=DAYS[4], inputs=None)
    version(monkeypatch, DAYS[4], labels=250)
    assert champion_knowledge(project, state, [SHARE], "1", before) == Knowledge(DAYS[4], 250)
    version(monkeypatch, DAYS[4])
    assert champion_knowledge(project, state, [SHARE], "1", before) == Knowledge(DAYS[4], 3)


def test_a_champion_from_elsewhere(project: Project, state: State, monkeypatch):
    version(monkeypatch, DAYS[8])
    assert champion_knowledge(project, state, [SHARE], "1", None) == Knowledge(DAYS[8], 7)
    assert champion_knowledge(project, state, [OLD], "1", None) == Knowledge(DAYS[8], None)
    version(monkeypatch, DAYS[8], learnt_until=DAYS[4].isoformat())  # made here, exported and imported
    assert champion_knowledge(project, state, [SHARE], "1", None) == Knowledge(DAYS[4], 3)


@pytest.mark.parametrize("deleted", [False, True])
def test_of_a_version_that_tidemill_did_not_train_the_first_promotion_counts(
    project: Project, state: State, monkeypatch: pytest.MonkeyPatch, deleted: bool
):
    version(monkeypatch, None)
    if deleted:

        def missing(*_: Any) -> Any:
            raise ModelNotFound("there is no version 1", hint="")

        monkeypatch.setattr(module, "get_version", missing)
    assert champion_knowledge(project, state, [SHARE, OLD], "1", None) == Knowledge()
    moves = [("done", "1", 4), ("done", "1", 8), ("superseded", "1", 2), ("done", "2", 3)]
    with state.transaction() as session:
        for number, (status, to, day) in enumerate(moves):
            session.add(
                Promotion(
                    id=f"move_{number}", model="toy", alias="champion", to_version=to, kind="promotion",
                    status=status, actor="ada", reason="r", at=DAYS[day], requested_at=DAYS[day],
                )
            )  # fmt: skip
    assert champion_knowledge(project, state, [SHARE, OLD], "1", None) == Knowledge(DAYS[4], 3)
