"""Stages before production: gates of their own, kills, moves past Tidemill, approval."""

import threading
from dataclasses import replace

import pytest
from sqlalchemy import select

from tests.tidemill.training.small_project import day
from tidemill.errors import (
    ApprovalNeeded,
    DecisionOutdated,
    GateRefused,
    ModelNotFound,
    RegistryError,
    UsageError,
)
from tidemill.project.project_config import ProjectConfig
from tidemill.registry.deployments import reconcile
from tidemill.registry.history import stage_journal
from tidemill.registry.history.stage_history import has_passed
from tidemill.registry.promotion import promote
from tidemill.registry.second_person import decide_approval
from tidemill.registry.stage_promotion import StageRequest, put_into_stage, take_back
from tidemill.registry.version_removal import archive_version, delete_version
from tidemill.registry.versions.aliases import drop_alias, read_aliases, set_alias
from tidemill.registry.versions.model_versions import get_version
from tidemill.retraining.by_hand.acts_by_hand import do
from tidemill.retraining.by_hand.approved_acts import carry_out
from tidemill.state.tables import Alert, Approval, AuditEntry, StageMove
from tidemill.training.tracking.mlflow_tracking import connect

pytestmark = pytest.mark.engine

NOW = day(102)
GOOD = {"check": "metric", "floor": 0.6}
STAGED = {"check": "stage", "stage": "staging"}


@pytest.fixture
def staged(registered):
    """The project with a stage whose gate 1 and 2 pass, and 3 does not; the champion must have been there."""
    return declared(registered)


def declared(project, gates=(GOOD,), **stage):
    stages = [{"name": "staging", "gates": list(gates), **stage}]
    given = {**project.params, "gate": {"mode": "off"}, "gates": [STAGED], "stages": stages}
    return replace(project, config=ProjectConfig.model_validate(given))


@pytest.fixture
def open_stage(registered):
    """The project with a stage that has no gates, so that nothing is measured."""
    return declared(registered, ())


def asked(actor="ada"):
    return StageRequest("staging", actor, "to be tried", NOW)


def moves(state):
    with state.transaction() as session:
        found = session.scalars(select(StageMove).order_by(StageMove.requested_at, StageMove.id))
        return [(one.kind, one.status, one.from_version, one.to_version) for one in found]


def acts(state):
    with state.transaction() as session:
        found = session.scalars(select(AuditEntry).order_by(AuditEntry.seq))
        return [(one.actor, one.action, one.resource_id) for one in found]


def test_a_version_passes_the_gates_of_its_stage_before_it_may_become_champion(staged, state):
    with pytest.raises(GateRefused, match="of staging refused small-model 3: metric: roc_auc 0"):
        put_into_stage(staged, state, "3", asked())
    with pytest.raises(GateRefused, match="stage: version 1 has not passed staging: `tidemill"):
        promote(staged, state, "1", "ada", "", NOW)
    done = put_into_stage(staged, state, "1", asked())
    assert (done.status, done.mode, done.passed, done.champion) == ("done", "enforce", True, None)
    assert [each["name"] for each in done.numbers["gates"]] == [
        "metric"
    ]  # that of `gate` decides nothing here
    assert read_aliases(staged) == {"staging": "1"}
    assert moves(state) == [("promotion", "refused", None, "3"), ("promotion", "done", None, "1")]
    assert acts(state) == [("ada", "stage", "1")]
    with pytest.raises(RegistryError, match="small-model 1 is in staging already"):
        put_into_stage(staged, state, "1", asked())
    for remove in (delete_version, archive_version):
        with pytest.raises(RegistryError, match="it is staging"):
            remove(staged, state, "1", actor="ada", reason="")
    put_into_stage(staged, state, "2", asked())
    assert promote(staged, state, "1", "ada", "", NOW).to_version == "1"  # it has passed, and made room
    assert read_aliases(staged) == {"staging": "2", "champion": "1"}
    with pytest.raises(RegistryError, match="small-model 1 is the champion: it is past staging"):
        put_into_stage(staged, state, "1", asked())
    with pytest.raises(UsageError, match="has no stage 'tests': it declares staging"):
        put_into_stage(staged, state, "2", replace(asked(), stage="tests"))
    with pytest.raises(ModelNotFound):
        put_into_stage(staged, state, "9", asked())


def test_a_version_that_is_taken_back_has_not_passed_any_more(open_stage, state):
    with pytest.raises(RegistryError, match="no version of small-model is in staging"):
        take_back(open_stage, state, asked())
    for version in "12":
        put_into_stage(open_stage, state, version, asked())
    with pytest.raises(
        DecisionOutdated, match="version 2 of small-model is in staging by now, not version 1"
    ):
        take_back(open_stage, state, asked("bob"), "1")
    form = {"act": "roll-back", "stage": "staging", "actor": "bob", "reason": "", "now": NOW.isoformat()}
    by_form = do(open_stage, state, {**form, "version": "2", "champion": ""})
    assert by_form == {"done": {"from": "2", "to": "1", "stage": "staging"}}
    passed = [has_passed(state, get_version(open_stage, version), "staging") for version in "12"]
    assert (read_aliases(open_stage), passed) == ({"staging": "1"}, [True, False])
    assert take_back(open_stage, state, asked("bob")).to_version is None
    assert read_aliases(open_stage) == {}
    assert acts(state)[2:] == [("bob", "unstage", "2"), ("bob", "unstage", "1")]
    with pytest.raises(GateRefused, match="has not passed staging"):
        promote(open_stage, state, "1", "ada", "", NOW)


def test_a_stage_goes_back_past_versions_that_are_deleted_or_archived_and_says_so(open_stage, state):
    for version in "123":
        put_into_stage(open_stage, state, version, asked())
    archive_version(open_stage, state, "2", actor="ada", reason="")
    back = take_back(open_stage, state, asked())
    assert (back.to_version, back.reasons) == (
        "1",
        ["version 2, which was there before, is archived: `tidemill models unarchive 2` brings it back"],
    )
    put_into_stage(open_stage, state, "3", asked())
    delete_version(open_stage, state, "1", actor="ada", reason="")
    back = take_back(open_stage, state, asked())
    assert (back.from_version, back.to_version, read_aliases(open_stage)) == ("3", None, {})
    assert back.reasons[0] == "version 1, which was there before, was deleted"
    assert "the stage is empty now" in back.reasons[-1]
    with pytest.raises(RegistryError, match="no version of small-model is in staging"):
        take_back(open_stage, state, asked())


def test_a_move_whose_process_was_killed_is_finished_or_dropped(open_stage, state, monkeypatch):
    def kill(version, moved):
        def killed(project, alias, version):
            if moved:
                set_alias(project, alias, version)
            raise KeyboardInterrupt

        monkeypatch.setattr(stage_journal, "set_alias", killed)
        with pytest.raises(KeyboardInterrupt):
            put_into_stage(open_stage, state, version, asked())
        monkeypatch.undo()
        assert moves(state)[-1][1] == "pending"

    kill("1", moved=False)
    reconcile(open_stage, state)
    kill("2", moved=True)
    reconcile(open_stage, state)
    kill("1", moved=False)
    set_alias(open_stage, "staging", "3")
    for _ in range(2):
        reconcile(open_stage, state)
    assert moves(state) == [
        ("promotion", "done", None, "1"),
        ("promotion", "done", "1", "2"),
        ("promotion", "superseded", "2", "1"),
        ("outside", "done", "2", "3"),
    ]
    assert read_aliases(open_stage) == {"staging": "3"}
    passed = [has_passed(state, get_version(open_stage, version), "staging") for version in "123"]
    assert passed == [True, True, False]
    assert acts(state)[2:] == [("ada", "stage", "1"), ("registry", "drop", "1"), ("registry", "move", "3")]


def test_an_alias_that_somebody_else_moves_is_on_record_and_has_passed_nothing(open_stage, state):
    put_into_stage(open_stage, state, "1", asked())
    set_alias(open_stage, "staging", "2")
    for _ in range(2):
        reconcile(open_stage, state)
    assert moves(state)[1:] == [("outside", "done", "1", "2")]
    assert acts(state)[1:] == [("registry", "move", "2")]
    with state.transaction() as session:
        [alert] = session.scalars(select(Alert))
    assert (alert.monitor, alert.severity, alert.status) == (
        "registry/stage-moved-outside", "warning", "firing",
    )  # fmt: skip
    assert not has_passed(state, get_version(open_stage, "2"), "staging")
    put_into_stage(open_stage, state, "2", asked())  # where it is already: now its gates are asked
    assert has_passed(state, get_version(open_stage, "2"), "staging")
    with state.transaction() as session:
        assert session.get_one(Alert, alert.id).status == "resolved"
    set_alias(open_stage, "staging", "1")  # which has passed, but was not put there again
    reconcile(open_stage, state)
    assert moves(state)[-1] == ("outside", "done", "2", "1")
    for version in "12":
        put_into_stage(open_stage, state, version, asked())
    with state.transaction() as session:
        assert {one.status for one in session.scalars(select(Alert))} == {"resolved"}
    drop_alias(open_stage, "staging")
    reconcile(open_stage, state)
    assert moves(state)[-1] == ("outside", "done", "2", None)
    with state.transaction() as session:
        said = session.scalars(select(Alert.message).where(Alert.status == "firing")).one()
    assert "`tidemill promote 2 --stage staging` puts that one there again" in said
    put_into_stage(open_stage, state, "2", asked())
    connect(open_stage).delete_model_version(open_stage.model, "2")
    reconcile(open_stage, state)
    with state.transaction() as session:
        said = session.scalars(select(Alert.message).where(Alert.status == "firing")).one()
    assert "version 2 is deleted, too: `tidemill promote VERSION --stage staging` puts another" in said
    assert "rollback" not in said  # there is nothing to take back


def test_a_stage_can_want_a_second_person_who_approves_these_figures(registered, state):
    careful = declared(registered, four_eyes=True)
    with pytest.raises(ApprovalNeeded) as needed:
        put_into_stage(careful, state, "2", asked())
    assert moves(state) == [("promotion", "asked", None, "2")]
    with state.transaction() as session:
        terms = session.get_one(Approval, needed.value.approval).terms
    assert (terms["stage"], terms["from"], terms["champion"]) == ("staging", None, None)
    assert terms["sha256"] == get_version(careful, "2").digest
    assert all("floor" in rule for rule in terms["rules"].values())
    assert 0.6 < terms["gate"]["candidate"] < 1
    row = decide_approval(state, careful.model, needed.value.approval, "approve", actor="bob", comment="fine")
    put_into_stage(declared(registered), state, "1", asked())
    with pytest.raises(ApprovalNeeded):  # it would take the place of another version than was approved
        carry_out(careful, state, row, NOW)
    take_back(careful, state, asked())
    assert carry_out(careful, state, row, NOW) == "Version 2 is in staging."
    assert ("ada", "stage", "2") in acts(state)


@pytest.mark.usefixtures("any_records")  # SQLite and PostgreSQL
def test_of_two_at_once_one_is_after_the_other(open_stage, state):
    def put(version):
        put_into_stage(open_stage, state, version, asked())

    threads = [threading.Thread(target=put, args=version) for version in "12"]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    first, second = moves(state)
    assert {first[3], second[3]} == {"1", "2"}
    assert (first[2], second[2]) == (None, first[3])
    assert read_aliases(open_stage) == {"staging": second[3]}


def test_a_gate_in_a_dry_run_says_what_it_would_do_and_lets_pass(registered, state):
    trying = declared(registered, [{**GOOD, "mode": "dry_run"}])
    done = put_into_stage(trying, state, "3", asked())
    assert (done.status, done.passed, done.mode) == ("done", False, "dry_run")
    assert has_passed(state, get_version(trying, "3"), "staging")
    free = put_into_stage(declared(registered, []), state, "1", asked())
    assert (free.mode, free.reasons) == ("off", ["staging has no gate that is on"])
