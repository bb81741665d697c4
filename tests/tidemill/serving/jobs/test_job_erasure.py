"""A job that names an erased subject, with the real parts but Ray and the broker."""

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from tidemill.clock import SystemClock
from tidemill.errors import ServingError
from tidemill.serving.jobs.job_erasure import erase_job
from tidemill.serving.jobs.job_files import JobFiles, jobs_folder
from tidemill.serving.jobs.job_records import JobRefused, Retries, get_job, retry

pytestmark = pytest.mark.engine


def submit(api, rows=25):
    headers = {"Idempotency-Key": "north, nightly"}
    answer = api.post("/jobs", json={"instances": [{"depot": "north"}] * rows}, headers=headers)
    assert answer.status_code == 202
    return answer.json()["id"]


def files_of(project, job):
    return JobFiles(jobs_folder(project) / job)


@pytest.fixture
def erase(project, worker):
    def erase(job, wait_seconds=0.0):
        erase_job(worker[0].state, files_of(project, job), job, SystemClock(), wait_seconds)

    return erase


def test_the_result_of_one_that_was_done_is_gone_and_the_record_says_so(api, project, worker, erase):
    job = submit(api)
    worker[0].run(job)
    assert api.get(f"/jobs/{job}/result").status_code == 200
    erase(job)
    gone = api.get(f"/jobs/{job}/result")
    assert gone.status_code == 410
    assert "erased" in gone.json()["detail"]
    state = api.get(f"/jobs/{job}").json()
    assert (state["status"], state["rows_done"]) == ("done", 25)
    assert state["erased_at"] is not None
    row = get_job(worker[0].state, project.model, job)
    assert (row.key, row.digest) == (None, "")
    assert files_of(project, job).stored() == []
    erase(job)
    assert api.get(f"/jobs/{job}").json() == state
    assert submit(api) != job  # under the same key: what was erased is nothing to go back to
    with pytest.raises(ServingError, match="gone"):  # who began to read just before it
        list(files_of(project, job).results())


def test_one_that_waits_is_cancelled_and_no_worker_takes_it(api, project, worker, erase):
    job = submit(api)
    erase(job)
    worker[0].run(job)
    assert api.get(f"/jobs/{job}").json()["status"] == "cancelled"
    assert api.get(f"/jobs/{job}/result").status_code == 410
    assert files_of(project, job).stored() == []


def test_one_that_is_dead_cannot_be_tried_again(api, project, worker, erase):
    runner, job = worker[0], submit(api)
    replace(runner, chunk_rows=0, retries=Retries(1, 0.01)).run(job)
    erase(job)
    with pytest.raises(JobRefused, match="erased"):
        retry(runner.state, get_job(runner.state, project.model, job), SystemClock().now(), "ann")
    assert api.get(f"/jobs/{job}").json()["status"] == "dead"


def test_one_that_runs_ends_after_its_chunk_and_is_erased_then(api, project, worker, erase):
    runner, job = worker[0], submit(api)
    begun, go_on = threading.Event(), threading.Event()

    def decide(parcel, probability):
        begun.set()
        assert go_on.wait(30)
        return {}

    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(
            replace(runner, application=replace(runner.application, decide=decide)).run, job
        )
        assert begun.wait(30)
        with pytest.raises(JobRefused, match="still being run") as refused:
            erase(job)
        assert f"tidemill jobs show {job}" in refused.value.hint
        assert files_of(project, job).stored() != []
        go_on.set()
        erase(job, wait_seconds=30.0)
        running.result(30)
    state = api.get(f"/jobs/{job}").json()
    assert (state["status"], state["rows_done"]) == ("cancelled", 10)
    assert files_of(project, job).stored() == []


def test_one_whose_worker_died_is_ended_without_a_worker(api, project, worker, erase):
    runner, sweeper = worker
    job = submit(api)

    def die(parcel, probability):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        replace(runner, application=replace(runner.application, decide=die)).run(job)
    assert api.get(f"/jobs/{job}").json()["status"] == "running"
    erase(job)
    sweeper.sweep()
    assert api.get(f"/jobs/{job}").json()["status"] == "cancelled"
    assert files_of(project, job).stored() == []


def test_files_without_a_record_go_too(project, erase):
    files = files_of(project, "job_orphan")
    files.create([b'{"depot":"north"}'])
    (files.folder / "prepared.json.new").write_bytes(b'{"dep')
    erase("job_orphan")
    assert files.stored() == []
    erase("job_that_never_was")
