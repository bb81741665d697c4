"""Rollouts, with the real API, log, registry and records: to the top, back, and on after a kill."""

import os
import random
import signal
import sqlite3
import subprocess
import time
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta

import pytest
import yaml
from fastapi.testclient import TestClient
from typer.testing import CliRunner

from tests.tidemill.recorded import list_rollouts
from tests.tidemill.serving.small_project import add_version, crown
from tests.warm_commands import command
from tidemill.cli.main import app
from tidemill.errors import ApprovalNeeded, GateRefused, RegistryError, UsageError
from tidemill.project import load_project
from tidemill.project.serve_config import RolloutConfig
from tidemill.registry.deployments import DeployRequest, deploy, live, stop
from tidemill.registry.promotion import promote
from tidemill.registry.second_person import decide_approval
from tidemill.registry.versions.aliases import read_aliases, set_alias
from tidemill.retraining.by_hand.approved_acts import carry_out
from tidemill.rollouts.deployment_status import describe_deployments
from tidemill.rollouts.experiment_reports import find_deployment, report_deployment
from tidemill.rollouts.rollout import advance
from tidemill.rollouts.rollout_begin import begin, running
from tidemill.serving.observability.version_counters import VersionCounters, record_counts
from tidemill.serving.routing.replicas import record_status
from tidemill.serving.routing.version_watcher import DeployedStatus, Status
from tidemill.serving.runtime.replica.wiring import build_api
from tidemill.state import open_state
from tidemill.state.record_reader import Records
from tidemill.state.tables import Approval, Deployment, Rollout

pytestmark = pytest.mark.engine
both = pytest.mark.usefixtures("any_records")  # SQLite and PostgreSQL
PLAN = {
    "steps": [{"share": share, "minutes": 0, "requests": 30} for share in (0.3, 1.0)],
    "min_labels": 40,
    "max_score_gap": None,
    "free_ms": 1000,
}


@pytest.fixture
def project(served_parcels):
    """Version 1 (0.2) is champion, 2 (0.8) and 3 (0.2) are there; the gate lets everybody pass."""
    path = served_parcels.root / "params.yaml"
    params = yaml.safe_load(path.read_text())
    params["gate"] = {"mode": "off", "metric": "neg_brier"}
    params["train"] = {"metric": "neg_brier"}
    params["serve"]["rollout"] = PLAN
    path.write_text(yaml.safe_dump(params))
    return load_project(served_parcels.root)


@pytest.fixture
def state(project):
    opened = open_state(project.state_url)
    yield opened
    opened.close()


@contextmanager
def serving(project):
    with TestClient(build_api(project, "r1")) as api:
        yield api


def ask(api, number=100, label=None):
    """Ask for many depots, and say what came true; return what was answered, by depot."""
    letters = [f"{chr(97 + n % 26)}{chr(97 + n // 26)}" for n in range(number)]
    found = {}
    for start in range(0, number, 20):
        part = letters[start : start + 20]
        answer = api.post("/predict", json={"instances": [{"depot": one} for one in part]})
        assert answer.status_code == 200, answer.text
        made = answer.json()["predictions"]
        found |= dict(zip(part, made, strict=True))
        if label is not None:
            labels = [
                {"prediction_id": one["prediction_id"], "label": label(n)} for n, one in enumerate(made)
            ]
            assert api.post("/feedback", json={"labels": labels}).status_code == 200
    return found


def until(condition, seconds=20, pause=0.05):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(pause)


LOOK = 0.25
"""Between two looks at a rollout: each computes how sure the differences are."""


def now():
    return datetime.now(UTC)


def lanes_of(api):
    return [(one["role"], one["version"], one["loaded"]) for one in api.get("/model").json()["lanes"]]


def follow(api, role, version, share):
    """Wait until a version has its share, and until answers count for the time that begins with it."""
    until(lambda: [(one["role"], one["version"], one["share"], one["loaded"]) for one in lanes(api)] == [
        (role, version, share, True)
    ])  # fmt: skip
    time.sleep(0.2)  # two looks


def lanes(api):
    return api.get("/model").json()["lanes"]


def one_late_in_five(number):
    return int(number % 5 == 0)


@contextmanager
def registry_away(project):
    rename = 'ALTER TABLE "{}" RENAME TO "{}"'
    with closing(sqlite3.connect(project.home / "mlflow.db")) as other:
        other.execute(rename.format("registered_model_aliases", "gone"))
        yield
        other.execute(rename.format("gone", "registered_model_aliases"))


@both
def test_a_version_that_does_well_goes_to_the_top_step_by_step(project, state):
    third = add_version(project, 0.2)
    with serving(project) as api:
        began = now()
        begin(project, state, third, "ada", "autumn", began)
        follow(api, "canary", third, 0.3)
        first = ask(api, 300, one_late_in_five)
        mine = {depot for depot, one in first.items() if one["model_version"] == third}
        assert 0.2 < len(mine) / 300 < 0.4
        until(lambda: advance(project, state, now()).rollout.step == 1, pause=LOOK)
        until(lambda: all(one["model_version"] == third for one in ask(api, 60, one_late_in_five).values()))
        until(lambda: advance(project, state, now()).ended, pause=LOOK)
    done = list_rollouts(state, project.model)[0]
    assert (done.status, done.outcome) == ("promoted", f"version {third} is the champion")
    assert [check["action"] for check in done.checks] == ["advance", "advance"]
    assert any(sentence.startswith("brier 0.") for sentence in done.checks[0]["checks"])  # labels were there
    assert read_aliases(project) == {"champion": third}
    assert live(state, project.model) == []
    assert advance(project, state, now()) is None
    # As if killed before the end was noted, and somebody has promoted another version since.
    with state.transaction() as session:
        session.get_one(Rollout, done.id).status = "promoting"
    crown(project, "1")
    assert advance(project, state, now()).rollout.status == "promoted"
    assert read_aliases(project) == {"champion": "1"}


def test_a_version_that_is_worse_goes_back_by_itself_and_says_why(project, state):
    with serving(project) as api:
        begin(project, state, "2", "ada", "bold", now())
        follow(api, "canary", "2", 0.3)
        ask(api, 300, one_late_in_five)
        until(lambda: advance(project, state, now()).ended, pause=LOOK)
        until(lambda: not api.get("/model").json()["lanes"])
        assert {one["model_version"] for one in ask(api, 40).values()} == {"1"}
        compared = report_deployment(project, state, find_deployment(state, project.model, "canary"), now())
    done = list_rollouts(state, project.model)[0]
    assert done.status == "rolled_back"
    assert done.outcome.startswith("brier 0.")
    assert "(lower is better): a gain of -0." in done.outcome
    assert read_aliases(project) == {"champion": "1"}
    assert compared.quality.certain
    assert compared.quality.gain < 0
    assert compared.says[0].startswith("version 2 is worse than champion 1: brier 0.")
    assert "(lower is better), a gain of -0." in compared.says[0]
    shares = {one.name: one.ours for one in compared.decisions}
    assert shares == {"advice = deliver": 0.0, "advice = phone ahead": 1.0}


def test_a_version_proves_itself_on_the_rows_that_the_champion_answers(project, state):
    third = add_version(project, 0.2)
    crown(project, "2")
    with serving(project) as api:
        since = now()
        ask(api, 300, one_late_in_five)
        proof = {"days": (now() - since) / timedelta(days=1), "by": "interval", "min_labels": 50}
        plan = RolloutConfig.model_validate({**PLAN, "proof": proof})
        begin(project, state, third, "ada", "autumn", now(), plan, since)
        follow(api, "canary", third, 0.3)
        ask(api, 300, one_late_in_five)
        until(lambda: advance(project, state, now()).rollout.step == 1, pause=LOOK)
    (check,) = list_rollouts(state, project.model)[0].checks
    assert ": brier 0.16" in check["checks"][0]
    assert "of champion 2 (lower is better)" in check["checks"][0]
    assert check["numbers"]["proof"]["gain"] == pytest.approx(0.36, abs=0.03)


def test_a_version_that_cannot_be_loaded_goes_back_and_the_old_one_answers(project, state):
    broken = add_version(project, 0.5, features=("wind", "snow"))
    with serving(project) as api:
        begin(project, state, broken, "ada", "oops", now())
        until(lambda: api.get("/model").json()["lanes"] and api.get("/model").json()["lanes"][0]["error"])
        assert "snow" in api.get("/model").json()["lanes"][0]["error"]
        assert {one["model_version"] for one in ask(api, 40).values()} == {"1"}
        records = Records(project.state_url)  # a replica writes its status a moment after it has it
        until(lambda: describe_deployments(project, records, now())["problems"])
        shown = describe_deployments(project, records, now())
        assert "cannot load version 3 (canary): " in shown["problems"][0]
        assert shown["rollout"]["says"].startswith("running: step 1 of 2 (30 %)")
        until(lambda: advance(project, state, now()).ended, pause=LOOK)
    assert "a replica cannot load it: version 3 needs features that are missing: snow" in (
        list_rollouts(state, project.model)[0].outcome
    )


def test_a_shadow_answers_nobody_and_is_compared_on_the_same_requests(project, state):
    with serving(project) as api:
        deploy(project, state, DeployRequest("shadow", "2", 1.0, "ada", "to see"), now())
        until(lambda: lanes_of(api) == [("shadow", "2", True)])
        began = now()
        assert {one["model_version"] for one in ask(api, 60, one_late_in_five).values()} == {"1"}
        row = find_deployment(state, project.model, "shadow")
        until(lambda: report_deployment(project, state, row, now(), began).answers == 60, pause=LOOK)
        found = report_deployment(project, state, row, now(), began)
    assert found.mean_difference == pytest.approx(0.6)
    assert found.changed == 1.0
    assert found.quality.gain == pytest.approx(-0.36, abs=0.03)
    deploy(project, state, DeployRequest("challenger", "2", 1.0, "ada", "to see"), now())
    challenger = report_deployment(project, state, find_deployment(state, project.model, "challenger"), now())
    assert (challenger.answers, challenger.changed) == (60, None)
    assert challenger.mean_difference == pytest.approx(0.6)


def test_others_may_end_a_rollout(project, state):
    with pytest.raises(UsageError):
        find_deployment(state, project.model, "canary")
    shadow, counters = DeployRequest("shadow", "2", 1.0, "ada", "r"), VersionCounters()
    for before in (0, 7):  # what it counted in its deployment before
        deploy(project, state, shadow, now())
        assert counted_now(project) == (0, 0, None)
        counters.scored("shadow", "2", 7, 0.001)
        with state.transaction() as session:
            record_counts(session, project.model, "r1", counters.counts(), now())
        assert counters.counts()["shadow", "2"].answered == before + 7
        assert counted_now(project) == (7, 0, None)
        stop(project, state, ["shadow"], "enough", "ann")
    begin(project, state, "2", "ada", "r", now())
    with pytest.raises(RegistryError, match="being rolled out"):
        begin(project, state, "2", "ada", "r", now())
    with pytest.raises(RegistryError, match="being rolled out"):
        deploy(project, state, DeployRequest("canary", "2", 0.5, "ada", "r"), now())
    report_of_replica(project, state, counters, failing=True)
    assert counted_now(project) == (40, 40, "ValueError: no")
    stop(project, state, ["canary"], "enough", "ann")
    assert (list_rollouts(state, project.model)[0].status, advance(project, state, now())) == (
        "stopped",
        None,
    )
    begin(project, state, "2", "ada", "r", now())
    assert counted_now(project) == (0, 0, None), "what it answered before was in another rollout"
    report_of_replica(project, state, counters, failing=False)
    assert counted_now(project) == (40, 0, None)
    third = add_version(project, 0.2)
    crown(project, third)
    assert advance(project, state, now()).rollout.outcome == (
        "the champion changed meanwhile, from version 1 to 3"
    )
    begin(project, state, "2", "ada", "r", now())
    set_alias(project, "canary", "1")
    assert advance(project, state, now()).rollout.outcome == "version 1 is the canary"
    crown(project, "2")
    assert live(state, project.model)[0].version == "1"


def counted_now(project):
    [shown] = describe_deployments(project, Records(project.state_url), now())["deployments"]
    return shown["answered"], shown["failed"], shown["last_error"]


def test_a_canary_from_before_the_last_promotion_may_be_rolled_out(project, state):
    third = add_version(project, 0.2)
    deploy(project, state, DeployRequest("canary", third, 0.3, "ada", "r"), now())
    crown(project, "2")
    begun = begin(project, state, third, "ada", "r", now())
    assert begun.champion == "2"
    assert not advance(project, state, now()).ended
    assert [(row.version, row.champion) for row in live(state, project.model)] == [(third, "2")]


def test_times_that_are_harder_are_not_the_version_s_fault(project, state):
    """Both versions are the same; by the second step, where most is the canary's, it is late everywhere."""
    third = add_version(project, 0.2)
    steps = [{"share": share, "minutes": 0, "requests": 30} for share in (0.2, 0.8, 1.0)]
    plan = RolloutConfig.model_validate({**PLAN, "steps": steps})
    with serving(project) as api:
        begin(project, state, third, "ada", "autumn", now(), plan)
        follow(api, "canary", third, 0.2)
        ask(api, 300, lambda n: 0)
        until(lambda: advance(project, state, now()).rollout.step == 1, pause=LOOK)
        follow(api, "canary", third, 0.8)
        ask(api, 300, lambda n: 1)
        until(lambda: advance(project, state, now()).rollout.step == 2, pause=LOOK)
        follow(api, "canary", third, 1.0)
        ask(api, 100, lambda n: 1)
        until(lambda: advance(project, state, now()).ended, pause=LOOK)
    done = list_rollouts(state, project.model)[0]
    assert done.status == "promoted"
    assert all("brier 0." in " ".join(check["checks"]) for check in done.checks)  # it was looked at


def test_a_report_is_about_the_present_champion_and_ends_with_the_deployment(project, state):
    third = add_version(project, 0.2)
    with serving(project) as api:
        deploy(project, state, DeployRequest("ab", third, 0.5, "ada", "r", "fee"), now())
        deploy(project, state, DeployRequest("shadow", third, 1.0, "ada", "r"), now())
        until(
            lambda: (
                [(one["role"], one["loaded"]) for one in lanes(api)] == [("ab:fee", True), ("shadow", True)]
            )
        )
        ask(api, 100)
        promote(project, state, "2", "ada", "bold", now())
        until(lambda: api.get("/model").json()["version"] == "2")
        time.sleep(0.2)
        ask(api, 60)
        compared = report_deployment(project, state, find_deployment(state, project.model, "fee"), now())
        row = find_deployment(state, project.model, "shadow")
        until(
            lambda: report_deployment(project, state, row, now()).answers == compared.answers[1], pause=LOOK
        )
        stop(project, state, [], "enough", "ann")
        until(lambda: lanes(api) == [])
        ask(api, 60)
        again = report_deployment(project, state, find_deployment(state, project.model, "fee"), now())
    assert (compared.champion, sum(compared.answers)) == ("2", 60)
    assert compared.score.gain == pytest.approx(-0.6)
    assert not compared.mismatch.found
    assert (again.champion, again.answers, again.score) == ("2", compared.answers, compared.score)


def test_a_rollout_over_history_has_its_steps_now(project, state):
    asked = ["deploy", "rollout", "2", "--as-of", "2013-04-01", "--project", str(project.root), "--json"]
    result = CliRunner().invoke(app, asked)
    assert result.exit_code == 0, result.output
    looked = advance(project, state, now())
    assert (looked.rollout.status, looked.verdict.reason) == ("running", "no replica is alive")
    assert looked.verdict.numbers["minutes"] < 5
    began = datetime(2013, 4, 1, tzinfo=UTC)  # of the answers that it is judged by
    assert (looked.rollout.at, live(state, project.model)[0].at) == (began, began)


def test_the_gate_is_asked_before_the_first_step(project, state):
    path = project.root / "params.yaml"
    path.write_text(path.read_text().replace("mode: 'off'", "mode: enforce"))
    strict = load_project(project.root)
    assert strict.config.gate.mode == "enforce"
    with pytest.raises(GateRefused, match="the gate refused parcel-delay 2"):
        begin(strict, state, "2", "ada", "r", now())
    with state.transaction() as session:
        assert session.query(Deployment).all() == []


def test_with_four_eyes_a_rollout_begins_after_an_approval_and_promotes_without_another(project, state):
    path = project.root / "params.yaml"
    path.write_text(path.read_text().replace("mode: 'off'", "mode: 'off'\n  four_eyes: true"))
    careful = load_project(project.root)
    assert careful.config.gate.four_eyes
    with pytest.raises(ApprovalNeeded):
        begin(careful, state, "2", "ada", "r", now())
    with state.transaction() as session:
        assert session.query(Deployment).all() == []
        request = session.query(Approval).one().id
    row = decide_approval(state, careful.model, request, "approve", actor="bob", comment="fine")
    assert carry_out(careful, state, row, now()) == "Version 2 is being rolled out."
    begun = running(state, careful.model)
    assert (begun.actor, begun.reason) == ("ada", "r (approved by bob: fine)")
    with state.transaction() as session:  # its steps went well
        session.get_one(Rollout, begun.id).status = "promoting"
    assert advance(careful, state, now()).rollout.status == "promoted"
    assert read_aliases(project) == {"champion": "2"}


def test_a_rollout_with_steps_of_its_own_is_begun_by_the_approval_with_these_steps(project, state):
    path = project.root / "params.yaml"
    path.write_text(path.read_text().replace("mode: 'off'", "mode: 'off'\n  four_eyes: true"))
    careful, since = load_project(project.root), now() - timedelta(hours=1)
    plan = RolloutConfig.model_validate({**PLAN, "steps": [{"share": 0.1, "minutes": 5}, {"share": 1.0}]})
    with pytest.raises(ApprovalNeeded) as needed:
        begin(careful, state, "2", "ada", "r", now(), plan, since)
    said = {"actor": "bob", "comment": "fine"}
    row = decide_approval(state, careful.model, needed.value.approval, "approve", **said)
    with pytest.raises(ApprovalNeeded):  # other steps are another request
        begin(careful, state, "2", "ada", "r", now())
    assert carry_out(careful, state, row, now()) == "Version 2 is being rolled out."
    begun = running(state, careful.model)
    assert (begun.plan, begun.at, begun.actor) == (plan.recorded(), since, "ada")


ADVANCER = """
import os, sys
from datetime import UTC, datetime
from pathlib import Path
from tidemill.errors import RegistryError
from tidemill.project import load_project
from tidemill.rollouts.rollout import advance
from tidemill.rollouts.rollout_begin import begin
from tidemill.state import open_state

for line in sys.stdin:  # each line asks for a process of its own: starting one from nothing takes seconds
    child = os.fork()
    if child:
        print(child, flush=True)
        os.waitpid(child, 0)
        print("gone", flush=True)
        continue
    root, os.environ["TIDEMILL_STATE_URL"] = line.rstrip("\\n").split("\\t")
    project = load_project(Path(root))
    state = open_state(project.state_url)
    advance(project, state, datetime.now(UTC))
    print("warm", flush=True)
    while True:
        if advance(project, state, datetime.now(UTC)) is None:
            try:
                begin(project, state, "2", "ada", "again", datetime.now(UTC))
            except RegistryError as error:
                if "2 is the champion" not in str(error):  # until the test has given it back to 1
                    raise
"""


@pytest.fixture(scope="module")
def advancer():
    """A process that forks one for each rollout that is to be killed."""
    pipe = subprocess.PIPE
    with subprocess.Popen(command("-c", ADVANCER), stdin=pipe, stdout=pipe, text=True) as process:
        yield process
        process.kill()


@both
def test_killed_at_any_moment_it_goes_on_from_there(project, state, advancer):
    """What replicas report is written by hand, so that every look brings the next step."""
    chosen, counters = random.Random(7), VersionCounters()
    for killed in range(6):
        print(project.root, project.state_url, sep="\t", file=advancer.stdin, flush=True)
        child = int(advancer.stdout.readline())
        assert advancer.stdout.readline() == "warm\n"
        end = time.monotonic() + chosen.uniform(0.1, 1.0)
        # The first one lives until it has begun a rollout, however busy the machine is.
        while time.monotonic() < end or not (killed or list_rollouts(state, project.model)):
            report_of_replica(project, state, counters, failing=killed % 3 == 1)
            time.sleep(0.02)
        os.kill(child, signal.SIGKILL)
        assert advancer.stdout.readline() == "gone\n"
        consistent(project, state)
    deadline = time.monotonic() + 60
    while running(state, project.model) is not None:
        assert time.monotonic() < deadline
        report_of_replica(project, state, counters, failing=False)
        advance(project, state, now())
        consistent(project, state)
    assert list_rollouts(state, project.model)
    assert all(row.finished_at is not None for row in list_rollouts(state, project.model))
    assert live(state, project.model) == []


def report_of_replica(project, state, counters, failing):
    counters.scored("canary", "2", 40, 0.001)
    if failing:
        counters.failed("canary", "2", 40, ValueError("no"))
    lanes = (DeployedStatus("canary", "2", 1.0, True),)
    with state.transaction() as session:
        record_counts(session, project.model, "r1", counters.counts(), now())
    record_status(state, project.model, "r1", Status("1", "1", lanes=lanes), now() + timedelta(seconds=5))
    if read_aliases(project)["champion"] == "2":
        crown(project, "1")


def consistent(project, state):
    """Whatever was killed: after one look there is one story in records and registry."""
    describe_deployments(project, Records(project.state_url), now())  # settles
    rows, aliases = live(state, project.model), read_aliases(project)
    assert len(rows) <= 1
    assert {row.version for row in rows} == ({aliases["canary"]} if "canary" in aliases else set())
    under_way = running(state, project.model)
    if under_way is not None and under_way.status == "running" and rows:
        assert rows[0].share == under_way.plan["steps"][under_way.step]["share"]


def test_what_must_go_back_does_so_while_the_registry_is_away(project, state):
    with serving(project) as api:
        begin(project, state, "2", "ada", "autumn", now())
        follow(api, "canary", "2", 0.3)
        ask(api, 300, one_late_in_five)  # 2 says 0.8
        with registry_away(project):
            gone = advance(project, state, now()).rollout
            assert (gone.status, gone.version) == ("rolled_back", "2")
            until(lambda: lanes(api) == [])
            assert {one["model_version"] for one in ask(api, 60).values()} == {"1"}
            assert api.get("/readyz").json()["degraded"] == ["registry"]
            with pytest.raises(RegistryError):
                read_aliases(project)
        assert advance(project, state, now()) is None
        assert "canary" not in read_aliases(project)
        until(lambda: api.get("/readyz").json()["degraded"] == [])


def test_nothing_goes_on_while_the_registry_is_away_but_a_canary_can_be_stopped(project, state):
    third = add_version(project, 0.2)
    with serving(project) as api:
        begin(project, state, third, "ada", "autumn", now())
        follow(api, "canary", third, 0.3)
        ask(api, 300, one_late_in_five)
        with registry_away(project):
            with pytest.raises(RegistryError):
                advance(project, state, now())
            assert running(state, project.model).step == 0
            assert [one["role"] for one in lanes(api)] == ["canary"]
            with pytest.raises(RegistryError):
                stop(project, state, ["canary"], "enough", "ann")
            until(lambda: lanes(api) == [])
        assert stop(project, state, [], "all", "ann") == []
        assert "canary" not in read_aliases(project)
        assert list_rollouts(state, project.model)[0].status == "stopped"
