"""Which jobs name a subject; and an erasure that a job is in the way of."""

import os
from datetime import timedelta

import orjson
import pytest
import yaml

from tests.tidemill.privacy.erasure.test_erasing import erase, whoever_names
from tests.tidemill.privacy.small_project import NOON, SUBJECT, job
from tidemill.clock import SystemClock
from tidemill.data.personal.pseudonyms import Pseudonymiser
from tidemill.privacy.erasure import erasing
from tidemill.privacy.stores import job_subjects
from tidemill.privacy.stores.job_subjects import NamingJob, erase_jobs, find_jobs
from tidemill.privacy.subject import Subject
from tidemill.project import load_project
from tidemill.serving.jobs import job_records
from tidemill.serving.jobs.job_files import JobFiles, jobs_folder
from tidemill.settings import Settings
from tidemill.state import open_state

pytestmark = [pytest.mark.engine, pytest.mark.filterwarnings("ignore::DeprecationWarning")]

HIDE = Pseudonymiser(b"a key of at least 16 bytes").hide
NOBODY = frozenset[str]()


def subject(**values):
    return Subject(values, {key: HIDE(value) for key, value in values.items()}, {k: (k,) for k in values}, {})


ADA = subject(rider="ada-lovelace")


@pytest.fixture
def project(tmp_path):
    (tmp_path / "params.yaml").write_text(
        "project: {name: rides, model: rides, training: 'a:b', application: 'a:b'}\n"
        "dataset: {path: set.parquet, label: late}\nfeatures: {service: rides}\n"
    )
    return load_project(tmp_path, Settings(privacy_key=None))


def submit(project, name, *instances, status="queued"):
    files = JobFiles(jobs_folder(project) / name)
    files.create(map(orjson.dumps, instances))
    if status is not None:
        state = open_state(project.state_url)
        job_records.submit(state, job(name, status))
        state.close()
    return files


def found(project, who=ADA, ids=NOBODY, before=None):
    return {one.id: one.lines for one in find_jobs(project, who, ids, before)}


def test_without_jobs_there_is_nothing_to_find_or_to_write(project):
    assert find_jobs(project, ADA, NOBODY) == []
    assert not project.home.exists()


def test_a_job_is_found_by_field_by_pseudonym_by_mention_and_by_prediction(project):
    submit(project, "job_1", {"rider": "ada-lovelace"}, {"trip": {"rider": "ada-lovelace"}}, {"rider": "x"})
    submit(project, "job_2", {"note": "as for ada-lovelace"}, {"note": "xada-lovelace"})
    hidden = submit(project, "job_6", {"rider": "grace-hopper"})
    hidden.prepare(0, [{"keys": {"rider": HIDE("ada-lovelace")}}], [{"prediction_id": "p"}])
    submit(project, "job_4", {"rider": "grace-hopper"}).write_chunk(0, [{"prediction_id": "pred_1"}])
    torn = submit(project, "job_5", {"rider": "grace-hopper"})
    (torn.folder / "prepared.json.new").write_bytes(b'{"first":0,"records":[{"rider":"ada-lovelace"')
    assert found(project) == {"job_1": 2, "job_2": 1, "job_5": 1, "job_6": 1}
    assert found(project, ids={"pred_1"}) == {"job_1": 2, "job_2": 1, "job_4": 1, "job_5": 1, "job_6": 1}
    assert found(project, subject(rider="nobody-here")) == {}


def test_a_number_counts_under_its_own_name_only(project):
    submit(project, "job_1", {"rider": 7}, {"rider": "7"}, {"weight": 7}, {"rider": 77})
    assert found(project, subject(rider="7")) == {"job_1": 2}


def test_a_key_of_two_columns_must_be_whole_in_one_row(project):
    ada_in_york = subject(rider="ada-lovelace", city="york")
    submit(project, "job_1", {"rider": "ada-lovelace", "city": "rome"}, {"rider": "x", "city": "york"})
    submit(project, "job_2", {"rider": "ada-lovelace", "city": "york"})
    answers = [{"tell": "ada-lovelace"}, {"tell": "york"}]
    submit(project, "job_3", {"rider": "x"}).write_chunk(0, answers)
    assert found(project, ada_in_york) == {"job_2": 1}


def test_what_is_submitted_later_does_not_count(project):
    submit(project, "job_1", {"rider": "ada-lovelace"})
    orphan = submit(project, "job_2", {"rider": "ada-lovelace"}, status=None)
    os.utime(orphan.folder, times=(NOON.timestamp() + 60,) * 2)
    assert found(project, before=NOON) == {}
    assert found(project, before=NOON + timedelta(seconds=1)) == {"job_1": 1}
    assert found(project, before=NOON + timedelta(seconds=61)) == {"job_1": 1, "job_2": 1}


def test_a_submission_that_was_killed_is_erased_and_one_under_way_waited_for(project, monkeypatch):
    orphan = submit(project, "job_1", {"rider": "ada-lovelace"}, status=None)
    os.utime(orphan.folder, times=(NOON.timestamp(),) * 2)
    late = submit(project, "job_2", {"rider": "ada-lovelace"}, status=None)
    state = open_state(project.state_url)
    monkeypatch.setattr(
        job_subjects.time, "sleep", lambda _seconds: job_records.submit(state, job("job_2", "queued"))
    )
    assert find_jobs(project, ADA, NOBODY)[0] == NamingJob("job_1", "unrecorded", 1)
    assert erase_jobs(project, ADA, NOBODY, SystemClock(), lambda _: None) == 2
    assert (orphan.stored(), late.stored()) == ([], [])
    assert job_records.get_job(state, "rides", "job_2").status == "cancelled"
    assert find_jobs(project, ADA, NOBODY) == []
    state.close()


def test_an_erasure_stays_open_while_a_worker_does_not_let_go_and_says_what_to_do(riders, monkeypatch):
    monkeypatch.setattr(job_subjects, "_BEYOND_A_CHUNK", 0.0)
    path = riders.root / "params.yaml"
    params = yaml.safe_load(path.read_text())
    path.write_text(yaml.safe_dump(params | {"serve": {"jobs": {"chunk_seconds": 0.1}}}))
    project = load_project(riders.root, Settings(privacy_key=None))
    with JobFiles(jobs_folder(project) / "job_4").lock() as held:
        assert held
        [done] = erase(project, rider=SUBJECT)
        assert done.status == "incomplete"
        assert "job_4 is still being run" in done.steps["jobs"]["error"]
        assert "tidemill jobs show job_4" in done.steps["jobs"]["hint"]
        assert "--resume" in done.steps["jobs"]["hint"]
        assert "job_4 (running)" in done.steps["check"]["error"]
        assert "job_3" not in done.steps["check"]["error"]  # the others did not wait for it
    [resumed] = erasing.resume(project, SystemClock(), lambda *_: None)
    assert resumed.status == "done", resumed.steps
    assert all("files/md5" in name for name in whoever_names(project.root, SUBJECT))
