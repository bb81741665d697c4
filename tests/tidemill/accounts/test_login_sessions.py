"""Logging in: what is counted, what is kept, and when it ends."""

from datetime import UTC, datetime, timedelta

import pytest
from argon2 import PasswordHasher
from sqlalchemy import select

from tidemill.accounts.login_sessions import LIFETIME, end_session, end_session_by_id, log_in
from tidemill.accounts.users import add_user, disable_user, set_password
from tidemill.errors import LoginRefused, TooManyLogins
from tidemill.state import open_state
from tidemill.state.tables import AuditEntry, LoginSession, User

NOW = datetime(2013, 4, 1, 12, tzinfo=UTC)
WORDS = "four words in a row"


@pytest.fixture(autouse=True)
def hasher(monkeypatch):
    made = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
    monkeypatch.setattr("tidemill.accounts.passwords._hasher", lambda: made)
    return made


@pytest.fixture
def state(tmp_path):
    made = open_state(f"sqlite:///{tmp_path / 'state.db'}")
    add_user(made, name="Ada", password=WORDS, actor="me", now=NOW)
    yield made
    made.close()


def enter(state, name="ada", password=WORDS, address="10.0.0.1", after=0.0):
    now = NOW + timedelta(seconds=after)
    return log_in(state, name=name, password=password, address=address, agent="test\n", now=now)


def fail(state, **given):
    with pytest.raises(LoginRefused) as refused:
        enter(state, **{"password": "not the password", **given})
    return type(refused.value)


def test_a_login_begins_a_session_that_only_its_cookie_opens(state, tmp_path):
    made = enter(state, "ADA")
    with state.transaction() as session:
        row = session.scalars(select(LoginSession)).one()
    assert (row.expires_at - NOW, row.agent) == (LIFETIME, "test")
    secret = made.secret.get_secret_value()
    state.close()
    content = b"".join(file.read_bytes() for file in tmp_path.iterdir() if file.is_file())
    assert secret.encode() not in content
    assert len(secret) == 43
    assert enter(state).secret != made.secret  # never the same twice


def test_who_is_unknown_is_told_the_same_as_who_is_wrong(state):
    said = set()
    for name in ("ada", "eve"):
        with pytest.raises(LoginRefused) as refused:
            enter(state, name, "not the password")
        said.add((str(refused.value), refused.value.hint))
    assert len(said) == 1


def test_an_unknown_name_costs_as_much_work_as_a_known_one(state, hasher, monkeypatch):
    checked = []

    class Counting:
        def __getattr__(self, name):
            return getattr(hasher, name)

        def verify(self, digest, password):
            checked.append(digest)
            return hasher.verify(digest, password)

    monkeypatch.setattr("tidemill.accounts.passwords._hasher", Counting)
    fail(state, name="ada")
    fail(state, name="eve")
    assert len(checked) == 2


def test_each_failure_past_a_few_doubles_the_wait_and_a_success_ends_it(state):
    assert {fail(state) for _ in range(4)} == {LoginRefused}
    assert fail(state) is LoginRefused  # the fifth, which begins the waits
    assert fail(state, after=0.5) is TooManyLogins
    with pytest.raises(TooManyLogins):
        enter(state, after=0.9)  # the right password, too early
    assert fail(state, after=1.1) is LoginRefused
    assert fail(state, after=2.9) is TooManyLogins
    enter(state, after=3.2)
    assert fail(state, after=3.3) is LoginRefused


def test_what_is_blocked_is_not_counted_so_a_wait_ends_by_itself(state):
    for _ in range(5):
        fail(state)
    for _ in range(50):
        assert fail(state, after=0.5) is TooManyLogins
    enter(state, after=1.1)


def test_strangers_cannot_keep_somebody_out_of_where_they_have_logged_in_before(state):
    enter(state, address="192.0.2.1")
    for number in range(60):
        fail(state, address=f"10.1.0.{number}", after=61.0 * number)
    later = 61.0 * 59 + 1
    assert fail(state, address="10.9.9.9", after=later) is TooManyLogins
    enter(state, address="192.0.2.1", after=later)
    enter(state, address="10.9.9.9", after=later + 61)  # others wait a minute at the most


def test_an_address_that_tries_many_names_waits_and_the_right_ones_are_not_counted(state):
    for number in range(40):
        enter(state, address="10.0.0.7", after=float(number))
    types = [fail(state, name=f"name{number}", address="10.0.0.7", after=100) for number in range(22)]
    assert types[:21] == [LoginRefused] * 21
    assert types[21] is TooManyLogins
    enter(state, address="10.0.0.8", after=100)


def test_limits_hold_over_several_processes_as_they_are_in_the_records(state, tmp_path):
    for _ in range(5):
        fail(state)
    other = open_state(f"sqlite:///{tmp_path / 'state.db'}")
    assert fail(other) is TooManyLogins
    other.close()


def test_a_digest_of_other_parameters_is_made_anew_at_login(state):
    weak = PasswordHasher(time_cost=2, memory_cost=16, parallelism=1).hash(WORDS)
    with state.transaction() as session:
        session.scalars(select(User)).one().password = weak
    enter(state)
    with state.transaction() as session:
        assert "m=8,t=1,p=1" in session.scalars(select(User)).one().password


@pytest.mark.parametrize("end", ["disable", "password", "logout", "by id"])
def test_sessions_end(state, end):
    made, other = enter(state), enter(state)
    with state.transaction() as session:
        shown = session.scalars(select(LoginSession)).all()
    assert len(shown) == 2
    match end:
        case "disable":
            disable_user(state, "ada", actor="me", now=NOW)
        case "password":
            set_password(state, "ada", "quite another password", actor="me", now=NOW)
        case "logout":
            end_session(state, made.secret.get_secret_value())
            end_session(state, other.secret.get_secret_value())
        case "by id":
            assert not end_session_by_id(state, shown[0].id, "somebody else")
            assert all(end_session_by_id(state, one.id, made.user_id) for one in shown)
    with state.transaction() as session:
        assert session.scalars(select(LoginSession)).all() == []
    if end == "disable":
        with pytest.raises(LoginRefused):
            enter(state)


def test_sessions_that_have_ended_are_removed_and_a_user_has_only_so_many(state):
    enter(state)
    for _ in range(25):
        made = enter(state, after=8 * 24 * 3600)
    with state.transaction() as session:
        rows = session.scalars(select(LoginSession)).all()
    assert len(rows) == 20
    assert made.user_id


def test_logins_failed_ones_and_their_ends_are_on_record_without_what_was_typed(state):
    fail(state, password="a secret that was typed")
    fail(state, name="a secret typed as a name")
    made = enter(state)
    end_session(state, made.secret.get_secret_value())
    set_password(state, "ada", "quite another password", actor="root", now=NOW)
    with state.transaction() as session:
        entries = session.scalars(select(AuditEntry).order_by(AuditEntry.seq)).all()
    assert [(one.actor, one.action) for one in entries] == [
        ("me", "add"),
        ("Ada", "fail-log-in"),
        ("somebody", "fail-log-in"),
        ("Ada", "log-in"),
        ("Ada", "log-out"),
        ("root", "set-password"),
    ]
    assert "secret" not in str([one.details for one in entries])
