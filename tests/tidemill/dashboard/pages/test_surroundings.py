"""What happens to the records while the dashboard runs is said, and it works again by itself afterwards."""

import sqlite3
from contextlib import closing
from datetime import timedelta

import pytest
from sqlalchemy import event, select
from starlette.testclient import TestClient

from tests.tidemill.dashboard.conftest import PARAMS
from tidemill.accounts.login_sessions import log_in
from tidemill.accounts.users import add_user
from tidemill.dashboard import acting
from tidemill.dashboard import installation as installed
from tidemill.dashboard.app import make_app
from tidemill.dashboard.door.account_identification import AccountIdentification
from tidemill.dashboard.installation import Installation, expect_project
from tidemill.errors import NotWritable, StateError
from tidemill.files.sqlite_urls import sqlite_file
from tidemill.project import load_project
from tidemill.settings import Settings
from tidemill.state import open_state, served_records
from tidemill.state.tables import LoginSession


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """Wait less than people do."""
    monkeypatch.setattr(served_records, "_WAIT_SECONDS", 0.2)
    monkeypatch.setattr(served_records, "_LOOK_SECONDS", 0.0)
    monkeypatch.setattr(installed, "_WAIT_SECONDS", 0.2)


@pytest.fixture
def database(installation):
    return sqlite_file(installation.home.state_url)


def refused(browser, *words):
    """Every page and twin says it with 503, and what needs no records goes on."""
    page, twin = browser.get("/"), browser.get("/api/v1/models/parcel-delay/alerts")
    assert (page.status_code, twin.status_code) == (503, 503)
    said = twin.json()["error"]
    for word in words:
        assert word in said["message"], said
        assert word in page.text
    assert said["hint"]
    assert browser.get("/healthz").text == "ok"
    assert browser.get("/static/tidemill.css").status_code == 200
    assert browser.get("/login").status_code == 200


def test_records_that_are_away_are_missed_and_found_again(browser, send, database):
    assert browser.get("/").status_code == 200
    aside = database.parent / "aside"
    aside.mkdir()
    for file in database.parent.glob(f"{database.name}*"):
        file.rename(aside / file.name)
    refused(browser, "are not at", str(database))
    assert silence(send).status_code == 503
    assert not database.exists(), "a request has made an empty database"
    for file in aside.iterdir():
        file.rename(database.parent / file.name)
    assert browser.get("/").status_code == 200
    assert silence(send).status_code == 200


def test_records_that_somebody_holds_for_themselves_are_locked(browser, installation, database):
    installation.state.engine.dispose()  # who holds them must be alone for a moment
    installation.records.close()
    with closing(sqlite3.connect(database, isolation_level=None)) as holder:
        holder.execute("PRAGMA locking_mode=EXCLUSIVE")
        holder.execute("BEGIN EXCLUSIVE")
        refused(browser, "locked")
        holder.execute("ROLLBACK")
    assert browser.get("/").status_code == 200


@pytest.mark.parametrize(("schema", "said"), [("9999", "newer release"), ("0001", "earlier release")])
def test_records_of_another_schema_are_said_to_be_so(browser, database, schema, said):
    with closing(sqlite3.connect(database)) as other:
        [[ours]] = other.execute("SELECT version_num FROM alembic_version")
        other.execute("UPDATE alembic_version SET version_num = ?", (schema,))
        other.commit()
        refused(browser, said, schema)
        other.execute("UPDATE alembic_version SET version_num = ?", (ours,))
        other.commit()
    assert browser.get("/").status_code == 200


def test_while_another_process_writes_pages_are_read_and_acts_wait_and_say_so(
    browser, send, database, installation
):
    assert "is silenced" in silence(send).text or installation.records.select("silences", "1 = 1")
    before = len(installation.records.select("silences", "1 = 1"))
    with closing(sqlite3.connect(database, isolation_level=None)) as writer:
        writer.execute("BEGIN IMMEDIATE")
        assert browser.get("/models/parcel-delay/silences").status_code == 200
        answer = silence(send)
        assert answer.status_code == 503
        assert "are locked by" in answer.text
        assert "nothing was written" in answer.text
        writer.execute("ROLLBACK")
    assert len(installation.records.select("silences", "1 = 1")) == before
    assert silence(send).status_code == 200
    assert len(installation.records.select("silences", "1 = 1")) == before + 1


def test_a_dashboard_starts_where_nothing_can_be_written_now(installation, database, folder):
    home = installation.home
    with closing(sqlite3.connect(database, isolation_level=None)) as writer:
        writer.execute("BEGIN IMMEDIATE")
        started = Installation(home)
        expect_project(started)
        assert [one.model for one in started.projects()] == ["parcel-delay"]
        (folder / "params.yaml").write_text(PARAMS.replace("parcel-delay", "another"))
        with pytest.raises(StateError, match="locked"):
            expect_project(Installation(load_project(folder, Settings())))
        writer.execute("ROLLBACK")
    started.records.close()


def silence(send):
    return send("/models/parcel-delay/silences", kind="data_drift", reason="the feed moves", until="2h")


def test_on_a_full_disk_nothing_is_done_that_cannot_be_put_on_record(browser, send, installation):
    """SQLite's own limit stands for the disk's: it fails where a write finds no room."""
    assert silence(send).status_code == 200
    engine = installation.state.engine
    engine.dispose()

    def no_room(connection, _):
        [pages] = connection.execute("PRAGMA page_count").fetchone()
        connection.execute(f"PRAGMA max_page_count={pages}")

    event.listen(engine, "connect", no_room)
    counted = []
    for _ in range(80):  # until the pages that have room are full
        answer = silence(send)
        if answer.status_code == 503:
            break
        counted.append(answer.status_code)
    assert answer.status_code == 503
    assert "full" in answer.text
    acts = installation.records.select("audit_entries", "action = 'silence'", order="seq")
    assert len(installation.records.select("silences", "1 = 1")) == len(acts) == len(counted) + 1
    event.remove(engine, "connect", no_room)
    engine.dispose()
    assert silence(send).status_code == 200


def test_a_turn_that_has_no_room_for_its_log_is_not_begun(browser, send, installation, monkeypatch):
    monkeypatch.setattr(acting, "_ROOM", 1 << 60)
    answer = send("/models/parcel-delay/retrain", reason="summer")
    assert answer.status_code == 503
    assert f"no room to write at {installation.home.logs}" in answer.text
    assert installation.records.select("turns", "1 = 1") == []


def test_records_whose_folder_cannot_be_written_are_said_to_be_so(tmp_path):
    (tmp_path / "empty").mkdir()
    lock = tmp_path / "empty" / "state.db.migrate.lock"
    lock.symlink_to(tmp_path / "nowhere" / "lock")  # not even root can make it
    with pytest.raises(NotWritable, match=r"cannot be written: the lock .* cannot be opened"):
        open_state(f"sqlite:///{tmp_path}/empty/state.db")


def test_who_is_logged_in_stays_so_while_the_records_are_locked(installation, database, monkeypatch):
    monkeypatch.setattr(installed, "_WAIT_SECONDS", 30.0)
    patient = Installation(installation.home, clock=installation.clock)
    state, now = installation.state, installation.clock.now()
    words = "four words in a row"
    add_user(state, name="Ada", password=words, actor="me", now=now, roles={"*": ["admin"]})
    long_ago = now - timedelta(hours=1)
    made = log_in(state, name="Ada", password=words, address="", agent="", now=long_ago)
    identification = AccountIdentification(patient, open_here=False)
    app = make_app(patient, identification, local_only=False)
    cookies = {"tidemill_session": made.secret.get_secret_value()}
    with (
        closing(sqlite3.connect(database, isolation_level=None)) as writer,
        TestClient(app, base_url="http://localhost", cookies=cookies) as client,
    ):
        writer.execute("BEGIN IMMEDIATE")
        assert "Ada" in client.get("/").text
        assert identification._writing.locked(), "its last use is still being recorded: nobody waits for that"
        assert client.post("/login", data={"name": "Ada", "password": words}).status_code == 403
        writer.execute("ROLLBACK")
        assert identification._writing.acquire(timeout=60)  # it is recorded now
    with state.transaction() as session:
        assert session.scalars(select(LoginSession.seen_at)).one() == now
    patient.state.close()
    patient.records.close()
