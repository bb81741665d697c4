"""Steps by hand: what they ask for, and what goes on record of code that no commit holds."""

import traceback
import warnings
from dataclasses import replace
from datetime import UTC, datetime
from types import SimpleNamespace

import pytest
from sqlalchemy import select

from tests.tidemill.training.small_project import make_project
from tidemill.data.repository.git import git
from tidemill.errors import ConfigError, GateRefused, ProjectNotFound, UsageError
from tidemill.registry import promotion, stage_promotion
from tidemill.registry.versions import model_versions, new_versions
from tidemill.retraining.by_hand import project_steps
from tidemill.retraining.by_hand.project_steps import OpenProject, open_project
from tidemill.state import open_state
from tidemill.state.tables import AuditEntry

pytestmark = pytest.mark.engine
MOMENT, REASON = datetime(2013, 5, 1, tzinfo=UTC), "simple"


@pytest.fixture
def steps(tmp_path, monkeypatch):
    """A project, and the trainings that are asked for."""
    project, asked = make_project(tmp_path), []

    def train(*given, **named):
        asked.append((*given, named))

    git(tmp_path, "init", "--quiet")
    git(tmp_path, "add", ".")
    git(tmp_path, "-c", "user.name=a", "-c", "user.email=a@b", "commit", "--quiet", "--message", "First")
    monkeypatch.setattr(project_steps, "train_current", train)
    return OpenProject(project), asked


def test_tune_and_fit_ask_for_what_is_given(steps):
    opened, asked = steps
    opened.tune(trials=2, as_of=MOMENT)
    opened.fit("trees", {"leaves": 5}, rounds=2, as_of=MOMENT)
    (searched, *_, first), (fitted, *_, second) = asked
    assert (searched.config.train.trials, first["plan"].search) == (2, "full")
    assert (opened.project.config.train.trials, fitted.config.train.trials) == (6, 6)
    basis = second["plan"].basis
    assert (second["plan"].search, basis.family, basis.rounds) == ("same", "trees", 2)
    assert basis.params == {"leaves": 5, "depth": 3}
    assert second["uncommitted"].files == ()


@pytest.mark.parametrize(
    ("family", "params", "said", "hint"),
    [
        ("oak", {}, "no family 'oak'", "hint: the project has line, trees, constant"),
        ("trees", {}, "needs values of leaves", "let a search find them in leaves ("),
        ("line", {"c": 1, "d": 2}, "parameter d", "it has c"),
    ],
)
def test_what_cannot_be_fitted_is_said_before_and_what_to_do_in_the_traceback(
    steps, family, params, said, hint
):
    with pytest.raises(UsageError, match=said) as refusal:
        steps[0].fit(family, params)
    assert hint in "".join(traceback.format_exception_only(refusal.value))
    for few in (lambda: steps[0].tune(trials=0), lambda: steps[0].fit("line", {"c": 1}, rounds=-1)):
        with pytest.raises(UsageError, match="at least 1"):
            few()
    assert steps[1] == []


def test_a_search_that_cannot_be_made_is_refused_before_anything_is_read(steps):
    opened, asked = steps
    train = opened.project.config.train.model_copy(update={"search": "grid"})
    config = opened.project.config.model_copy(update={"train": train})
    with pytest.raises(ConfigError, match="makes more than the 2"):
        OpenProject(replace(opened.project, config=config)).tune(trials=2)
    assert asked == []


@pytest.mark.parametrize(
    ("unheld", "said"), [((), None), (("model.py",), "no commit holds: model.py"), (None, "not on record")]
)
def test_code_that_no_commit_holds_is_warned_of_and_on_record(steps, monkeypatch, unheld, said):
    version = SimpleNamespace(version="7", lineage=SimpleNamespace(uncommitted=unheld))
    monkeypatch.setattr(model_versions, "get_version", lambda *_: version)
    monkeypatch.setattr(promotion, "promote", lambda *given: given)
    monkeypatch.setattr(stage_promotion, "put_into_stage", lambda *given: given)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        _, _, promoted, _, reason, _ = steps[0].promote("7", REASON)
        _, _, staged, asked = steps[0].put_into_stage(7, "staging", REASON)
    assert (promoted, staged, asked.stage, asked.reason) == ("7", "7", "staging", reason)
    places = ("to production", "into staging") if said else ()
    for one, where in zip(told, places, strict=True):
        assert f"version 7 went {where}, " in str(one.message)
        assert said in str(one.message)
    assert [one.filename for one in told] == [__file__] * len(places)
    assert reason == REASON if said is None else said in reason


def test_of_a_version_that_the_gate_refused_it_is_not_said_that_it_went_to_production(steps, monkeypatch):
    def refuse(*given):
        raise GateRefused("it is worse")

    version = SimpleNamespace(version="7", lineage=SimpleNamespace(uncommitted=("model.py",)))
    monkeypatch.setattr(model_versions, "get_version", lambda *_: version)
    monkeypatch.setattr(promotion, "promote", refuse)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(GateRefused):
            steps[0].promote("7", REASON)


def test_a_version_that_is_registered_by_hand_is_on_the_audit_once(steps, monkeypatch):
    monkeypatch.setattr(new_versions, "register", lambda *_: "7")
    trained = SimpleNamespace(run_id="run_1")
    assert [steps[0].register(trained) for _ in range(2)] == ["7", "7"]
    with open_state(steps[0].project.state_url).transaction() as session:
        [entry] = session.scalars(select(AuditEntry))
    assert (entry.action, entry.resource, entry.resource_id) == ("register", "version", "7")


def test_only_a_project_can_be_opened(tmp_path):
    with pytest.raises(ProjectNotFound):
        open_project(tmp_path)
