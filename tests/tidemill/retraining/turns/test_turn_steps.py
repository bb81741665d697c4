"""The last steps of a turn, run again whatever has happened since: the right outcome, recorded once."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from unittest.mock import Mock

import pytest
from sqlalchemy import select

from tests.tidemill.registry.conftest import (  # noqa: F401
    project,
    registered,
    registered_template,
    runs,
    state,
    template,
)
from tidemill.errors import ApprovalNeeded, RegistryError, RetrainingError, UsageError
from tidemill.registry.history.serving_history import decisions_for
from tidemill.registry.promotion import evaluate_gate, promote, rollback
from tidemill.registry.second_person import decide_approval
from tidemill.registry.versions.model_versions import champion_version, get_version
from tidemill.retraining.by_hand.approved_acts import carry_out
from tidemill.retraining.policies import Policy
from tidemill.retraining.questions import answer, answer_overdue, raise_needed
from tidemill.retraining.recipes import Ask, question_of
from tidemill.retraining.situation import gather
from tidemill.retraining.triggers.champion_knowledge import labels_known
from tidemill.retraining.turns import turn_end
from tidemill.retraining.turns.turn import make_turn, resume_turns
from tidemill.retraining.turns.turn_begin import TurnRequest
from tidemill.retraining.turns.turn_steps import STEPS, StepContext, said_progress
from tidemill.state.tables import Approval, Deployment, Promotion, Rollout, Turn
from tidemill.tasks.natural_metric import metric_of
from tidemill.training.search.search_budget import SearchProgress
from tidemill.training.tracking.mlflow_tracking import connect

pytestmark = pytest.mark.engine

NOW = datetime(2013, 6, 1, tzinfo=UTC)


@pytest.fixture
def easy(registered):  # noqa: F811
    """The project with champion 1, and a gate that lets 2 pass."""
    params = registered.root / "params.yaml"
    params.write_text(params.read_text().replace("min_rows: 100", "min_rows: 100\n  min_gain: -0.1"))
    gate = registered.config.gate.model_copy(update={"min_gain": -0.1})
    return replace(registered, config=registered.config.model_copy(update={"gate": gate}))


@pytest.fixture
def champion(easy, state):  # noqa: F811
    return promote(easy, state, "1", "ada", "the first", NOW)


def put_turn(state, step, **values):  # noqa: F811
    given = {
        "id": "turn_1", "model": "small-model", "trigger": "manual", "reason": "r", "actor": "ada",
        "promote": True, "overrides": {}, "as_of": NOW, "status": "running", "step": step, "version": "2",
        "seconds": {}, "requested_at": NOW,
    }  # fmt: skip
    with state.transaction() as session:
        session.add(Turn(**{**given, **values}))


def put_pending(state, decision, **values):  # noqa: F811
    """As a process leaves it that is killed before it moves the alias from 1 to 2."""
    given = {
        "id": "move_1", "model": "small-model", "alias": "champion", "from_version": "1", "to_version": "2",
        "kind": "promotion", "status": "pending", "actor": "ada", "reason": "r", "decision_id": decision.id,
        "turn_id": "turn_1", "at": NOW, "requested_at": datetime.now(UTC),
    }  # fmt: skip
    with state.transaction() as session:
        session.add(Promotion(**{**given, **values}))


def resume(project, state):  # noqa: F811
    """Finish the turn as the next process does, and return its record and what it said."""
    said = []
    resume_turns(project, state, lambda event: said.append(event.message))
    with state.transaction() as session:
        return session.get_one(Turn, "turn_1"), said


@pytest.mark.usefixtures("champion")
def test_a_promotion_that_was_superseded_fails_its_turn(easy, state):  # noqa: F811
    decision = evaluate_gate(easy, state, "2", NOW)
    put_turn(state, "promote", decision_id=decision.id)
    put_pending(state, decision)
    connect(easy).set_registered_model_alias("small-model", "champion", "3")  # by hand, before the restart

    turn, _ = resume(easy, state)

    assert turn.status == "failed"
    assert "turn turn_1 was to promote small-model 2, but another version became champion" in turn.error
    assert champion_version(easy) == "3"


@pytest.mark.usefixtures("champion")
def test_a_pending_promotion_is_finished_once(easy, state):  # noqa: F811
    decision = evaluate_gate(easy, state, "2", NOW)
    put_turn(state, "promote", decision_id=decision.id)
    put_pending(state, decision)
    turn, said = resume(easy, state)
    assert (turn.status, turn.step, champion_version(easy)) == ("promoted", "end", "2")
    assert said[-1] == "version 2 is the champion"
    assert resume_turns(easy, state) == []


@pytest.mark.usefixtures("champion")
def test_a_turn_whose_promotion_was_rolled_back_since_says_so(easy, state):  # noqa: F811
    decision = evaluate_gate(easy, state, "2", NOW)
    put_turn(state, "promote", decision_id=decision.id)
    put_pending(state, decision)
    rollback(easy, state, "bob", "too slow", NOW)  # finishes the promotion, then goes back
    turn, said = resume(easy, state)
    assert (turn.status, champion_version(easy)) == ("promoted", "1")
    assert said[-1] == "version 2 became the champion; now it is 1"


@pytest.mark.usefixtures("champion")
def test_the_gate_is_asked_again_about_a_champion_that_has_changed(easy, state):  # noqa: F811
    old = evaluate_gate(easy, state, "2", NOW)
    put_turn(state, "promote", decision_id=old.id)
    gate = easy.config.gate.model_copy(update={"mode": "off"})
    free = replace(easy, config=easy.config.model_copy(update={"gate": gate}))
    promote(free, state, "3", "bob", "by hand", NOW)
    turn, said = resume(easy, state)
    assert turn.status == "refused"  # the new champion has seen the candidate's hold-out
    assert turn.decision_id != old.id
    assert decisions_for(state, "small-model", "2")[-1].champion == "3"
    assert any("compares small-model 2 with 1, but version 2 is to replace 3" in one for one in said)


@pytest.mark.usefixtures("champion")
def test_the_gate_decides_once_however_often_its_step_is_run(easy, state):  # noqa: F811
    put_turn(state, "gate")
    with state.transaction() as session:
        turn = session.scalars(select(Turn)).one()
    step = next(one for one in STEPS if one.name == "gate")
    context = StepContext(easy, state, turn, lambda *_: None)
    first, second = step.run(context), step.run(context)
    assert first.columns == second.columns
    assert [one.id for one in decisions_for(state, "small-model", "2")] == [first.columns["decision_id"]]


@pytest.mark.usefixtures("champion")
def test_a_run_is_registered_once_however_often_its_step_is_run(easy, state, runs):  # noqa: F811
    put_turn(state, "register", version=None, run_id=runs[2])
    with state.transaction() as session:
        turn = session.scalars(select(Turn)).one()
    step = next(one for one in STEPS if one.name == "register")
    context = StepContext(easy, state, turn, lambda *_: None)
    assert [step.run(context).columns for _ in range(2)] == [{"version": "3"}] * 2


def test_a_turn_that_is_only_to_register_ends_there(easy, state, runs):  # noqa: F811
    put_turn(state, "register", version=None, run_id=runs[0], promote=False)
    turn, _ = resume(easy, state)
    assert (turn.status, turn.version, champion_version(easy)) == ("registered", "1", None)


def test_a_step_that_fails_ends_its_turn_on_record(easy, state):  # noqa: F811
    put_turn(state, "register", version=None, run_id="no-such-run")
    turn, said = resume(easy, state)
    assert (turn.status, turn.step) == ("failed", "register")
    assert "no-such-run" in turn.error
    assert said[-1].startswith("turn_1 failed: ")
    with pytest.raises(RegistryError, match="no-such-run"):
        next(one for one in STEPS if one.name == "register").run(
            StepContext(easy, state, turn, lambda *_: None)
        )


@pytest.mark.usefixtures("champion")
def test_a_version_that_is_only_recorded_passes_the_gate_and_stays(easy, state):  # noqa: F811
    decision = evaluate_gate(easy, state, "2", NOW)
    put_turn(state, "promote", decision_id=decision.id, action="record")
    turn, _ = resume(easy, state)
    assert (turn.status, champion_version(easy)) == ("registered", "1")


@pytest.mark.usefixtures("champion")
def test_a_version_answers_as_the_shadow_once(easy, state):  # noqa: F811
    decision = evaluate_gate(easy, state, "2", NOW)
    put_turn(state, "promote", decision_id=decision.id, action="shadow", actor="policy:p")
    turn, said = resume(easy, state)
    assert (turn.status, champion_version(easy)) == ("registered", "1")
    assert said[-1] == "version 2 passed the gate; it answers as the shadow: `tidemill deploy report`"
    with state.transaction() as session:  # as a kill before the end was recorded leaves it
        row = session.get_one(Turn, "turn_1")
        row.status, row.step = "running", "promote"
    resume(easy, state)
    with state.transaction() as session:
        rows = [(each.kind, each.version, each.actor) for each in session.scalars(select(Deployment))]
    assert rows == [("shadow", "2", "policy:p")]


@pytest.mark.usefixtures("champion")
def test_a_person_is_asked_and_answers_once(easy, state):  # noqa: F811
    decision = evaluate_gate(easy, state, "2", NOW)
    question = question_of(Ask(), NOW)
    put_turn(state, "promote", decision_id=decision.id, action="ask", question=question, actor="policy:p")
    turn, said = resume(easy, state)
    assert (turn.status, turn.step, champion_version(easy)) == ("asked", "end", "1")
    assert said[-1].endswith("waits for an answer until 2013-06-04T00:00:00+00:00, then: refuse")
    assert answer_overdue(easy, state, NOW + timedelta(days=2)) == []
    with pytest.raises(UsageError, match="version 9 of small-model does not wait"):
        answer(easy, state, "promote", "ada", "", NOW, version="9")

    done = answer(easy, state, "promote", "ada", "seen the slices", NOW + timedelta(days=2))

    assert (done.status, done.action, champion_version(easy)) == ("promoted", "promote", "2")
    assert (done.question["by"], done.question["comment"]) == ("ada", "seen the slices")
    with state.transaction() as session:
        of_turn = select(Promotion.actor, Promotion.at).where(Promotion.turn_id == "turn_1")
        assert session.execute(of_turn).all() == [("ada", NOW + timedelta(days=2))]
    with pytest.raises(UsageError, match="no version of small-model waits"):
        answer(easy, state, "refuse", "bob", "", NOW)


@pytest.mark.usefixtures("champion")
def test_a_question_without_an_answer_is_answered_by_its_default(easy, state):  # noqa: F811
    decision = evaluate_gate(easy, state, "2", NOW)
    put_turn(state, "promote", decision_id=decision.id, action="ask", question=question_of(Ask(), NOW))
    resume(easy, state)
    (done,) = answer_overdue(easy, state, NOW + timedelta(days=3))
    assert (done.status, champion_version(easy)) == ("refused", "1")
    assert done.question["comment"] == "nobody answered until 2013-06-04T00:00:00+00:00"


@pytest.mark.usefixtures("champion")
def test_an_answer_is_not_used_up_by_what_fails_after_it(easy, state, monkeypatch):  # noqa: F811
    decision = evaluate_gate(easy, state, "2", NOW)
    question = question_of(Ask(default="promote"), NOW)
    put_turn(state, "promote", decision_id=decision.id, action="ask", question=question)
    resume(easy, state)
    over = NOW + timedelta(days=3)
    with monkeypatch.context() as away:
        for error in (RegistryError("the registry is away"), OSError("disk full")):
            away.setattr(turn_end, "promote", Mock(side_effect=error))
            with pytest.raises(RetrainingError, match=f"version 2 of small-model does not serve: .*{error}"):
                answer(easy, state, "promote", "ada", "", NOW)
        with pytest.raises(RetrainingError, match="disk full"):
            answer_overdue(easy, state, over)
        away.setattr(turn_end, "begin", Mock(side_effect=RegistryError("another rollout is under way")))
        with pytest.raises(RetrainingError, match="another rollout is under way"):
            answer(easy, state, "rollout", "ada", "", NOW)
    with state.transaction() as session:
        row = session.get_one(Turn, "turn_1")
        assert (row.status, row.action, row.question) == ("asked", "ask", question)
    (done,) = answer_overdue(easy, state, over)
    assert (done.status, done.error, champion_version(easy)) == ("promoted", None, "2")


@pytest.mark.usefixtures("champion")
def test_a_turn_ends_in_a_rollout_that_begins_once(easy, state):  # noqa: F811
    decision = evaluate_gate(easy, state, "2", NOW)
    put_turn(state, "promote", decision_id=decision.id, action="rollout")
    turn, said = resume(easy, state)
    with state.transaction() as session:
        (begun,) = session.scalars(select(Rollout)).all()
    assert (turn.status, champion_version(easy)) == ("rollout", "1")
    assert (begun.version, begun.decision_id, begun.status) == ("2", decision.id, "running")
    assert said[-1] == f"version 2 is rolled out by {begun.id}"
    assert gather(easy, state, [], "1", NOW).turns[0].status == "rollout"

    with state.transaction() as session:  # as a kill before the end was recorded leaves it
        row = session.get_one(Turn, "turn_1")
        row.status, row.step = "running", "promote"
    assert resume(easy, state)[0].status == "rollout"
    with state.transaction() as session:
        session.get_one(Rollout, begun.id).status = "rolled_back"
    assert gather(easy, state, [], "1", NOW).turns[0].status == "refused"


def test_a_first_version_has_nothing_to_be_rolled_out_beside(easy, state):  # noqa: F811
    decision = evaluate_gate(easy, state, "2", NOW)
    put_turn(state, "promote", decision_id=decision.id, action="rollout")
    assert (resume(easy, state)[0].status, champion_version(easy)) == ("promoted", "2")


@pytest.mark.usefixtures("champion")
def test_policies_see_what_a_champion_knew_that_a_person_promoted(easy, state):  # noqa: F811
    share = Policy.model_validate({"name": "grown", "any": [{"new_labels": "25%"}, {"age": "90d"}]})
    seen, version = gather(easy, state, [share], "1", NOW).situation, get_version(easy, "1")
    assert version.turn_id is None
    assert (seen.champion_since, seen.labels_learnt) == (version.lineage.as_of, version.trained.labels)
    assert labels_known(easy, version.lineage.as_of) == seen.labels_learnt > 0


@pytest.mark.parametrize("unknown", [{"action": "canary"}, {"recipe": {"search": "wide"}}])
@pytest.mark.usefixtures("champion")
def test_a_turn_of_a_newer_version_is_held_until_that_finishes_it(easy, state, unknown):  # noqa: F811
    decision = evaluate_gate(easy, state, "2", NOW)
    put_turn(state, "promote", decision_id=decision.id, **{"action": "promote", **unknown})
    for _ in range(2):
        turn, said = resume(easy, state)
        assert (turn.status, turn.step, champion_version(easy)) == ("running", "promote", "1")
        assert turn.error == said[0]
        assert f"does not know its {next(iter(unknown))} " in said[0]
    with pytest.raises(RetrainingError, match="turn_1 is held at step promote"):
        make_turn(easy, state, TurnRequest(NOW, "by hand", "ada"))
    with state.transaction() as session:  # as the newer version sees it
        known = session.get_one(Turn, "turn_1")
        known.action, known.recipe = "promote", None
    turn, _ = resume(easy, state)
    assert (turn.status, turn.error, champion_version(easy)) == ("promoted", None, "2")


@pytest.mark.usefixtures("champion")
@pytest.mark.parametrize("end", ["approve", "refuse", "by hand"])
def test_a_turn_waits_for_a_second_person_and_goes_on_with_the_approval(easy, state, end):  # noqa: F811
    params = easy.root / "params.yaml"
    params.write_text(params.read_text().replace("min_rows: 100", "min_rows: 100\n  four_eyes: true"))
    gate = easy.config.gate.model_copy(update={"four_eyes": True})
    careful = replace(easy, config=easy.config.model_copy(update={"gate": gate}))
    decision = evaluate_gate(careful, state, "2", NOW)
    if end == "by hand":  # a person makes the whole turn, and is asked by nobody
        put_turn(state, "promote", decision_id=decision.id, action="promote")
        resume(careful, state)
    else:
        question = question_of(Ask(), NOW)
        put_turn(state, "promote", decision_id=decision.id, action="ask", question=question, actor="policy:p")
        resume(careful, state)
        with pytest.raises(ApprovalNeeded, match="needs the approval of a second person"):
            answer(careful, state, "promote", "ada", "seen the slices", NOW)
    with state.transaction() as session:
        [request] = session.scalars(select(Approval.id))
        turn = session.get_one(Turn, "turn_1")
    assert (turn.status, turn.question["approval"], champion_version(careful)) == ("asked", request, "1")
    with pytest.raises(ApprovalNeeded) as needed:
        raise_needed(turn)
    assert needed.value.approval == request
    if end == "refuse":
        assert answer(careful, state, "refuse", "bob", "wait", NOW).error is None
        with pytest.raises(UsageError, match="refused already, by bob"):
            decide_approval(state, careful.model, request, "approve", actor="bob", comment="x")
        return
    row = decide_approval(state, careful.model, request, "approve", actor="bob", comment="fine")
    assert carry_out(careful, state, row, NOW) == "Version 2 serves now."
    with state.transaction() as session:
        turn = session.get_one(Turn, "turn_1")
        moves = session.scalars(select(Promotion.actor).where(Promotion.turn_id == "turn_1")).all()
    assert (turn.status, turn.error, moves, champion_version(careful)) == ("promoted", None, ["ada"], "2")
    assert "approved by bob: fine" in turn.question["comment"]
    assert answer_overdue(careful, state, NOW + timedelta(days=30)) == []


@pytest.mark.parametrize(
    ("at", "said"),
    [
        (SearchProgress(0, 6, None, None, None), ""),
        (SearchProgress(2, 6, 0.7123, 1, 45.0), "best roc_auc 0.7123 (trial 1), about 45 s left"),
        (SearchProgress(2, 6, 0.7123, 1, 1000.0), "best roc_auc 0.7123 (trial 1), about 17 min left"),
        (SearchProgress(1, 6, None, None, None, {2: (3, 8)}), "trial 2: round 3 of 8"),
        (
            SearchProgress(1, 6, 0.7123, 1, None, {3: (1, 4), 2: (3, 8), 4: (1, 4), 5: (1, 4)}),
            "best roc_auc 0.7123 (trial 1), trial 2: round 3 of 8, trial 3: round 1 of 4, 2 more",
        ),
        (SearchProgress(6, 6, 0.7123, 1, 1.0), "best roc_auc 0.7123 (trial 1)"),
    ],
)
def test_how_far_a_search_is_is_said_in_words(at, said):
    assert said_progress(at, metric_of("roc_auc")) == said
