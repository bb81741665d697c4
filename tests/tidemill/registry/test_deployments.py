"""Versions beside the champion: records and aliases agree, whatever was killed or moved by hand."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest
from sqlalchemy import select

from tidemill.errors import ApprovalNeeded, ModelNotFound, RegistryError, UsageError
from tidemill.ids import new_id
from tidemill.project import load_project
from tidemill.registry.deployments import DeployRequest, deploy, live, reconcile, stop
from tidemill.registry.second_person import decide_approval
from tidemill.registry.versions.alias_names import differs
from tidemill.registry.versions.aliases import drop_alias, read_aliases, set_alias
from tidemill.retraining.by_hand.approved_acts import carry_out
from tidemill.serving.routing.desired_state import desired_state_reader
from tidemill.settings import Settings
from tidemill.state.tables import Alert, Deployment

pytestmark = pytest.mark.engine
both = pytest.mark.usefixtures("any_records")  # SQLite and PostgreSQL
NOW = datetime(2013, 6, 1, tzinfo=UTC)


@pytest.fixture
def crowned(registered):
    """The project with champion 1."""
    set_alias(registered, "champion", "1")
    return registered


def deployments(state):
    """All on record, the latest first."""
    with state.transaction() as session:
        return list(session.scalars(select(Deployment).order_by(Deployment.requested_at.desc())))


def put(project, state, kind="canary", version="2", share=0.1, name=""):
    return deploy(project, state, DeployRequest(kind, version, share, "ada", "to see", name), NOW)


def there(state):
    return {row.name: (row.version, row.share) for row in live(state, "small-model")}


def record(state, status, version="2", from_version=None):
    """Write what a killed process leaves."""
    with state.transaction() as session:
        row = Deployment(
            id=new_id("dep"), model="small-model", kind="canary", name="canary", version=version,
            champion="1", share=0.1, salt="s", status=status, from_version=from_version, actor="ada",
            reason="r", at=NOW, requested_at=NOW,
        )  # fmt: skip
        session.add(row)
    return row


def status_of(state, row):
    with state.transaction() as session:
        return session.get_one(Deployment, row.id).status


@both
def test_each_kind_has_its_record_and_its_alias(crowned, state):
    put(crowned, state)
    put(crowned, state, "shadow", "3", 1.0)
    put(crowned, state, "challenger", "3", 1.0)
    put(crowned, state, "ab", "3", 0.5, "fee")
    assert there(state) == {
        "canary": ("2", 0.1),
        "shadow": ("3", 1.0),
        "challenger": ("3", 1.0),
        "fee": ("3", 0.5),
    }
    aliases = {"champion": "1", "canary": "2", "shadow": "3", "challenger": "3", "ab-fee": "3"}
    assert read_aliases(crowned) == aliases
    assert not differs(read_aliases(crowned), live(state, "small-model"))
    stop(crowned, state, ["fee", "shadow"], "enough", "ann")
    assert set(read_aliases(crowned)) == {"champion", "canary", "challenger"}
    stop(crowned, state, [], "enough", "ann")
    assert there(state) == {}
    assert read_aliases(crowned) == {"champion": "1"}


@both
def test_a_share_changes_without_moving_other_keys_and_another_version_draws_its_own(crowned, state):
    first = put(crowned, state)
    assert put(crowned, state).id == first.id  # nothing to do
    second = put(crowned, state, share=0.4)
    third = put(crowned, state, version="3", share=0.4)
    assert (second.salt, there(state)) == (first.salt, {"canary": ("3", 0.4)})
    assert third.salt != first.salt
    assert [row.ended_reason for row in reversed(deployments(state))] == [
        "now with a share of 40.0%",
        "followed by version 3",
        None,
    ]


@pytest.mark.parametrize(
    ("wish", "error", "said"),
    [
        ({"version": "1"}, RegistryError, "1 is the champion"),
        ({"version": "9"}, ModelNotFound, "no version '9'"),
        ({"share": 0.0}, UsageError, "above 0 %"),
        ({"share": 1.5}, UsageError, "at most 100 %"),
        ({"kind": "ab", "name": "Fee!"}, UsageError, "cannot be the name of an experiment"),
        ({"kind": "ab", "name": "shadow"}, UsageError, "cannot be the name of an experiment"),
        ({"kind": "blue"}, UsageError, "cannot be deployed as"),
    ],
)
def test_what_cannot_be_meant_is_refused_and_leaves_nothing(crowned, state, wish, error, said):
    with pytest.raises(error, match=said):
        put(crowned, state, **wish)
    assert deployments(state) == []
    with pytest.raises(UsageError, match="has no deployment 'canary'; it has: none"):
        stop(crowned, state, ["canary"], "enough", "ann")


def test_without_a_champion_nothing_is_beside_it(registered, state):
    with pytest.raises(RegistryError, match="has no champion"):
        put(registered, state)


@both
@pytest.mark.parametrize("moved", [False, True])
def test_one_that_was_killed_while_it_came_is_finished(crowned, state, moved):
    before = record(state, "live", "3")
    set_alias(crowned, "canary", "2" if moved else "3")
    row = record(state, "pending", "2", from_version="3")
    reconcile(crowned, state)
    assert (status_of(state, before), status_of(state, row)) == ("stopped", "live")
    assert read_aliases(crowned)["canary"] == "2"


@both
def test_one_that_was_killed_while_it_went_is_finished(crowned, state):
    set_alias(crowned, "canary", "2")
    row = record(state, "stopping", "2")
    reconcile(crowned, state)
    assert status_of(state, row) == "stopped"
    assert "canary" not in read_aliases(crowned)


def test_a_killed_one_gives_way_to_what_somebody_did_since(crowned, state):
    row = record(state, "pending", "2", from_version=None)
    set_alias(crowned, "canary", "3")
    reconcile(crowned, state)
    assert status_of(state, row) == "superseded"
    assert there(state) == {"canary": ("3", 0.05)}  # the alias by hand is a wish, too


def test_aliases_that_are_moved_in_the_registry_are_followed(crowned, state):
    for alias, version in {"shadow": "2", "ab-fee": "3", "latest-best": "3"}.items():
        set_alias(crowned, alias, version)
    assert differs(read_aliases(crowned), live(state, "small-model"))
    reconcile(crowned, state)
    assert there(state) == {"shadow": ("2", 1.0), "fee": ("3", 0.5)}
    set_alias(crowned, "shadow", "3")
    drop_alias(crowned, "ab-fee")
    reconcile(crowned, state)
    assert there(state) == {"shadow": ("3", 1.0)}
    with state.transaction() as session:
        actors = set(session.scalars(select(Deployment.actor)))
    assert actors == {"registry"}


def test_one_that_becomes_champion_is_beside_it_no_more(crowned, state):
    put(crowned, state)
    set_alias(crowned, "champion", "2")
    assert differs(read_aliases(crowned), live(state, "small-model"))
    reconcile(crowned, state)
    assert there(state) == {}
    assert read_aliases(crowned) == {"champion": "2"}
    assert deployments(state)[0].ended_reason == "it became the champion"


def test_a_registry_that_was_lost_ends_nothing(crowned, state, tmp_path):
    put(crowned, state)
    put(crowned, state, "ab", "3", 0.2, "fee")
    salts = {row.salt for row in live(state, "small-model")}
    pending = record(state, "pending", "3", from_version="2")
    lost = load_project(crowned.root, Settings(tracking_uri=f"sqlite:///{tmp_path / 'new.db'}"))
    with pytest.raises(RegistryError, match="does not know small-model"):
        reconcile(lost, state)
    read = desired_state_reader(lost, state)
    assert [len(read().lanes) for _ in range(3)] == [2, 2, 2]
    assert status_of(state, pending) == "pending"
    reconcile(crowned, state)  # it is back
    assert there(state) == {"canary": ("3", 0.1), "fee": ("3", 0.2)}
    assert len(salts & {row.salt for row in live(state, "small-model")}) == 1


def test_replicas_learn_who_serves_without_mlflow_which_would_load_every_version(crowned, state, monkeypatch):
    put(crowned, state)
    monkeypatch.delattr("mlflow.MlflowClient.get_registered_model")
    wanted = desired_state_reader(crowned, state)()
    assert wanted.champion == "1"
    assert [(lane.version, lane.share) for lane in wanted.lanes] == [("2", 0.1)]


def test_an_alias_of_an_experiment_takes_no_other_deployment_s_name(crowned, state):
    put(crowned, state)
    set_alias(crowned, "ab-canary", "3")
    for _ in range(2):
        reconcile(crowned, state)
        assert there(state) == {"canary": ("2", 0.1)}
    assert not differs(read_aliases(crowned), live(state, "small-model"))


def test_an_alias_that_is_given_to_the_champion_ends_what_had_it(crowned, state):
    put(crowned, state)
    set_alias(crowned, "canary", "1")
    reconcile(crowned, state)
    assert there(state) == {}
    assert not differs(read_aliases(crowned), live(state, "small-model"))
    assert deployments(state)[0].ended_reason == "the alias canary was given to the champion"


def test_with_four_eyes_what_answers_callers_needs_a_second_person_with_its_share(crowned, state):
    gate = crowned.config.gate.model_copy(update={"four_eyes": True})
    careful = replace(crowned, config=crowned.config.model_copy(update={"gate": gate}))
    put(careful, state, kind="shadow")  # its answers are seen by nobody
    with pytest.raises(ApprovalNeeded) as needed:
        put(careful, state, share=0.05)
    said = {"actor": "bob", "comment": "fine"}
    row = decide_approval(state, "small-model", needed.value.approval, "approve", **said)
    for kind, share, name in (("canary", 1.0, ""), ("ab", 0.05, "fee")):
        with pytest.raises(ApprovalNeeded):
            put(careful, state, kind=kind, share=share, name=name)
    assert carry_out(careful, state, row, NOW) == "Version 2 answers 5 % of the keys."
    assert there(state) == {"shadow": ("2", 0.1), "canary": ("2", 0.05)}


def test_what_answers_callers_by_an_alias_set_in_the_registry_raises_an_alert_until_it_ends(crowned, state):
    def alerts():
        with state.transaction() as session:
            found = session.scalars(select(Alert).order_by(Alert.raised_at))
            return [(one.monitor, one.version, one.severity, one.status) for one in found]

    set_alias(crowned, "shadow", "3")
    reconcile(crowned, state)
    assert alerts() == []
    set_alias(crowned, "ab-fee", "2")
    reconcile(crowned, state)
    told = ("registry/deployed-outside", "2", "critical")
    assert alerts() == [(*told, "firing")]
    drop_alias(crowned, "ab-fee")
    reconcile(crowned, state)
    assert alerts() == [(*told, "resolved")]
    set_alias(crowned, "canary", "2")
    reconcile(crowned, state)
    put(crowned, state, share=0.2)  # somebody takes it over, by name
    reconcile(crowned, state)
    assert alerts() == [(*told, "resolved")] * 2
