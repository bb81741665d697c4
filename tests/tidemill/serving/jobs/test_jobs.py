"""Jobs with the real parts but Ray and the broker: what is accepted, run, retried, resumed, given up."""

import errno
import json
import os
import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest
from typer.testing import CliRunner

from tests.tidemill.serving.small_project import KNOWN
from tidemill.accounts.api_keys import active_keys, create_key
from tidemill.cli.main import app
from tidemill.errors import JobNotFound, TidemillError
from tidemill.prediction_log.prediction_log import LogHealth, read_predictions
from tidemill.serving.inference.calls import Failure, Refused
from tidemill.serving.jobs import job_records, submission
from tidemill.serving.jobs.job_files import JobFiles, jobs_folder
from tidemill.serving.runtime.replica.worker_wiring import build_worker
from tidemill.state import open_state

pytestmark = pytest.mark.engine
both = pytest.mark.usefixtures("any_records")  # SQLite and PostgreSQL
AT = (KNOWN + timedelta(hours=1)).isoformat()


def submit(api, rows=25, at=AT, **headers):
    depots = ["north" if row % 2 else "south" for row in range(rows)]
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return api.post("/jobs", json={"instances": [{"depot": d} for d in depots], "at": at}, headers=named)


def logged(project):
    return read_predictions(project.predictions, project.model, KNOWN, KNOWN + timedelta(days=1), True)


@both
def test_a_job_is_answered_fetched_and_in_the_log_in_order(api, project, worker):
    accepted = submit(api, 25)
    assert accepted.status_code == 202
    job = accepted.json()
    assert accepted.headers["location"] == f"/jobs/{job['id']}"
    assert (job["status"], job["rows"], job["rows_done"], job["model_version"]) == ("queued", 25, 0, None)
    assert api.get(f"/jobs/{job['id']}/result").status_code == 409

    worker[0].run(job["id"])

    done = api.get(f"/jobs/{job['id']}").json()
    assert (done["status"], done["rows_done"], done["model_version"]) == ("done", 25, "1")
    result = api.get(f"/jobs/{job['id']}/result").json()
    assert [one["probability"] for one in result["predictions"]] == [pytest.approx(0.2)] * 25
    assert result["predictions"][3]["decision"] == {"advice": "deliver"}
    rows = logged(project)
    assert rows["prediction_id"].to_list() == sorted(one["prediction_id"] for one in result["predictions"])
    assert set(rows["request_id"]) == {job["id"]}
    assert rows["at"].unique().to_list() == [KNOWN + timedelta(hours=1)]
    by_id = dict(rows.select("prediction_id", "feature.wind").rows())
    wind = [by_id[one["prediction_id"]] for one in result["predictions"]]
    assert wind == [1.0 if row % 2 else 9.0 for row in range(25)]
    assert not list((jobs_folder(project) / job["id"]).glob("instances*"))


def test_query_parameters_that_there_are_not_are_refused(api):
    assert api.get("/jobs?limit=3&status=done").status_code == 200
    misspelt = api.get("/jobs?limits=3")
    assert (misspelt.status_code, misspelt.json()["detail"][0]["msg"]) == (
        422,
        "There is no such query parameter; is 'limit' meant?",
    )
    moment = api.post("/jobs?at=2013-01-01", json={"instances": [{"depot": "north"}]})
    assert (moment.status_code, moment.json()["detail"][0]["msg"]) == (
        422,
        "There is no such query parameter; a moment goes into the body",
    )
    assert api.get("/jobs").json()["jobs"] == []


class Dying:
    """A log whose process dies in mid-write: it takes some of the records, and nothing after that works."""

    def __init__(self, log, takes):
        self.log, self.takes = log, takes

    def append(self, records):
        self.log.append(records[: self.takes])
        raise KeyboardInterrupt

    def health(self):
        return self.log.health()


@both
@pytest.mark.parametrize("takes", [0, 4, 10])
def test_a_worker_that_dies_while_it_logs_costs_no_row_and_doubles_none(api, project, worker, takes):
    runner, sweeper = worker
    job = submit(api, 25).json()["id"]
    with pytest.raises(KeyboardInterrupt):
        replace(runner, log=Dying(runner.log, takes)).run(job)
    assert api.get(f"/jobs/{job}").json()["status"] == "running"
    prepared = JobFiles(jobs_folder(project) / job).prepared(0)
    other = build_worker(project, "w2", threading.Event())[0]
    sweeper.sweep()
    state = api.get(f"/jobs/{job}").json()
    assert (state["status"], state["attempts"]) == ("queued", 1)
    assert state["error"] == "its worker died while it was at rows from 0 on"

    threading.Event().wait(0.05)
    other.run(job)

    result = api.get(f"/jobs/{job}/result").json()["predictions"]
    assert [one["prediction_id"] for one in result[:10]] == [one["prediction_id"] for one in prepared[1]]
    assert logged(project)["prediction_id"].to_list() == sorted(one["prediction_id"] for one in result)
    assert logged(project)["replica"].to_list() == ["w1"] * 10 + ["w2"] * 15


@pytest.mark.parametrize("rows", [7, 13])
def test_chunks_of_another_size_go_on_where_the_ones_before_ended(api, project, worker, rows):
    runner, sweeper = worker
    job = submit(api, 25).json()["id"]
    with pytest.raises(KeyboardInterrupt):
        replace(runner, log=Dying(runner.log, 4)).run(job)
    sweeper.sweep()
    threading.Event().wait(0.05)
    replace(build_worker(project, "w2", threading.Event())[0], chunk_rows=rows).run(job)
    result = api.get(f"/jobs/{job}/result").json()["predictions"]
    by_id = dict(logged(project).select("prediction_id", "feature.wind").rows())
    assert [by_id.pop(one["prediction_id"]) for one in result] == [1.0 if n % 2 else 9.0 for n in range(25)]
    assert not by_id


def test_a_job_whose_worker_lives_is_left_alone(api, project, worker):
    runner, sweeper = worker
    job = submit(api, 5).json()["id"]
    with runner.files(job).lock() as mine:
        assert mine
        job_records.claim(runner.state, job, "w9", runner.clock.now())
        sweeper.sweep()
        assert api.get(f"/jobs/{job}").json()["status"] == "running"
        runner.run(job)  # a message that comes twice
        assert api.get(f"/jobs/{job}").json()["rows_done"] == 0


@both
def test_a_poisoned_job_is_dead_after_its_attempts_and_goes_on_when_tried_again(api, project, worker):
    runner, _ = worker
    rows = iter(range(1000))

    def decide(parcel, probability):
        if next(rows) >= 13:
            raise ValueError("no advice for this")
        return {}

    poisoned = replace(runner, application=replace(runner.application, decide=decide))
    job = submit(api, 25).json()["id"]
    seen = []
    for _ in range(4):
        threading.Event().wait(0.05)
        poisoned.run(job)
        state = api.get(f"/jobs/{job}").json()
        seen.append((state["status"], state["attempts"], state["rows_done"]))
    assert seen == [("queued", 1, 10), ("queued", 2, 10), ("dead", 3, 10), ("dead", 3, 10)]
    assert "no advice for this (rows 10 to 19)" in state["error"]
    assert [one["id"] for one in api.get("/jobs", params={"status": "dead"}).json()["jobs"]] == [job]

    job_records.retry(
        runner.state, job_records.get_job(runner.state, project.model, job), runner.clock.now(), "ann"
    )
    runner.run(job)
    assert api.get(f"/jobs/{job}").json()["status"] == "done"
    assert logged(project).height == 25


def test_a_job_that_is_refused_is_dead_at_once_with_the_reason(api, project, worker):
    """Its input stays as it is: another attempt ends the same way."""
    runner, _ = worker
    problem = {"loc": ["body", "instances", 3, "wind"], "msg": "Input should not be missing", "type": "gap"}

    def decide(parcel, probability):
        raise Refused(Failure("malformed", [{**problem, "loc": [*problem["loc"]]}]))

    refusing = replace(runner, application=replace(runner.application, decide=decide))
    job = submit(api, 5).json()["id"]
    refusing.run(job)
    state = api.get(f"/jobs/{job}").json()
    assert (state["status"], state["attempts"], state["rows_done"]) == ("dead", 1, 0)
    assert state["error"] == "row 3, wind: Input should not be missing (rows 0 to 4)"


@pytest.mark.parametrize("step", ["prepare", "write_chunk"])
def test_a_job_waits_for_room_on_the_disk_and_that_is_no_attempt(api, project, worker, monkeypatch, step):
    runner, _ = worker

    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    job = submit(api, 25).json()["id"]
    with monkeypatch.context() as patched:
        patched.setattr(JobFiles, step, full)
        runner.run(job)
    state = api.get(f"/jobs/{job}").json()
    assert (state["status"], state["attempts"]) == ("queued", 0)
    assert "No space left on device" in state["error"]
    later = replace(runner, clock=SimpleNamespace(now=lambda: datetime.now(UTC) + timedelta(seconds=31)))
    later.run(job)
    assert api.get(f"/jobs/{job}").json()["status"] == "done"
    assert logged(project).height == 25


def test_who_waits_for_the_log_does_not_hang(api, worker, monkeypatch):
    runner, sweeper = worker
    monkeypatch.setattr("tidemill.serving.jobs.job_runner._FULL_DISK_SECONDS", 0.01)
    sweeper.chunk_seconds, looks = 0.2, []

    class Full:
        def append(self, records):
            return runner.log.append(records) and False

        def health(self):
            looks.append(sweeper.sweep())
            return LogHealth("no room", waiting=int(len(looks) < 50))

    job = submit(api, 5).json()["id"]
    replace(runner, log=Full()).run(job)
    assert (len(looks), all(looks)) == (50, True)
    assert api.get(f"/jobs/{job}").json()["status"] == "done"


@both
def test_submitting_twice_with_one_key_is_one_job(api, project):
    first, again = (submit(api, 5, Idempotency_Key="nightly") for _ in range(2))
    assert (first.status_code, again.status_code) == (202, 202)
    assert first.json() == again.json()
    assert submit(api, 5).json()["id"] != first.json()["id"]
    other = submit(api, 6, Idempotency_Key="nightly")
    assert other.status_code == 422
    assert first.json()["id"] in other.json()["detail"]
    assert len(list(jobs_folder(project).glob("job_*"))) == 2


def test_jobs_are_cancelled_while_they_wait_and_while_they_run(api, project, worker):
    runner, _ = worker
    waiting, running = (submit(api, 25).json()["id"] for _ in range(2))
    assert api.delete(f"/jobs/{waiting}").json()["status"] == "cancelled"
    assert api.delete(f"/jobs/{waiting}").status_code == 200

    def decide(parcel, probability):
        assert api.delete(f"/jobs/{running}").json()["cancel_requested"]
        return {}

    replace(runner, application=replace(runner.application, decide=decide)).run(running)
    state = api.get(f"/jobs/{running}").json()
    assert (state["status"], state["rows_done"]) == ("cancelled", 10)
    runner.run(waiting)
    assert logged(project).height == 10
    assert api.get(f"/jobs/{running}/result").status_code == 409
    assert not list(jobs_folder(project).rglob("instances*"))
    done = submit(api, 1).json()["id"]
    runner.run(done)
    assert api.delete(f"/jobs/{done}").status_code == 409


def test_what_cannot_be_meant_is_refused_and_leaves_nothing(api, project, monkeypatch):
    monkeypatch.setattr(submission, "_PART", 20)
    bad = api.post("/jobs", json={"instances": [{"depot": "north"}, {"depot": 5}]})
    assert bad.status_code == 422
    assert bad.json()["detail"][0]["loc"] == ["body", "instances", 1, "depot"]
    late = api.post("/jobs", json={"instances": [{"depot": "north"}] * 40 + [{"depot": "N"}]})
    assert late.json()["detail"][0]["loc"] == ["body", "instances", 40, "depot"]
    assert api.post("/jobs", json=[]).json()["detail"][0]["loc"] == ["body"]
    assert api.post("/jobs", json={"instances": "x"}).json()["detail"][0]["loc"] == ["body", "instances"]
    assert api.post("/jobs", json={"instances": []}).status_code == 422
    assert submit(api, 51).json()["detail"][0]["type"] == "too_long"
    assert api.post("/jobs", content=b"[" * 100).status_code == 422
    assert api.post("/jobs", content=b"x" * 300_001).status_code == 413
    assert api.post("/jobs", content=iter([b"x" * 200_000] * 2)).status_code == 413
    assert api.post("/jobs", content=b"[" + b" " * 299_000 + b"]").status_code == 422
    assert api.post("/feedback", content=b"x" * 300_000).status_code == 413
    assert submit(api, 1, Idempotency_Key="x" * 201).status_code == 422
    assert api.get("/jobs/job_unknown").status_code == 404
    assert api.delete("/jobs/job_unknown").status_code == 404
    assert api.get("/jobs").json() == {"jobs": []}
    assert not list(jobs_folder(project).glob("job_*"))


@both
def test_too_many_waiting_jobs_are_refused_until_there_is_room(api, worker):
    jobs = [submit(api, 1).json()["id"] for _ in range(5)]
    refused = submit(api, 1)
    assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
    worker[0].run(jobs[0])
    assert submit(api, 1).status_code == 202
    assert job_records.count_jobs(worker[0].state, "parcel-delay")["queued"] == 5


def test_a_job_waits_for_a_champion_and_keeps_the_version_it_began_with(api, project, worker):
    runner, _ = worker
    job = submit(api, 25).json()["id"]
    nobody = replace(runner, champion=lambda: None, retries=job_records.Retries(1, 0.01))
    nobody.run(job)
    state = api.get(f"/jobs/{job}").json()
    assert (state["status"], state["attempts"]) == ("queued", 0)
    assert "no version of parcel-delay is champion" in state["error"]
    later = replace(runner, clock=Later(), stopping=iter([False, True]).__next__)
    later.run(job)
    state = api.get(f"/jobs/{job}").json()
    assert (state["status"], state["rows_done"], state["model_version"]) == ("queued", 10, "1")
    replace(later, champion=lambda: "2", stopping=lambda: False).run(job)
    result = api.get(f"/jobs/{job}/result").json()
    assert {one["model_version"] for one in result["predictions"]} == {"1"}


class Later:
    """A clock an hour ahead."""

    def now(self):
        from tidemill.clock import SystemClock

        return SystemClock().now() + timedelta(hours=1)


@both
def test_messages_that_were_lost_are_sent_again_and_what_has_expired_goes(api, project, worker):
    runner, sweeper = worker
    sent = []
    sweeper.publish = lambda job_id: sent.append(job_id) or True
    first, second = (submit(api, 1).json()["id"] for _ in range(2))
    sweeper.sweep()
    assert sent == []  # their messages may still come
    sweeper.clock = Later()
    sweeper.sweep()
    sweeper.sweep()
    assert sent == [first, second]
    runner.run(first)
    sweeper.keep, sweeper._next_cleaning = timedelta(minutes=59), 0.0
    sweeper.sweep()
    assert api.get(f"/jobs/{first}").status_code == 404
    assert [path.name for path in jobs_folder(project).glob("job_*")] == [second]


def test_a_chunk_that_hangs_ends_the_attempt_and_the_worker(api, worker):
    runner, sweeper = worker
    job = submit(api, 25).json()["id"]
    sound = []

    def decide(parcel, probability):
        sweeper.chunk_seconds = 0.0
        sound.append(sweeper.sweep())
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        replace(runner, application=replace(runner.application, decide=decide)).run(job)
    assert sound == [False]
    state = api.get(f"/jobs/{job}").json()
    assert (state["status"], state["error"]) == (
        "queued",
        "rows 0 to 9 took longer than 0 s (serve.jobs.chunk_seconds)",
    )


def test_jobs_belong_to_who_submitted_them(api, project, worker):
    job = submit(api, 1).json()["id"]
    state = open_state(project.state_url)
    assert job_records.get_job(state, project.model, job, caller="").id == job
    with pytest.raises(JobNotFound):
        job_records.get_job(state, project.model, job, caller="somebody")
    assert job_records.list_jobs(state, project.model, caller="somebody") == []


def test_a_key_sees_its_own_jobs_and_an_admins_key_all(api, project):
    state, now = open_state(project.state_url), datetime.now(UTC)
    keys = {
        name: create_key(state, name=name, scopes=[scope], actor="me", now=now).secret.get_secret_value()
        for name, scope in (("one", "predict"), ("two", "predict"), ("boss", "admin"))
    }
    api.app._admission.use(active_keys(state, now))
    who = {name: {"Authorization": f"Bearer {key}"} for name, key in keys.items()}
    job = submit(api, 1, **who["one"]).json()["id"]
    for method, path in (("GET", ""), ("GET", "/result"), ("DELETE", "")):
        assert api.request(method, f"/jobs/{job}{path}", headers=who["two"]).status_code == 404
        assert api.request(method, f"/jobs/{job}{path}").status_code == 404
    seen = {name: [one["id"] for one in api.get("/jobs", headers=who[name]).json()["jobs"]] for name in who}
    assert seen == {"one": [job], "two": [], "boss": [job]}
    assert api.get(f"/jobs/{job}", headers=who["one"]).json()["status"] == "queued"
    assert api.delete(f"/jobs/{job}", headers=who["boss"]).json()["status"] == "cancelled"


def test_openapi_has_the_jobs_with_the_applications_own_fields(api):
    document = api.get("/openapi.json").json()
    body = document["paths"]["/jobs"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    assert body["properties"]["instances"]["maxItems"] == 50
    assert body["properties"]["instances"]["items"]["$ref"] == "#/components/schemas/Parcel"
    assert "Parcel" in document["components"]["schemas"]
    assert set(document["paths"]) >= {"/jobs", "/jobs/{job_id}", "/jobs/{job_id}/result"}


def run(project, *arguments):
    answer = CliRunner().invoke(app, ["jobs", *arguments, "--project", str(project.root), "--json"])
    assert answer.exception is None or isinstance(answer.exception, SystemExit | TidemillError)
    return answer.exception or json.loads(answer.stdout)


def test_the_command_line_lists_shows_cancels_and_brings_back_the_dead(api, project, worker):
    runner, _ = worker
    broken = replace(runner, chunk_rows=0, retries=job_records.Retries(1, 0.01))
    dead, waiting = (submit(api, 15).json()["id"] for _ in range(2))
    broken.run(dead)
    listed = run(project, "list")
    assert [(job["id"], job["status"]) for job in listed["jobs"]] == [(waiting, "queued"), (dead, "dead")]
    assert (listed["counts"]["queued"], listed["counts"]["dead"]) == (1, 1)
    assert run(project, "list", "--status", "queued")["jobs"][0]["id"] == waiting
    (found,) = run(project, "dead")["jobs"]
    assert (found["id"], found["error"]) == (dead, "the job has 15 rows, but its file ends at row 0")
    assert run(project, "retry", dead)["status"] == "queued"
    runner.run(dead)
    assert run(project, "show", dead)["rows_done"] == 15
    assert run(project, "cancel", waiting)["status"] == "cancelled"
    assert "is not dead but done" in str(run(project, "retry", dead))
    assert "there is no job job_x" in str(run(project, "show", "job_x"))
    assert "'slow' is not a status of jobs" in str(run(project, "list", "--status", "slow"))
    for arguments in (["list"], ["show", dead], ["dead"]):
        shown = CliRunner().invoke(app, ["jobs", *arguments, "--project", str(project.root)])
        assert shown.exit_code == 0
        assert dead[:8] in shown.stdout or arguments == ["dead"]  # lists show the first distinct characters
