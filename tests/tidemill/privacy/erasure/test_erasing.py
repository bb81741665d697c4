import json
import multiprocessing
import os
import shutil
import signal
import sqlite3
import subprocess
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pandas as pd
import polars as pl
import pytest
import sqlalchemy as sa

from tests.tidemill.data.clean_check import is_clean
from tests.tidemill.privacy.small_project import NOON, RIDERS, SUBJECT
from tidemill.clock import SystemClock
from tidemill.data.personal.pseudonyms import Pseudonymiser, load_key
from tidemill.data.personal.tombstones import FILE, read_tombstones
from tidemill.data.versioning.data_versions import fetch, list_versions
from tidemill.errors import DataError, UsageError
from tidemill.features.feature_store import materialise, open_store, push
from tidemill.features.online.online_features import OnlineFeatures
from tidemill.files.drafts import new_draft, published
from tidemill.prediction_log.prediction_log import count_log, read_predictions
from tidemill.privacy.erasure import erasing, erasure_record
from tidemill.project import load_project
from tidemill.serving.jobs import job_records
from tidemill.serving.jobs.job_files import JobFiles, jobs_folder
from tidemill.settings import Settings
from tidemill.state import open_state
from tidemill.state.tables import Erasure
from tidemill.training.tracking.mlflow_tracking import connect
from tidemill.training.tracking.run_files import read_table
from tidemill.training.tracking.training_result import HOLDOUT

pytestmark = [
    pytest.mark.engine,
    # What Feast, Alembic and MLflow say of themselves when they are first used.
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]


def quiet(_step: str, _message: str) -> None:
    pass


def erase(project, history=False, tell=quiet, **subject):
    return erasing.erase(
        project,
        subject,
        actor="ann",
        reason=f"{SUBJECT} asked",
        history=history,
        clock=SystemClock(),
        tell=tell,
    )


def whoever_names(root: Path, name: str) -> list[str]:
    """Every file below ``root`` in which the name stands: as bytes, in packed columns, or in git."""
    found = []
    for path in root.rglob("*"):
        if not path.is_file() or path.is_symlink():
            continue
        content = path.read_bytes()
        if content[:4] == b"PAR1":
            content += str(pl.read_parquet(path).rows()).encode()
        if name.encode() in content:
            found.append(str(path.relative_to(root)))
    objects = subprocess.run(
        ["git", "cat-file", "--batch-all-objects", "--batch"], cwd=root, capture_output=True, check=True
    )
    return sorted(found + (["git"] if name.encode() in objects.stdout else []))


def served(project, rider):
    features = OnlineFeatures(open_store(project), "rides")
    [row] = features.read([{"rider": rider, "city": "york"}], [NOON + timedelta(minutes=1)])
    return row


def on_record(project):
    state = open_state(project.state_url)
    with state.transaction() as session:
        found = list(session.scalars(sa.select(Erasure).order_by(Erasure.id)))
    state.close()
    return found


@pytest.fixture(scope="module")
def erased(template, tmp_path_factory):
    """The project after an erasure: itself, the outcome, and who named another rider before."""
    root = shutil.copytree(template, tmp_path_factory.mktemp("erased") / "copy", symlinks=True) / "project"
    project = load_project(root, Settings(privacy_key=None))
    assert len(whoever_names(root, SUBJECT)) >= 9
    for folder in ("raw", "data", ".tidemill"):  # what killed writers leave
        draft = new_draft(root / folder / "rows.csv")
        draft.write_text(f"rider\n{SUBJECT}\n")
        published(draft)
    before = whoever_names(root, "grace-hopper")
    [done] = erase(project, rider=SUBJECT)
    return project, done, before


def test_one_subject_is_gone_everywhere_and_all_others_are_there(erased):
    riders, done, before = erased
    cached = {name for name in before if "files/md5" in name}
    assert done.status == "done", done.steps
    left = whoever_names(riders.root, SUBJECT)
    assert left  # the contents of earlier versions, as without --history is promised
    assert set(left) <= cached
    assert read_predictions(riders.predictions, "rides", NOON, NOON + timedelta(days=1)).height == 4
    assert count_log(riders.predictions, "rides").torn == 0
    assert count_log(riders.predictions, "rides").unmatched == 0
    assert "missing:stats" in served(riders, SUBJECT).flags
    assert served(riders, "alan-turing").values["rides"] == 3.0
    assert is_clean(riders)
    kept = {name.removesuffix("-wal") for name in set(before) - cached}  # a database takes its log in
    assert kept <= set(whoever_names(riders.root, "grace-hopper"))

    assert done.found["online"] == {"rides_stats": 1, "rides_habits": 1}
    assert (done.found["predictions"], done.found["labels"]) == (2, 2)
    assert [(job["id"], job["status"], job["lines"]) for job in done.found["jobs"]] == [
        ("job_1", "done", 1),
        ("job_2", "done", 1),
        ("job_3", "queued", 2),
        ("job_4", "running", 1),
    ]
    assert done.steps["jobs"] == {"status": "done", "jobs": 4}
    upstream = riders.root.resolve().parent / "upstream.csv"
    assert SUBJECT in upstream.read_text()  # files outside are named, and not rewritten
    assert {place["name"]: place["rows"] for place in done.found["places"]} == {
        str(upstream): 1,
        "data/rider_stats.parquet": 2,
        "data/training_set.parquet": 2,
        "raw/rides.csv": 1,
        "data/habits.parquet": 1,
    } | {place["name"]: 1 for place in done.found["places"] if place["kind"] == "draft"}
    assert sum(place["kind"] == "draft" for place in done.found["places"]) == 3
    [model] = done.found["models"]
    assert (model["version"], model["trained_on"], model["samples"]) == ("1", "yes", "1 row")
    [(run, rows)] = done.steps["runs"]["rows"].items()
    assert rows == 1
    assert read_table(connect(riders), run, HOLDOUT).rows() == [(NOON, 2.0, 1)]  # another's
    assert [version["message"] for version in done.found["versions"]] == ["First data", "Add raw/rides.csv"]
    [row] = on_record(riders)
    pseudonym = Pseudonymiser(load_key(riders)).hide(SUBJECT)
    assert (row.status, row.actor, row.entity, row.pseudonym) == ("done", "ann", "rider", pseudonym)
    assert row.reason == f"{pseudonym} asked"
    assert SUBJECT not in json.dumps([row.steps, done.found, dict(done.steps)])
    assert row.finished_at > row.requested_at


def test_jobs_that_name_the_subject_are_erased_and_no_others(erased):
    riders, _, _ = erased
    state = open_state(riders.state_url)
    jobs = {job.id: job for job in job_records.list_jobs(state, "rides")}
    state.close()
    assert {name: job.status for name, job in jobs.items()} == {
        "job_1": "done", "job_2": "done", "job_3": "cancelled", "job_4": "cancelled",
        "job_5": "done", "job_6": "queued",
    }  # fmt: skip
    assert [name for name, job in sorted(jobs.items()) if job.erased_at] == [
        "job_1",
        "job_2",
        "job_3",
        "job_4",
    ]
    left = {name: [path.name for path in JobFiles(jobs_folder(riders) / name).stored()] for name in jobs}
    assert left == {
        **{f"job_{number}": [] for number in (1, 2, 3, 4)},
        "job_5": ["chunk-00000000.ndjson"],
        "job_6": ["instances.ndjson"],
    }


def test_what_comes_later_is_kept_out_and_history_can_be_purged_later(erased):
    riders, _, _ = erased
    rows = pd.DataFrame(
        {"rider": RIDERS, "event_timestamp": [NOON + timedelta(hours=2)] * 3, "rides": [7.0] * 3}
    )
    push(open_store(riders), "stats", rows)
    pl.concat(
        [
            pl.read_parquet(riders.root / "data" / "habits.parquet"),
            pl.DataFrame({"who": [SUBJECT], "city": "york", "tips": 1.0, "age": 1.0}).with_columns(
                event_timestamp=pl.lit(NOON).cast(pl.Datetime("us", "UTC"))
            ),
        ],
        how="diagonal_relaxed",
    ).write_parquet(riders.root / "data" / "habits.parquet")
    materialise(riders, NOON + timedelta(hours=3))
    assert served(riders, "alan-turing").values["rides"] == 7.0
    with closing(sqlite3.connect(riders.home / "online.db")) as connection:
        for table in ("rides_stats", "rides_habits"):
            keys = connection.execute(f"SELECT entity_key FROM {table}").fetchall()
            assert len(keys) == 2
            assert not any(SUBJECT.encode() in key for (key,) in keys)

    [done] = erase(riders, history=True, rider=SUBJECT)
    assert done.steps["history"]["contents"] == 3
    assert done.found["predictions"] == 0
    assert whoever_names(riders.root, SUBJECT) == []
    assert len(read_tombstones(riders.root)) == 1
    oldest = list_versions(riders)[-2:]
    with pytest.raises(DataError):
        fetch(riders, oldest[0].revision, "data/training_set.parquet", riders.home / "old.parquet")
    # what was not the subject's alone went too: that is what purging a whole content means
    found = erasing.preview(riders, {"rider": SUBJECT}, quiet).found
    assert found["models"][0]["trained_on"] == "unknown"

    # the training set of the run is gone: the current one tells which rows are another rider's
    [done] = erase(riders, rider="grace-hopper")
    assert done.status == "done", done.steps
    [(run, rows)] = done.steps["runs"]["rows"].items()
    assert (rows, done.steps["runs"]["unknown"]) == (1, [])
    assert read_table(connect(riders), run, HOLDOUT).is_empty()


def test_an_unknown_subject_leaves_a_tombstone_and_nothing_else(riders):
    revisions = [version.revision for version in list_versions(riders)]
    preview = erasing.preview(riders, {"rider": "nobody-here"}, quiet)
    assert preview.status == "preview"
    assert read_tombstones(riders.root) == ()
    [done] = erase(riders, rider="nobody-here")
    assert done.status == "done"
    assert (done.found["online"], done.found["places"], done.found["predictions"]) == ({}, (), 0)
    assert done.steps["pipeline"] == {"status": "skipped"}
    assert len(read_tombstones(riders.root)) == 1
    assert [version.revision for version in list_versions(riders)] == revisions
    assert done.found["models"][0]["trained_on"] == "no"


def test_a_key_of_two_columns_is_one_subject(riders):
    [done] = erase(riders, rider=SUBJECT, city="york")
    assert done.status == "done", done.steps
    assert done.found["online"] == {"rides_habits": 1}
    assert done.found["predictions"] == 2
    assert served(riders, SUBJECT).values["rides"] == 1.0  # the view of riders alone is not about that key


def test_a_stage_that_keeps_the_subject_is_named_and_the_erasure_stays_open(riders):
    stage = riders.root / "prepare.py"
    stage.write_text(
        stage.read_text().replace("without_erased(pl.concat([upstream, own]), project)", "upstream")
    )
    tombstones = "deps: [prepare.py, raw/rides.csv, tombstones.yaml]"
    declared = (riders.root / "dvc.yaml").read_text()
    (riders.root / "dvc.yaml").write_text(declared.replace(tombstones, "deps: [prepare.py, raw/rides.csv]"))
    [done] = erase(riders, history=True, rider=SUBJECT)
    assert done.status == "incomplete"
    assert "data/training_set.parquet (1 row, output)" in done.steps["check"]["error"]
    assert "without_erased" in done.steps["check"]["hint"]
    assert "not before" in done.steps["history"]["error"]
    assert [row.status for row in on_record(riders)] == ["incomplete"]
    [order] = erasure_record.pending_orders(riders)
    path = erasure_record.folder(riders) / f"{order.id}.json"
    assert path.stat().st_mode & 0o777 == 0o600

    stage.write_text(
        stage.read_text().replace("rides = upstream", "rides = without_erased(upstream, project)")
    )
    [resumed] = erasing.resume(riders, SystemClock(), quiet)
    assert (resumed.status, resumed.resumed, resumed.id) == ("done", True, done.id)
    assert whoever_names(riders.root, SUBJECT) == []
    assert erasing.resume(riders, SystemClock(), quiet) == []


def test_files_that_nobody_declared_are_searched_and_what_cannot_be_rewritten_is_named(riders):
    root = riders.root
    (root / "before").mkdir()
    shutil.copy(root / "data/training_set.parquet", root / "before/set.parquet")  # as a checkout leaves it
    (root / "export.csv").write_text(f"rider,rides\n{SUBJECT},1\ngrace-hopper,2\n")
    (root / "letter.md").write_text(f"Please forget {SUBJECT}.\n")
    (root / "broken.csv").write_bytes(b"rider\n\xff\n")
    (root / "features.yaml").write_text(f"keys:\n  - {{name: rider, example: {SUBJECT}}}\n")
    subprocess.run(["git", "add", "features.yaml"], cwd=root, check=True)
    [done] = erase(riders, rider=SUBJECT)
    assert done.status == "incomplete"
    assert "letter.md (1 row, loose)" in done.steps["check"]["error"]
    assert "features.yaml (1 mention, tracked)" in done.steps["check"]["error"]
    assert "by hand" in done.steps["check"]["hint"]
    assert "commit" in done.steps["check"]["hint"]
    assert (root / "export.csv").read_text() == "rider,rides\ngrace-hopper,2\n"
    (root / "letter.md").unlink()
    subprocess.run(["git", "rm", "-qf", "features.yaml"], cwd=root, check=True)
    [resumed] = erasing.resume(riders, SystemClock(), quiet)
    assert resumed.status == "done"
    left = whoever_names(root, SUBJECT)
    assert "git" in left  # what was staged stays in git's objects, as the hint says
    assert all(name == "git" or "files/md5" in name for name in left)


def test_a_column_that_is_no_key_is_refused_before_anything_is_changed(riders):
    with pytest.raises(UsageError, match="horse") as raised:
        erase(riders, horse=SUBJECT)
    assert "rider" in raised.value.hint
    assert erasure_record.pending_orders(riders) == []


MOMENTS = [
    ("look", "data/training_set.parquet"),
    ("tombstone", "done"),
    ("online", "done"),
    ("jobs", "job_3"),
    ("jobs", "done"),
    ("log", "done"),
    ("texts", "done"),
    ("files", "raw/rides.csv"),
    ("files", "done"),
    ("pipeline", "stage prepare"),
    ("pipeline", "done"),
    ("check", "done"),
    ("history", "purging"),
    ("history", "done"),
    ("end", ""),
]


def until_killed(root: Path, moment: tuple[str, str]) -> None:
    def tell(step: str, message: str) -> None:
        if (step, message) == moment:
            os.kill(os.getpid(), signal.SIGKILL)

    project = load_project(root, Settings(privacy_key=None))
    if erasure_record.pending_orders(project):
        erasing.resume(project, SystemClock(), tell)
    else:
        erase(project, history=True, tell=tell, rider=SUBJECT)


def test_an_erasure_that_is_killed_at_every_step_is_finished_by_the_next(riders):
    children = multiprocessing.get_context(
        "forkserver"
    )  # the engines are imported once, and no thread started
    children.set_forkserver_preload(["tidemill.privacy.erasure.erasing"])
    for moment in MOMENTS:
        child = children.Process(target=until_killed, args=(riders.root, moment))
        child.start()
        child.join(120)
        assert child.exitcode == -signal.SIGKILL, moment
        assert SUBJECT not in (riders.root / FILE).read_text()
    [done] = erasing.resume(riders, SystemClock(), quiet)
    assert done.status == "done"
    assert (done.found["predictions"], done.found["online"]) == (2, {"rides_stats": 1, "rides_habits": 1})
    assert len(done.found["jobs"]) == 4
    assert whoever_names(riders.root, SUBJECT) == []
    assert is_clean(riders)
    assert [row.status for row in on_record(riders)] == ["done"]
    assert len(read_tombstones(riders.root)) == 1
    assert sorted(path.name for path in erasure_record.folder(riders).iterdir()) == ["lock"]
    kept = pl.read_parquet(riders.root / "data" / "training_set.parquet")["rider"].unique().sort().to_list()
    assert kept == ["alan-turing", "grace-hopper"]
    assert count_log(riders.predictions, "rides").predictions == 4
