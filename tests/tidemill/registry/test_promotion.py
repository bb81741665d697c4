"""Gate, promotion, rollback, and what a kill leaves behind."""

import json
import os
import signal
import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import select

from tests.warm_python import run_warm
from tidemill.accounts import audit
from tidemill.errors import (
    ApprovalNeeded,
    DecisionOutdated,
    GateRefused,
    ModelNotFound,
    RegistryError,
    UsageError,
)
from tidemill.project import load_project
from tidemill.registry.deployments import reconcile
from tidemill.registry.gates.gate_decisions import tag_version
from tidemill.registry.history import alias_journal
from tidemill.registry.history.serving_history import decisions_for, history
from tidemill.registry.promotion import earlier_decision, evaluate_gate, promote, rollback
from tidemill.registry.second_person import approved_request, decide_approval
from tidemill.registry.versions.aliases import set_alias
from tidemill.registry.versions.model_versions import CHAMPION, champion_version, get_version, load_holdout
from tidemill.retraining.by_hand.approved_acts import carry_out
from tidemill.settings import Settings
from tidemill.state import open_state
from tidemill.state.tables import Alert, Approval, AuditEntry, GateDecision, Promotion, Turn
from tidemill.training.tracking.mlflow_tracking import connect
from tidemill.training.tracking.run_files import log_table
from tidemill.training.tracking.training_result import HOLDOUT

pytestmark = pytest.mark.engine
both = pytest.mark.usefixtures("any_records")  # SQLite and PostgreSQL

NOW = datetime(2013, 6, 1, tzinfo=UTC)


def with_gate(project, **gate):
    config = project.config
    return replace(project, config=config.model_copy(update={"gate": config.gate.model_copy(update=gate)}))


def move(project, state, version, days=0, **others):
    return promote(
        project, state, version, actor="ada", reason="better", now=NOW + timedelta(days=days), **others
    )


def promotions(state):
    with state.transaction() as session:
        return list(session.scalars(select(Promotion).order_by(Promotion.requested_at)))


def add_turn(state, turn_id="turn_1"):
    with state.transaction() as session:
        session.add(
            Turn(
                id=turn_id,
                model="small-model",
                trigger="hand",
                reason="test",
                actor="ada",
                promote=True,
                overrides={},
                as_of=NOW,
                status="running",
                step="promote",
                seconds={},
                requested_at=NOW,
            )
        )


@both
def test_the_first_champion_needs_no_rival(registered, state):
    done = move(registered, state, "1")

    assert (done.from_version, done.to_version, done.status, done.kind) == (None, "1", "done", "promotion")
    assert champion_version(registered) == "1"
    decision = decisions_for(state, "small-model", "1")[0]
    assert decision.passed
    assert decision.champion is None
    assert "no champion yet" in decision.reasons[-1]
    assert done.decision_id == decision.id
    assert get_version(registered, "1").decision["decision"] == decision.id


def test_the_gate_compares_on_rows_that_neither_has_seen(registered, state):
    move(registered, state, "1")
    decision = evaluate_gate(with_gate(registered, min_gain=-0.05), state, "2", NOW)

    numbers = decision.numbers
    assert decision.passed
    assert decision.champion == "1"
    assert numbers["candidate"]["rows"] == numbers["champion"]["rows"] == numbers["rows"] == 420
    assert numbers["gain"] == pytest.approx(numbers["candidate"]["roc_auc"] - numbers["champion"]["roc_auc"])
    low, high = numbers["gain_interval"]
    assert low < high
    assert numbers["period"][0] >= str(get_version(registered, "2").lineage.split.fit.end)
    assert numbers["milliseconds_per_row"]["candidate"] > 0
    assert get_version(registered, "2").decision["passed"]


def test_a_decision_with_many_long_reasons_is_recorded_whole_and_summed_up_in_the_tag(registered, state):
    reasons = [f"reason {number}: {'long ' * 400}" for number in range(40)]
    decision = GateDecision(
        id="gate_1", model="small-model", candidate="2", champion=None, mode="enforce", passed=False,
        reasons=reasons, numbers={}, decided_at=NOW,
    )  # fmt: skip
    tag_version(registered, decision)
    found = get_version(registered, "2").decision
    assert (found["decision"], found["passed"]) == ("gate_1", False)
    assert found["reasons"][0].startswith("reason 0: long long")


def test_a_worse_candidate_is_refused_and_the_refusal_is_on_record(registered, state):
    move(registered, state, "1")
    with pytest.raises(GateRefused, match=r"refused small-model 3: roc_auc 0\.5000 .* of champion 1"):
        move(registered, state, "3")
    assert champion_version(registered) == "1"
    assert not decisions_for(state, "small-model", "3")[0].passed
    assert get_version(registered, "3").decision["passed"] is False
    assert len(promotions(state)) == 1


@pytest.mark.parametrize("mode", ["dry_run", "off"])
def test_a_gate_that_is_not_enforced_stops_nobody(registered, state, mode):
    project = with_gate(registered, mode=mode)
    move(project, state, "1")
    assert move(project, state, "3").status == "done"
    assert champion_version(project) == "3"
    assert decisions_for(state, "small-model", "3")[0].passed == (mode == "off")


def test_a_champion_that_has_seen_the_hold_out_cannot_be_compared(registered, state):
    project = with_gate(registered, mode="off")
    move(project, state, "3")
    with pytest.raises(GateRefused, match=r"version 3 learnt from rows up to .* it has seen"):
        move(registered, state, "1")


def test_a_version_that_tidemill_did_not_train_is_refused_with_the_reason(registered, state):
    version = connect(registered).create_model_version("small-model", source="file:///nowhere")
    with pytest.raises(GateRefused, match="small-model 4: small-model 4 has no holdout"):
        move(registered, state, str(version.version))


def test_promoting_the_champion_again_is_told(registered, state):
    move(registered, state, "1")
    with pytest.raises(RegistryError, match="small-model 1 is the champion already"):
        move(registered, state, "1")
    with pytest.raises(RegistryError, match="is the champion already"):
        evaluate_gate(registered, state, "1", NOW)
    with pytest.raises(ModelNotFound):
        move(registered, state, "9")


@both
def test_a_turn_promotes_once(registered, state):
    add_turn(state)
    first = move(registered, state, "1", turn_id="turn_1")
    assert move(registered, state, "2", turn_id="turn_1").id == first.id
    assert champion_version(registered) == "1"
    with pytest.raises(RegistryError, match=r"(?i)foreign key"):
        move(with_gate(registered, mode="off"), state, "2", turn_id="turn_unknown")
    assert champion_version(registered) == "1"


def test_a_decision_is_only_good_for_the_champion_it_was_about(registered, state):
    decision = evaluate_gate(registered, state, "2", NOW)
    move(registered, state, "1")
    with pytest.raises(RegistryError, match="with no champion, but version 2 is to replace 1"):
        move(registered, state, "2", decision=decision)
    assert champion_version(registered) == "1"


@both
def test_rolling_back_goes_to_the_champion_before(registered, state):
    project = with_gate(registered, mode="off")
    for number, version in enumerate(("1", "2", "3")):
        move(project, state, version, days=number)
    back = [rollback(project, state, "bob", "too slow", NOW + timedelta(days=9 + n)) for n in range(2)]

    assert [(one.from_version, one.to_version, one.kind) for one in back] == [
        ("3", "2", "rollback"),
        ("2", "1", "rollback"),
    ]
    assert champion_version(project) == "1"
    assert [one.version for one in history(state, "small-model")] == ["1", "2", "3", "2", "1"]
    assert history(state, "small-model")[-1].actor == "bob"
    with pytest.raises(RegistryError, match="no earlier champion"):
        rollback(project, state, "bob", "further", NOW)
    assert rollback(project, state, "bob", "forward", NOW, to="3").to_version == "3"


def test_rolling_back_needs_somewhere_to_go(registered, state):
    with pytest.raises(RegistryError, match="it never had one"):
        rollback(registered, state, "bob", "why not", NOW)
    move(registered, state, "1")
    with pytest.raises(RegistryError, match="version 1 is the first"):
        rollback(registered, state, "bob", "why not", NOW)
    with pytest.raises(RegistryError, match="2 has never been champion; those that were: 1"):
        rollback(registered, state, "bob", "why not", NOW, to="2")
    with pytest.raises(RegistryError, match="1 is the champion already"):
        rollback(registered, state, "bob", "why not", NOW, to="1")


def test_rolling_back_from_and_to_versions_that_were_deleted(registered, state):
    project = with_gate(registered, mode="off")
    for number, version in enumerate(("1", "2", "3")):
        move(project, state, version, days=number)
    client = connect(project)
    client.delete_model_version("small-model", "2")
    with pytest.raises(RegistryError, match="small-model 2 was champion, but it was deleted") as raised:
        rollback(project, state, "bob", "too slow", NOW)
    assert raised.value.hint == "`tidemill rollback small-model --to 1` goes back to an earlier one"
    assert champion_version(project) == "3"

    assert rollback(project, state, "bob", "too slow", NOW, to="1").to_version == "1"
    assert move(project, state, "3", days=4).to_version == "3"
    client.delete_model_version("small-model", "3")  # the champion itself, and its alias with it
    assert champion_version(project) is None
    assert rollback(project, state, "bob", "it is gone", NOW).to_version == "1"
    client.delete_model_version("small-model", "1")
    with pytest.raises(
        RegistryError, match="no earlier champion to go back to: version 1, the last, was deleted"
    ) as raised:
        rollback(project, state, "bob", "all are gone", NOW)
    assert raised.value.hint == "no version is left at all: `tidemill run --promote` trains one"


KILLED = """
import os, signal, sys
from datetime import UTC, datetime
from pathlib import Path
from tidemill.project import load_project
from tidemill.registry import promotion
from tidemill.registry.history import alias_journal
from tidemill.state import open_state

real = alias_journal._set_alias
moment, root = sys.argv[1:]

def killed(project, version):
    if moment == "after":
        real(project, version)
    os.kill(os.getpid(), signal.SIGKILL)

alias_journal._set_alias = killed
project, at = load_project(Path(root)), datetime(2013, 6, 2, tzinfo=UTC)
promotion.promote(project, open_state(project.state_url), "2", "ada", "better", at, turn_id="turn_1")
"""


@pytest.fixture
def killed(registered, state):
    """Make version 1 champion, then kill a process that promotes 2, before or after the alias moved."""

    def kill(moment):
        move(registered, state, "1")
        add_turn(state)
        params = registered.root / "params.yaml"
        params.write_text(params.read_text().replace("min_rows: 100", "min_rows: 100\n  min_gain: -0.1"))
        env = {**os.environ, "TIDEMILL_STATE_URL": registered.state_url}
        assert run_warm(KILLED, moment, registered.root, env=env).returncode == -signal.SIGKILL
        assert [one.status for one in promotions(state)] == ["done", "pending"]

    return kill


@both
@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_promotion_that_was_killed_is_finished_once(registered, state, killed, moment):
    killed(moment)
    assert champion_version(registered) == ("2" if moment == "after" else "1")

    for _ in range(2):
        reconcile(registered, state)
        assert [(one.to_version, one.status) for one in promotions(state)] == [("1", "done"), ("2", "done")]
        assert champion_version(registered) == "2"
    assert move(registered, state, "2", turn_id="turn_1").id == promotions(state)[1].id
    assert len(promotions(state)) == 2
    assert [one.version for one in history(state, "small-model")] == ["1", "2"]


@pytest.fixture
def pending(registered, state):
    """What a process leaves that is killed before it moved the alias from 1 to 2."""
    move(registered, state, "1")
    add_turn(state)
    with state.transaction() as session:
        session.add(
            Promotion(
                id="move_killed",
                model="small-model",
                alias="champion",
                from_version="1",
                to_version="2",
                kind="promotion",
                status="pending",
                actor="ada",
                reason="better",
                turn_id="turn_1",
                at=NOW,
                requested_at=datetime.now(UTC),
            )
        )


@pytest.mark.usefixtures("pending")
def test_a_killed_promotion_gives_way_to_what_somebody_did_since(registered, state):
    connect(registered).set_registered_model_alias("small-model", "champion", "3")

    reconcile(registered, state)

    assert [(one.status, one.kind) for one in promotions(state)] == [
        ("done", "promotion"),
        ("superseded", "promotion"),
        ("done", "outside"),
    ]
    assert champion_version(registered) == "3"
    with pytest.raises(RegistryError, match="another version became champion before it"):
        move(registered, state, "2", turn_id="turn_1")


@pytest.mark.usefixtures("pending")
def test_a_killed_promotion_of_a_version_that_is_gone_is_dropped(registered, state):
    connect(registered).delete_model_version("small-model", "2")
    reconcile(registered, state)
    assert [one.status for one in promotions(state)] == ["done", "superseded"]
    assert champion_version(registered) == "1"
    with pytest.raises(RegistryError, match="promote small-model 2, but that version was deleted"):
        move(registered, state, "3", turn_id="turn_1")


@pytest.mark.usefixtures("pending")
def test_a_killed_promotion_outlasts_a_registry_that_was_lost(registered, state, tmp_path):
    lost = load_project(registered.root, Settings(tracking_uri=f"sqlite:///{tmp_path / 'new.db'}"))
    with pytest.raises(RegistryError, match="does not know small-model"):
        reconcile(lost, state)
    reconcile(registered, state)
    assert [one.status for one in promotions(state)] == ["done", "done"]
    assert champion_version(registered) == "2"


@pytest.mark.usefixtures("pending")
def test_the_gate_compares_with_the_champion_that_a_killed_promotion_was_to_make(registered, state):
    assert evaluate_gate(registered, state, "3", NOW).champion == "2"
    assert [one.status for one in promotions(state)] == ["done", "done"]


def test_a_decision_on_record_is_found_again_and_its_tag_with_it(registered, state):
    assert earlier_decision(registered, state, "1", NOW) is None
    decision = evaluate_gate(registered, state, "1", NOW)
    connect(registered).delete_model_version_tag("small-model", "1", "tidemill.gate")  # as a kill leaves it
    assert earlier_decision(registered, state, "1", NOW).id == decision.id
    assert get_version(registered, "1").decision["decision"] == decision.id
    assert earlier_decision(registered, state, "1", NOW + timedelta(days=1)) is None
    assert earlier_decision(with_gate(registered, mode="off"), state, "1", NOW) is None
    move(registered, state, "2")
    assert earlier_decision(registered, state, "1", NOW) is None  # it was about another champion


@pytest.mark.usefixtures("pending")
def test_the_next_move_settles_what_a_kill_left(registered, state):
    assert rollback(registered, state, "bob", "no", NOW).to_version == "1"
    assert [one.status for one in promotions(state)] == ["done", "done", "done"]


@both
def test_two_at_once_move_one_after_the_other(registered, state):
    project, ended = with_gate(registered, mode="off"), []

    def try_it():
        try:
            ended.append(move(project, state, "1").status)
        except RegistryError as error:
            ended.append(str(error))

    threads = [threading.Thread(target=try_it) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(ended)[0] == "done"
    assert sum("champion already" in one for one in ended) == 3
    assert len(promotions(state)) == 1


def test_another_machine_that_shares_the_records_waits_too(registered, postgres_url, tmp_path):
    state, elsewhere = open_state(postgres_url), replace(registered, root=tmp_path / "elsewhere")
    elsewhere.home.mkdir(parents=True)
    with (
        alias_journal.lock(elsewhere, state) as held,
        pytest.raises(RegistryError, match=r"this process, since .* claimed on another machine"),
        alias_journal.lock(registered, state, 0),
    ):
        pytest.fail("both move the champion")
    assert held is not None
    with alias_journal.lock(registered, state, 0) as mine:  # the claim was given back
        late = Promotion(id="promo_1", model=registered.model, to_version="1")
        with pytest.raises(RegistryError, match="another process moves the champion"):
            alias_journal.move_alias(elsewhere, state, late, held)  # it stood still until another took over
    assert mine is not None
    assert not promotions(state)


def test_a_project_with_four_eyes_promotes_after_a_second_persons_approval(registered, state):
    careful = with_gate(registered, mode="off", four_eyes=True)
    with pytest.raises(ApprovalNeeded):
        move(careful, state, "1")
    assert promotions(state) == []
    with state.transaction() as session:
        [request] = session.scalars(select(Approval.id))
    row = decide_approval(state, careful.model, request, "approve", actor="somebody else", comment="fine")
    assert carry_out(careful, state, row, NOW) == "Version 1 serves now; before: none."
    [done] = promotions(state)
    assert "somebody else: fine" in done.reason
    assert (done.status, done.actor) == ("done", row.asked_by)
    with pytest.raises(UsageError, match="no approved request"):
        approved_request(state, careful.model, request)  # it is used up


def test_an_approval_counts_while_the_version_serves_that_was_to_be_replaced(registered, state):
    careful = with_gate(registered, mode="off", four_eyes=True)
    with pytest.raises(ApprovalNeeded) as needed:
        move(careful, state, "2")
    said = {"actor": "somebody else", "comment": "fine"}
    row = decide_approval(state, careful.model, needed.value.approval, "approve", **said)
    move(with_gate(registered, mode="off"), state, "1")
    with pytest.raises(DecisionOutdated, match="version none served when it was asked for, and version 1"):
        carry_out(careful, state, row, NOW)
    with pytest.raises(ApprovalNeeded):
        move(careful, state, "2")
    assert champion_version(careful) == "1"


def test_an_approval_is_bound_to_the_versions_file_and_the_gates_figures(registered, state):
    careful = with_gate(registered, min_gain=-1.0, four_eyes=True)
    with pytest.raises(ApprovalNeeded) as needed:
        move(careful, state, "2")
    with state.transaction() as session:
        terms = session.get_one(Approval, needed.value.approval).terms
    decision = decisions_for(state, careful.model, "2")[-1]
    gate = {"metric": "roc_auc", "candidate": round(decision.numbers["candidate"]["roc_auc"], 4)}
    assert terms["gate"] == {**gate, "champion": None, "rows": decision.numbers["rows"]}
    assert terms["sha256"] == get_version(careful, "2").digest
    assert len(terms["sha256"]) == 64
    assert terms["rules"]["gate"]["min_gain"] == -1.0
    said = {"actor": "somebody else", "comment": "fine"}
    row = decide_approval(state, careful.model, needed.value.approval, "approve", **said)
    held = load_holdout(careful, "2")
    log_table(connect(careful), get_version(careful, "2").run_id, held.head(held.height // 2), HOLDOUT)
    with pytest.raises(ApprovalNeeded):  # other figures than those that were approved
        carry_out(careful, state, row, NOW)
    assert champion_version(careful) is None
    log_table(connect(careful), get_version(careful, "2").run_id, held, HOLDOUT)
    assert carry_out(careful, state, row, NOW) == "Version 2 serves now; before: none."


def test_a_champion_that_was_moved_in_the_registry_is_on_record_as_such(registered, state):
    free = with_gate(registered, mode="off")
    move(free, state, "1")
    set_alias(free, CHAMPION, "2")
    for _ in range(2):
        reconcile(free, state)
    assert [(one.kind, one.from_version, one.to_version) for one in promotions(state)] == [
        ("promotion", None, "1"),
        ("outside", "1", "2"),
    ]
    with state.transaction() as session:
        acts = session.query(AuditEntry.actor, AuditEntry.action).order_by(AuditEntry.seq).all()
    assert tuple(acts[-1]) == ("registry", "move")
    with state.transaction() as session:
        [alert] = session.query(Alert).all()
    told = (alert.kind, alert.monitor, alert.severity, alert.status, alert.version)
    assert told == ("external", "registry/champion-moved-outside", "critical", "firing", "2")
    assert "without gate, reason and approval" in alert.message
    back = rollback(free, state, "ada", "it was never asked for", NOW)
    assert (back.from_version, back.to_version) == ("2", "1")
    with state.transaction() as session:
        assert session.get_one(Alert, alert.id).status == "resolved"
    set_alias(free, CHAMPION, "3")
    reconcile(free, state)
    with state.transaction() as session:
        assert sorted(session.scalars(select(Alert.status))) == ["firing", "resolved"]


def test_who_moves_the_champion_on_the_pages_of_mlflow_is_on_record_once(registered, state):
    free = with_gate(registered, mode="off")
    move(free, state, "1")
    asked = json.dumps({"name": "small-model", "alias": CHAMPION, "version": "2"})

    def ask(action):
        act = audit.Act(
            "bob", action, "version", "2", "small-model", details={"by": "mlflow", "asked": asked}
        )
        with state.transaction() as session:
            audit.append(session, act)

    ask("promote")
    set_alias(free, CHAMPION, "2")
    reconcile(free, state)
    assert [(one.kind, one.actor) for one in promotions(state)] == [("promotion", "ada"), ("outside", "bob")]
    with state.transaction() as session:
        acts = session.query(AuditEntry.actor, AuditEntry.action).order_by(AuditEntry.seq).all()
        [alert] = session.query(Alert).all()
    assert [tuple(one) for one in acts[-2:]] == [("ada", "promote"), ("bob", "promote")]
    assert "moved on Tidemill's pages of MLflow: without gate, reason and approval" in alert.message
    move(free, state, "1", days=1)
    ask("promote")
    ask(f"{audit.FAILED}promote")  # MLflow refused; another client moves it later
    set_alias(free, CHAMPION, "2")
    reconcile(free, state)
    assert promotions(state)[-1].actor == "registry"


OUTSIDE_ALERT = "registry/champion-moved-outside"


def alerts_of(state):
    with state.transaction() as session:
        return [
            (one.severity, one.status) for one in session.scalars(select(Alert).order_by(Alert.raised_at))
        ]


def test_a_champion_whose_alias_was_deleted_in_the_registry_raises_the_same_alert(registered, state):
    free = with_gate(registered, mode="off")
    move(free, state, "1")
    connect(free).delete_registered_model_alias("small-model", CHAMPION)
    for _ in range(2):
        reconcile(free, state)
    with state.transaction() as session:
        [alert] = session.query(Alert).all()
        acts = session.query(AuditEntry.actor, AuditEntry.action).order_by(AuditEntry.seq).all()
    assert (alert.monitor, alert.severity, alert.status) == (OUTSIDE_ALERT, "critical", "firing")
    assert "was deleted in the registry itself" in alert.message
    assert [tuple(one) for one in acts[-2:]] == [("ada", "promote"), ("registry", "move")]
    assert len(promotions(state)) == 1
    set_alias(free, CHAMPION, "1")  # somebody takes it back there
    reconcile(free, state)
    assert alerts_of(state) == [("critical", "resolved")]
    connect(free).delete_registered_model_alias("small-model", CHAMPION)
    reconcile(free, state)
    assert alerts_of(state) == [("critical", "resolved"), ("critical", "firing")]
    assert rollback(free, state, "ada", "it was never asked for", NOW, to="1").to_version == "1"
    assert champion_version(free) == "1"
    assert alerts_of(state) == [("critical", "resolved"), ("critical", "resolved")]
    connect(free).delete_model_version("small-model", "1")
    reconcile(free, state)
    with state.transaction() as session:
        said = session.scalars(select(Alert.message).where(Alert.status == "firing")).one()
    assert "version 1 was, and is deleted, too: `tidemill rollback small-model` goes back" in said


def test_a_registry_that_was_lost_is_not_taken_for_a_deleted_alias(registered, state, tmp_path):
    move(with_gate(registered, mode="off"), state, "1")
    lost = load_project(registered.root, Settings(tracking_uri=f"sqlite:///{tmp_path / 'new.db'}"))
    reconcile(lost, state)
    assert alerts_of(state) == []
