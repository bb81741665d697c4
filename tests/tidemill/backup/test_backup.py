"""A project's installation, backed up and brought back."""

import json
import shutil
import signal
import subprocess
from dataclasses import replace
from pathlib import Path

import boto3
import pytest
from mlflow import MlflowClient
from typer.testing import CliRunner

from tests.tidemill.prediction_log.log_records import ALWAYS, NOON, record
from tests.tidemill.state.test_store import turn
from tests.warm_commands import command
from tidemill.backup import archive_places
from tidemill.backup.archive import unpack, write_archive
from tidemill.backup.backup_facts import FACTS
from tidemill.backup.making import make_backup
from tidemill.backup.restoring import restore_backup, verify_backup
from tidemill.backup.stored_log import check_log
from tidemill.cli.main import app
from tidemill.data.repository.git import git
from tidemill.errors import DataError, StateError, UsageError
from tidemill.prediction_log.prediction_log import PredictionLog, read_predictions
from tidemill.prediction_log.storage.log_parts import Sizes
from tidemill.prediction_log.storage.log_places import current_place
from tidemill.prediction_log.upkeep.compaction import compact
from tidemill.project import Project, load_project
from tidemill.registry.versions.registry_reader import read_champion
from tidemill.settings import Settings
from tidemill.state import open_state
from tidemill.training.tracking.tracking_schema import upgrade_tracking

pytestmark = pytest.mark.engine

AT = "2013-04-01T12:00:00+00:00"


def tree(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def clone_of(project: Project, folder: Path, settings: Settings | None = None) -> Project:
    """What a clone of its repository has: all but `.tidemill`."""
    shutil.copytree(project.root, folder, ignore=shutil.ignore_patterns(".tidemill"))
    return load_project(folder, settings or Settings())


@pytest.fixture
def shop(served_parcels: Project) -> Project:
    """Records, two versions, a log, a key, reports, a DVC remote and a commit."""
    home = served_parcels.home
    state = open_state(served_parcels.state_url)
    with state.transaction() as session:
        session.add(turn(1, "promoted", "parcel-delay"))
    state.close()
    log = home / "predictions" / "parcel-delay" / "predictions" / "date=2013-04-01"
    log.mkdir(parents=True)
    (log / "w_1.ndjson").write_bytes(b'{"id": 1}\n{"id": 2}\n{"id"')
    (log.parents[1] / ".maintenance").touch()
    (home / "privacy.key").write_text("0" * 64)
    for folder in ("reports", "remote", "origins"):
        (home / folder).mkdir()
        (home / folder / "file").write_text(folder)
    (served_parcels.root / ".gitignore").write_text("/.tidemill/\n")
    for words in (
        ["init", "-q"],
        ["add", "."],
        ["-c", "user.name=a", "-c", "user.email=a@b", "commit", "-qm", "x"],
    ):
        git(served_parcels.root, *words)
    return served_parcels


def test_everything_comes_back_in_another_folder(shop: Project, tmp_path: Path):
    (shop.root / "note.py").write_text("")
    place = str(tmp_path / "a.tar.gz")
    made = make_backup(shop, place, made_at=AT, choices=["log", "reports", "data", "keys", "runs"])
    assert made.facts.commit == git(shop.root, "rev-parse", "HEAD").strip()
    assert made.notes == ("not committed, so neither here nor in git: note.py; commit and push",)
    (tmp_path / "empty").mkdir()
    assert verify_backup(shop, place, tmp_path / "empty") == made.facts
    new = clone_of(shop, tmp_path / "clone")
    assert restore_backup(new, place) == made.facts
    for folder in ("artifacts", "reports", "remote", "origins"):
        assert tree(new.home / folder) == tree(shop.home / folder) != {}
    [segment] = tree(new.home / "predictions").values()
    assert segment == b'{"id": 1}\n{"id": 2}\n', "the half of a line was still being written"
    assert (new.home / "privacy.key").stat().st_mode & 0o777 == 0o600
    assert read_champion(new) == "1"
    version = MlflowClient(new.tracking_uri, new.tracking_uri).get_model_version("parcel-delay", "2")
    assert version.source.startswith(new.home.as_uri()), "MLflow finds its files in the new folder"
    assert not list(shop.home.glob("backup/*")), "nothing is left of the copies"
    with pytest.raises(UsageError, match=r"clone/\.tidemill is not empty: it has artifacts"):
        restore_backup(new, place)


def test_what_was_not_chosen_is_not_there_and_said(shop: Project, tmp_path: Path):
    place = str(tmp_path / "a.tar.gz")
    (shop.home / "artifacts" / "of_a_run_without_version").mkdir()
    (shop.home / "artifacts" / "of_a_run_without_version" / "file").touch()
    made = make_backup(shop, place, made_at=AT)
    assert [note.rpartition("; ")[2] for note in made.notes] == ["--data adds it", "--keys adds it"]
    unpack(place, tmp_path / "out", None, lambda _: None)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "artifacts", "backup.json", "manifest.json", "mlflow", "records",
    ]  # fmt: skip
    assert not (tmp_path / "out" / "artifacts" / "of_a_run_without_version").exists()
    assert all(
        each.folder and (tmp_path / "out" / "artifacts" / each.folder).is_dir()
        for each in made.facts.versions
    )
    shutil.rmtree(shop.home / "artifacts" / "models")
    with pytest.raises(StateError, match="version 1 of parcel-delay has no files at"):
        make_backup(shop, str(tmp_path / "b.tar.gz"), made_at=AT)
    assert not (tmp_path / "b.tar.gz").exists()


def test_a_backup_that_does_not_fit_is_refused_before_anything_is_written(shop: Project, tmp_path: Path):
    place = str(tmp_path / "a.tar.gz")
    facts = make_backup(shop, place, made_at=AT).facts
    new = clone_of(shop, tmp_path / "clone")

    def given(**changes) -> str:
        changed = str(tmp_path / f"{len(list(tmp_path.iterdir()))}.tar.gz")
        with write_archive(changed, replace(facts, **changes), None):
            pass
        return changed

    records, tracking = facts.records, facts.tracking
    assert tracking is not None
    for changes, error, said in (
        ({"project": "other"}, UsageError, "of project other with model parcel-delay, this is parcels"),
        ({"records": replace(records, revision="9999")}, StateError, "schema 9999, this release knows 00"),
        ({"tracking": replace(tracking, revision="fff")}, StateError, "schema fff, which the installed one"),
        ({"records": replace(records, kind="postgresql")}, UsageError, "TIDEMILL_STATE_URL leads to sqlite"),
        (
            {"records": replace(records, rows={**records.rows, "turns": 7})},
            DataError,
            "turns of records has 1",
        ),
    ):
        with pytest.raises(error, match=said):
            restore_backup(
                new, given(**changes) if error is not DataError else moved(place, facts, changes, tmp_path)
            )
    assert not new.home.exists()
    assert not [path for path in new.root.iterdir() if path.name.endswith(".tmp")]


def moved(place: str, facts, changes, folder: Path) -> str:
    """The same archive, which says something else about itself."""
    unpack(place, folder / "members", None, lambda _: None)
    with write_archive(str(folder / "moved.tar.gz"), replace(facts, **changes), None) as writer:
        for name in sorted(tree(folder / "members").keys() - {FACTS, "manifest.json"}):
            writer.add_file(name, folder / "members" / name)
    return str(folder / "moved.tar.gz")


KILLED = """
import os, signal, sys
from pathlib import Path
from tidemill.backup import restoring
from tidemill.project import load_project

restoring._arrange = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
restoring.restore_backup(load_project(Path(sys.argv[1])), sys.argv[2])
"""


def test_a_killed_restoration_leaves_no_project_that_looks_whole(shop: Project, tmp_path: Path):
    place = str(tmp_path / "a.tar.gz")
    make_backup(shop, place, made_at=AT)
    new = clone_of(shop, tmp_path / "clone")
    killed = subprocess.run(command("-c", KILLED, new.root, place), check=False)
    assert killed.returncode == -signal.SIGKILL
    assert not new.home.exists()
    restore_backup(new, place)
    assert read_champion(new) == "1"
    assert not list(new.root.glob("*.tmp")), "what the killed one left behind is removed"


def test_object_stores_and_passphrases(
    shop: Project, tmp_path: Path, s3_endpoint: str, monkeypatch: pytest.MonkeyPatch
):
    for name, value in (
        ("AWS_ACCESS_KEY_ID", "x"), ("AWS_SECRET_ACCESS_KEY", "x"), ("AWS_ENDPOINT_URL", s3_endpoint),
        ("AWS_DEFAULT_REGION", "us-east-1"), ("TIDEMILL_BACKUP_PASSPHRASE", "correct horse"),
    ):  # fmt: skip
        monkeypatch.setenv(name, value)
    s3 = boto3.client("s3", endpoint_url=s3_endpoint)
    s3.create_bucket(Bucket="backups")
    for path, content in tree(shop.home / "artifacts").items():
        s3.put_object(Bucket="backups", Key=f"mlflow/{path}", Body=content)
    shutil.rmtree(shop.home / "artifacts")
    place, log = "s3://backups/2013/a.tar.gz", shop.predictions
    write_log(log, shop.model, "s3://backups/log", s3_endpoint)
    logged = read_predictions(log, shop.model, *ALWAYS)

    def run(*words: str) -> dict:
        done = CliRunner().invoke(app, [*words, "--json"])
        if done.exception and not isinstance(done.exception, SystemExit):
            raise done.exception
        return json.loads(done.stdout)

    told = run(
        "backup", place, "--encrypt", "--log", "-p", str(shop.root), "--artifacts", "s3://backups/mlflow"
    )
    assert (told["encrypted"], told["versions"]) == (True, ["parcel-delay 1", "parcel-delay 2"])
    content = s3.get_object(Bucket="backups", Key="2013/a.tar.gz")["Body"].read()
    assert content.startswith(b"tidemill-backup-aes256gcm-1\n")
    assert b"sqlite" not in content
    assert run("backup", "verify", place, "-p", str(shop.root))["verified"]
    new = clone_of(shop, tmp_path / "clone")
    with pytest.raises(UsageError, match="s3://backups/log already has a log of parcel-delay"):
        restore_backup(new, place, passphrase="correct horse", artifacts="s3://backups/again")
    assert not new.home.exists()
    elsewhere = ["--artifacts", "s3://backups/again", "--log-store", "s3://backups/log2"]
    assert run("restore", place, "-p", str(new.root), *elsewhere)["log_stores"] == ["s3://backups/log"]
    assert read_predictions(new.predictions, shop.model, *ALWAYS).equals(logged)
    assert len(logged) == 2
    assert [
        each["address"] for each in json.loads((new.predictions / "stores.json").read_text())["stores"]
    ] == ["s3://backups/log2"]
    listed = s3.list_objects_v2(Bucket="backups", Prefix="again/")["Contents"]
    assert any(each["Key"].endswith("MLmodel") for each in listed)
    [entry] = run("audit", "list", "-p", str(new.root), "--action", "restore")["entries"]
    assert (entry["resource"], entry["resource_id"]) == ("backup", "a.tar.gz")
    assert len(run("audit", "list", "-p", str(new.root), "--action", "back-up")["entries"]) == 1

    with pytest.raises(KeyboardInterrupt):
        _interrupted("s3://backups/half")
    with pytest.raises(UsageError, match="already something at"):
        make_backup(shop, place, made_at=AT, artifacts="s3://backups/mlflow")
    kept = {each["Key"] for each in s3.list_objects_v2(Bucket="backups")["Contents"]}
    assert "half" not in kept
    [part] = [key for key in kept if key.startswith("log/") and key.endswith(".parquet")]
    s3.delete_object(Bucket="backups", Key=part)
    with pytest.raises(DataError, match=f"names s3://backups/{part}, which is not there"):
        make_backup(shop, "s3://backups/b", made_at=AT, choices=["log"], artifacts="s3://backups/mlflow")


def write_log(root: Path, model: str, store: str | None, endpoint: str | None) -> None:
    """Predictions of which one is in a part, at the store if there is one, and one in a segment."""
    shutil.rmtree(root)
    for number in range(2):
        log = PredictionLog(root, model)
        log.append([record(f"p{number}", NOON)])
        log.close()
        if not number:
            compact(root, model, current_place(root, store, endpoint), Sizes().all_of_it())


def _interrupted(place: str) -> None:
    with archive_places.archive_written(place) as sink:
        sink.write(b"x" * 100)
        raise KeyboardInterrupt


def test_postgres_comes_back(
    served_parcels: Project, tmp_path: Path, postgres_address: str, monkeypatch: pytest.MonkeyPatch
):
    import psycopg

    names = [
        f"{tmp_path.name[-8:]}_{name}".lower().replace("-", "_") for name in ("s", "t", "new_s", "new_t")
    ]
    with psycopg.connect(f"{postgres_address}/postgres", autocommit=True) as connection:
        for name in names:
            connection.execute(f'CREATE DATABASE "{name}"')
    urls = [f"{postgres_address}/{name}" for name in names]
    old = replace(served_parcels, settings=Settings(state_url=urls[0], tracking_uri=urls[1]))
    open_state(old.state_url).close()
    assert upgrade_tracking(old.tracking_uri)
    assert not upgrade_tracking(old.tracking_uri)
    client = MlflowClient(old.tracking_uri, old.tracking_uri)
    run = client.create_run(client.create_experiment("parcels"))
    client.log_metric(run.info.run_id, "auc", 0.7)
    client.create_registered_model("parcel-delay")
    client.create_model_version("parcel-delay", "s3://elsewhere/model", run.info.run_id)
    place = str(tmp_path / "a.tar.gz")
    made = make_backup(old, place, made_at=AT)
    assert [each.folder for each in made.facts.versions] == [None]
    (tmp_path / "empty").mkdir()
    verify_backup(old, place, tmp_path / "empty")
    with pytest.raises(UsageError, match=r"/.* is not empty: .*experiments"):
        restore_backup(clone_of(old, tmp_path / "first", old.settings), place)
    new = clone_of(old, tmp_path / "clone", Settings(state_url=urls[2], tracking_uri=urls[3]))
    restore_backup(new, place)
    again = MlflowClient(new.tracking_uri, new.tracking_uri)
    assert again.get_run(run.info.run_id).data.metrics == {"auc": 0.7}
    assert int(again.create_experiment("next")) > int(run.info.experiment_id), "its counters go on"
    with psycopg.connect(urls[0]) as connection:
        left = connection.execute("SELECT nspname FROM pg_namespace WHERE nspname LIKE 'verify%'").fetchall()
    assert left == []


def test_a_part_of_the_log_that_is_not_in_the_backup_is_named(tmp_path: Path):
    root = tmp_path / "home" / "predictions"
    root.mkdir(parents=True)
    write_log(root, "parcel-delay", None, None)
    check_log(tmp_path, "parcel-delay")
    [part] = root.rglob("*.parquet")
    part.unlink()
    with pytest.raises(DataError, match=f"part parcel-delay/.*{part.name} of the log cannot be read"):
        check_log(tmp_path, "parcel-delay")
