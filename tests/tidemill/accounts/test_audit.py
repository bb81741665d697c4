import csv
import hashlib
import io
import json
import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa

from tidemill.accounts.audit import Act, append
from tidemill.accounts.auditing.audit_chain import Head
from tidemill.accounts.auditing.audit_export import csv_lines, json_lines
from tidemill.accounts.auditing.audit_reading import (
    AuditFilter,
    all_entries,
    head,
    latest_entries,
    verify_log,
)
from tidemill.accounts.auditing.audit_retention import prune
from tidemill.accounts.caller import Caller, calling
from tidemill.errors import AuditError
from tidemill.state import State, open_state
from tidemill.state.record_reader import Records
from tidemill.state.tables import AuditEntry

DAY = timedelta(days=1)


def add(state: State, number: int, **facts: object) -> None:
    with state.transaction() as session:
        for each in range(number):
            act = {"actor": "ada", "action": "promote", "resource": "version", "resource_id": str(each)}
            append(session, Act(**{**act, "model": "parcel-delay", **facts}))  # type: ignore[arg-type]


@pytest.fixture
def state(any_state_url):
    opened = open_state(any_state_url)
    yield opened
    opened.close()


@pytest.fixture
def records(state, any_state_url):
    return Records(any_state_url)


def unguarded(state: State, *statements: str) -> None:
    """Do what somebody with the database's own password can: drop the triggers, and write."""
    with state.transaction() as session:
        for event in ("insert", "update", "delete"):
            on = " ON audit_entries" if state.engine.dialect.name == "postgresql" else ""
            session.execute(sa.text(f"DROP TRIGGER audit_entries_{event}{on}"))
        for statement in statements:
            session.execute(sa.text(statement))


def test_entries_follow_each_other_and_verify(state, records):
    assert head(records) == verify_log(records) == Head(0, "0" * 64)
    add(state, 2, details={"from": "1", "to": "2", "gain": 0.1})
    add(state, 1, model=None, resource="token")
    assert [row.seq for row in all_entries(records, AuditFilter())] == [1, 2, 3]
    assert verify_log(records) == head(records)
    assert head(records).seq == 3


def test_an_act_that_fails_leaves_no_entry(state, records):
    with pytest.raises(RuntimeError), state.transaction() as session:
        raise _after(append(session, Act("ada", "promote", "version", "2")))
    assert head(records).seq == 0


def _after(written: Head) -> RuntimeError:
    return RuntimeError(f"after {written}")


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE audit_entries SET actor = 'bob' WHERE seq = 2",
        "DELETE FROM audit_entries WHERE seq = 3",
        "DELETE FROM audit_entries",
        "INSERT INTO audit_anchors (seq, hash, at) VALUES (2, 'x', '2013-01-01 00:00:00.000000')",
        "INSERT INTO audit_entries SELECT 9, version, at, actor, actor_kind, model, action, resource, "
        "resource_id, reason, details, address, hash, hash FROM audit_entries WHERE seq = 3",
        "INSERT INTO audit_entries SELECT 4, version, at, actor, actor_kind, model, action, resource, "
        "resource_id, reason, details, address, prev_hash, hash FROM audit_entries WHERE seq = 3",
    ],
)
def test_the_database_refuses_changes(state, records, statement):
    add(state, 3)
    with pytest.raises(sa.exc.IntegrityError, match="append-only"), state.transaction() as session:
        session.execute(sa.text(statement))
    assert verify_log(records).seq == 3


def test_the_database_refuses_replacing_and_truncating(state, records):
    add(state, 3)
    statement = (
        "TRUNCATE audit_entries"
        if state.engine.dialect.name == "postgresql"
        else "INSERT OR REPLACE INTO audit_entries SELECT seq, version, at, 'bob', actor_kind, model, "
        "action, resource, resource_id, reason, details, address, prev_hash, hash "
        "FROM audit_entries WHERE seq = 2"
    )
    with pytest.raises(sa.exc.IntegrityError, match="append-only"), state.transaction() as session:
        session.execute(sa.text(statement))
    assert verify_log(records).seq == 3


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        ("UPDATE audit_entries SET actor = 'bob' WHERE seq = 2", "entry 2: it was changed"),
        ("UPDATE audit_entries SET details = '{ }' WHERE seq = 2", "entry 2: it was changed"),
        ("UPDATE audit_entries SET details = '{' WHERE seq = 3", "entry 3: its details are not JSON"),
        ("UPDATE audit_entries SET version = 7 WHERE seq = 3", "entry 3: it is of form 7"),
        ("UPDATE audit_entries SET hash = prev_hash WHERE seq = 1", "entry 1: it was changed"),
        ("UPDATE audit_entries SET prev_hash = hash WHERE seq = 4", "entry 4: it does not continue entry 3"),
        ("DELETE FROM audit_entries WHERE seq = 2", "entry 2: it is missing, entry 3 follows"),
        ("DELETE FROM audit_entries WHERE seq = 1", "entry 1: it is missing, entry 2 follows"),
    ],
)
def test_verification_names_the_first_broken_entry(state, records, statement, said):
    add(state, 4)
    unguarded(state, statement)
    with pytest.raises(AuditError, match=said):
        verify_log(records)


def test_a_witness_notices_that_the_end_was_cut_off_or_written_anew(state, records):
    add(state, 4)
    witness = head(records)
    assert verify_log(records, witness) == witness
    add(state, 1)
    assert verify_log(records, witness).seq == 5
    unguarded(state, "DELETE FROM audit_entries WHERE seq > 2")
    assert verify_log(records).seq == 2
    with pytest.raises(AuditError, match="ends before entry 4"):
        verify_log(records, witness)
    add(state, 3, actor="eve")
    assert verify_log(records).seq == 5
    with pytest.raises(AuditError, match="entry 4 of the audit log is not the one"):
        verify_log(records, witness)


def test_retention_anchors_the_chain_and_is_on_record(state, records):
    add(state, 5)
    old = head(records)
    assert prune(state, "ada", 365 * DAY, datetime.now(UTC)).removed == 0
    assert verify_log(records) == old
    done = prune(state, "root", 365 * DAY, datetime.now(UTC) + 366 * DAY)
    assert (done.removed, done.until) == (5, old)
    [entry] = all_entries(records, AuditFilter())
    assert (entry.seq, entry.action, entry.actor) == (6, "prune", "root")
    assert json.loads(entry.details) == {"until": str(old), "keep_days": 365.0}
    add(state, 2)
    assert verify_log(records).seq == 8
    assert verify_log(records, old).seq == 8
    with pytest.raises(AuditError, match="removed by retention"):
        verify_log(records, Head(3, "0" * 64))
    assert prune(state, "root", 365 * DAY, datetime.now(UTC) + 366 * DAY).removed == 3
    assert verify_log(records).seq == 9


def test_an_anchor_that_no_entry_confirms_is_noticed(state, records):
    add(state, 5)
    with state.transaction() as session:
        session.execute(
            sa.text("INSERT INTO audit_anchors SELECT seq, hash, at FROM audit_entries WHERE seq = 3")
        )
        session.execute(sa.text("DELETE FROM audit_entries WHERE seq <= 3"))
    with pytest.raises(AuditError, match="no entry says that those before were removed"):
        verify_log(records)


def test_a_pruning_that_was_killed_is_finished_by_the_next(state, records):
    add(state, 3)
    with state.transaction() as session:
        session.execute(
            sa.text("INSERT INTO audit_anchors SELECT seq, hash, at FROM audit_entries WHERE seq = 2")
        )
        until = session.get_one(AuditEntry, 2)
        append(
            session, Act("ada", "prune", "audit", "2", details={"until": str(Head(until.seq, until.hash))})
        )
    assert verify_log(records).seq == 4
    assert prune(state, "ada", 365 * DAY, datetime.now(UTC)).removed == 2
    assert verify_log(records).seq == 4


def test_who_asks_over_the_network_is_on_record(state, records):
    with calling(Caller("ada", "person", "10.0.0.7")):
        add(state, 1)
        add(state, 1, actor="policy:weekly")
    add(state, 1)
    found = [(row.actor, row.actor_kind, row.address) for row in all_entries(records, AuditFilter())]
    assert found == [
        ("ada", "person", "10.0.0.7"),
        ("policy:weekly", "process", None),
        ("ada", "command", None),
    ]


def test_a_key_that_somebody_pastes_is_not_kept(state, records):
    key = "tmk_0123456789ab_c2VjcmV0LXRoYXQtbm9ib2R5LXNlZXM"
    add(state, 1, reason=f"used {key}", details={"note": key}, resource_id=key, actor=key)
    [row] = all_entries(records, AuditFilter())
    assert "c2Vj" not in str(vars(row))
    assert verify_log(records).seq == 1


def test_filters_and_pages(state, records):
    add(state, 3)
    add(state, 3, model="other", actor="bob")
    add(state, 3, model=None, action="create", resource="token")
    seqs = [row.seq for row in latest_entries(records, AuditFilter(), 4)]
    assert seqs == [9, 8, 7, 6]
    assert [row.seq for row in latest_entries(records, AuditFilter(), 4, before=6)] == [5, 4, 3, 2]
    assert [row.seq for row in latest_entries(records, AuditFilter(actor="bob"), 9)] == [6, 5, 4]
    assert [row.seq for row in latest_entries(records, AuditFilter(action="create"), 9)] == [9, 8, 7]
    both = AuditFilter(models=("other", "parcel-delay"))
    assert [row.seq for row in latest_entries(records, both, 4)] == [6, 5, 4, 3]
    assert [row.seq for row in latest_entries(records, both, 4, before=3)] == [2, 1]
    assert latest_entries(records, AuditFilter(models=()), 9) == []
    assert latest_entries(records, AuditFilter(), 9, before=77) == []
    hour = timedelta(hours=1)
    assert latest_entries(records, AuditFilter(since=datetime.now(UTC) + hour), 9) == []
    assert len(latest_entries(records, AuditFilter(since=datetime.now(UTC) - hour), 9)) == 9
    assert list(all_entries(records, AuditFilter(models=(), actor="ada"))) == []
    assert len(list(all_entries(records, both))) == 6


def test_a_choice_that_finds_nothing_reads_no_other_entry(tmp_path):
    open_state(f"sqlite:///{tmp_path / 'state.db'}").close()
    with closing(sqlite3.connect(tmp_path / "state.db")) as database:
        for models, index in (("", "actor_action_at_seq"), ("model = ? AND ", "model_actor_action_at_seq")):
            condition, values = AuditFilter(actor="ada", action="promote").condition()
            query = f"SELECT * FROM audit_entries WHERE {models}{condition} ORDER BY at DESC, seq DESC"
            plan = database.execute(f"EXPLAIN QUERY PLAN {query}", [*(["m"] if models else []), *values])
            [step] = [row[-1] for row in plan]  # one step: nothing is sorted
            assert f"USING INDEX ix_audit_entries_{index}" in step


def test_an_export_can_be_verified_by_anybody(state, records):
    add(state, 3, reason='=cmd|"/c calc"!A1', details={"é": 0.1})
    before = "0" * 64
    for line in json_lines(all_entries(records, AuditFilter())):
        entry = json.loads(line)
        hashed = entry.pop("hash")
        text = json.dumps(entry, sort_keys=True, separators=(",", ":"))
        assert hashlib.sha256(text.encode()).hexdigest() == hashed
        assert entry["prev_hash"] == before
        before = hashed
    table = list(csv.DictReader(io.StringIO("".join(csv_lines(all_entries(records, AuditFilter()))))))
    assert [row["reason"] for row in table] == ['\'=cmd|"/c calc"!A1'] * 3
    assert json.loads(table[0]["details"]) == {"é": 0.1}
