import re
import time
from datetime import timedelta

import httpx
import pytest
from starlette.testclient import TestClient

from tests.tidemill.dashboard.live.test_metric_samples import sample
from tests.tidemill.dashboard.test_door import client_of
from tidemill.accounts.identities import Identity
from tidemill.dashboard.app import make_app
from tidemill.dashboard.door.identification import OpenIdentification
from tidemill.dashboard.installation import Installation
from tidemill.dashboard.live.cluster_watch import ClusterWatch
from tidemill.dashboard.live.serving_watch import ServingWatch
from tidemill.kubernetes.cluster_facts import ClusterFacts, ServiceFacts
from tidemill.kubernetes.ray_jobs.cluster_jobs import JobState
from tidemill.state.tables import BatchRun, Job, ReplicaState

PAGE = "/models/parcel-delay/serving"
VIEWER = Identity("person", "ada", {"parcels": frozenset({"viewer"})})


def job(number, now, **given):
    facts = {"caller": "", "key": None, "digest": "", "status": "queued", "version": "3", "test": False}
    facts |= {"rows": 1000, "rows_done": 10, "attempts": 1, "worker": None, "error": None}
    facts |= {"cancel_requested": False, "requested_at": now + timedelta(seconds=number), "due_at": now}
    return Job(id=f"job_{number:06}", model="parcel-delay", at=now, **{**facts, **given})


@pytest.fixture
def filled(installation):
    now = installation.clock.now()
    with installation.state.transaction() as session:
        for name, seen, version, error in [
            ("r1", 2, "3", None),
            ("r2", 4, "2", "no such <file>"),
            ("r3", 600, "2", None),
        ]:
            session.add(
                ReplicaState(
                    id=name,
                    model="parcel-delay",
                    version=version,
                    wanted="3",
                    error=error,
                    lanes=[{"role": "canary", "version": "4", "share": 0.1}],
                    loaded_at=now - timedelta(hours=1),
                    seen_at=now - timedelta(seconds=seen),
                )
            )
        session.add(job(1, now))
        session.add(job(2, now, status="dead", error="<b>out of memory</b>", finished_at=now))
        session.add(job(3, now, status="done"))
        session.add(
            BatchRun(
                id="run_1",
                model="parcel-delay",
                schedule="nightly",
                slot=now,
                status="failed",
                tries=3,
                version="3",
                rows=5,
                rejected=1,
                output=None,
                error="the table is gone",
                at=now,
                requested_at=now,
            )
        )
    return installation


def csrf_of(browser):
    return re.search(r'name="csrf" content="(\w+)"', browser.get("/serving").text)[1]


def test_replicas_say_what_they_answer_with_and_what_is_wrong(filled, browser):
    found = browser.get(f"/api/v1{PAGE}").json()
    assert [(one["id"], one["state"]) for one in found["replicas"]] == [
        ("r1", "ok"),
        ("r2", "failed"),
        ("r3", "gone"),
    ]
    assert found["replicas"][0]["beside"] == ["canary 4: 10 %"]
    assert (found["now"]["replicas"], found["now"]["state"]) == (2, "degraded")
    page = browser.get(PAGE).text
    assert "no such &lt;file&gt;" in page
    assert "the table is gone" in page
    assert "declares no schedule" in page


def test_a_job_is_cancelled_and_a_dead_one_tried_again_by_those_who_may(filled, browser):
    page = browser.get(PAGE).text
    assert "&lt;b&gt;out of memory&lt;/b&gt;" in page
    assert page.count("/cancel") == 1
    assert page.count("/retry") == 1
    token = {"csrf": csrf_of(browser)}
    answer = browser.post("/models/parcel-delay/jobs/job_000001/cancel", data=token)
    assert (answer.status_code, answer.headers["location"]) == (303, f"{PAGE}#jobs")
    assert "Job job_000001 is cancelled." in browser.get(PAGE).text
    assert browser.post("/models/parcel-delay/jobs/job_000002/retry", data=token).status_code == 303
    assert browser.get(f"/api/v1{PAGE}").json()["counts"] == {"queued": 1, "cancelled": 1, "done": 1}
    assert browser.post("/models/parcel-delay/jobs/job_000002/retry", data=token).status_code == 409
    assert browser.post("/models/parcel-delay/jobs/job_9/retry", data=token).status_code == 404
    with client_of(filled, VIEWER) as ada:
        assert "/retry" not in ada.get(PAGE).text
        assert ada.post("/models/parcel-delay/jobs/job_000002/cancel").status_code == 403


def test_a_job_of_another_model_is_not_there(filled, browser):
    with filled.state.transaction() as session:
        other = job(9, filled.clock.now())
        other.model = "other"
        session.add(other)
    token = {"csrf": csrf_of(browser)}
    assert browser.post("/models/parcel-delay/jobs/job_000009/cancel", data=token).status_code == 404


def test_figures_of_the_last_minute_and_their_history_are_shown(filled):
    watch = ServingWatch()
    watch.look({"parcel-delay": "http://api"}, httpx.MockTransport(lambda _: httpx.Response(503)))
    known = watch.of("parcel-delay")
    known.problem = None
    start = time.time() - 120
    known.samples.extend(sample(start + 5 * number, 100 * number, errors=number) for number in range(25))
    shown = Installation(filled.home, clock=filled.clock, watch=watch)
    app = make_app(shown, OpenIdentification(), local_only=True)
    with TestClient(app, base_url="http://localhost") as client:
        found = client.get(f"/api/v1{PAGE}").json()
        page = client.get(PAGE).text
        overview = client.get("/api/v1/serving").json()
    assert found["now"]["rate"] == pytest.approx(20.0)
    assert found["now"]["errors"] == pytest.approx(0.01)
    assert len(found["history"]) == 24
    assert page.count("<polyline") == 2
    assert "features" in found["now"]["why"]
    assert overview["models"][0]["rate"] == pytest.approx(20.0)


def test_many_jobs_are_shown_a_page_at_a_time(installation, browser):
    now = installation.clock.now()
    with installation.state.transaction() as session:
        session.add_all(job(number, now) for number in range(120))
    found = browser.get(f"/api/v1{PAGE}?page=3").json()
    assert len(found["jobs"]) == 20
    assert found["part"]["total"] == 120
    assert browser.get(f"{PAGE}?page=9").status_code == 422


def test_the_cluster_is_shown_where_the_dashboard_runs_on_one(filled):
    watch = ClusterWatch(filled.home.settings)
    assert watch.look() is None
    assert watch.facts is None, "the settings name no release"
    job = JobState("turn-1", "turn", "turn_1", "failed", "<b>no node</b>", None)
    service = ServiceFacts("ready", "", 2, {})
    watch.facts = ClusterFacts("models", "shop-1_ab", filled.clock.now(), service, (job,), ("away",))
    shown = Installation(filled.home, clock=filled.clock, cluster=watch)
    app = make_app(shown, OpenIdentification(), local_only=True)
    with TestClient(app, base_url="http://localhost") as client:
        page = client.get(PAGE).text
        facts = client.get(f"/api/v1{PAGE}").json()["cluster"]
    shown.records.close()
    assert "shop-1_ab" in page
    assert "&lt;b&gt;no node&lt;/b&gt;" in page
    assert "The cluster cannot be read: away" in page
    assert (facts["service"]["state"], facts["jobs"][0]["phase"]) == ("ready", "failed")
