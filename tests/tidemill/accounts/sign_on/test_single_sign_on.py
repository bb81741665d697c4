"""Logins that are begun at a provider: how many, from where, and what is kept of them; without a provider."""

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import func, select

from tidemill.accounts.sign_on import single_sign_on
from tidemill.accounts.sign_on.sign_on_providers import Provider
from tidemill.accounts.sign_on.single_sign_on import Vouched, begin_sign_on, finish_sign_on, log_in_vouched
from tidemill.errors import LoginRefused, TooManyLogins
from tidemill.state import open_state
from tidemill.state.tables import SignOnAttempt

NOW = datetime(2013, 4, 1, 12, tzinfo=UTC)
PROVIDER = Provider(
    label="Corp", issuer="https://corp.example", client_id="tidemill", groups={"ml": {"parcels": "viewer"}}
)


@pytest.fixture
def state(tmp_path):
    made = open_state(f"sqlite:///{tmp_path / 'state.db'}")
    yield made
    made.close()


def begin(state, address="10.0.0.1", after=0.0, browser="one"):
    return begin_sign_on(state, "corp", browser, "/", NOW + timedelta(seconds=after), address=address)


def kept(state):
    with state.transaction() as session:
        return session.scalar(select(func.count()).select_from(SignOnAttempt))


def refused(state, **given):
    with pytest.raises(TooManyLogins) as said:
        begin(state, **given)
    return said.value.hint


def test_who_begins_many_logins_and_finishes_none_must_wait_and_others_need_not(state):
    for _ in range(61):
        begin(state)
    assert kept(state) == 61
    assert refused(state) == "try again in 1 s"
    assert kept(state) == 61
    begin(state, "10.0.0.2")
    begin(state, after=1.5)
    assert refused(state, after=1.6) == "try again in 2 s"
    for hours in range(12):
        begin(state, after=3600.0 * (hours + 1))
    assert refused(state, after=3600.0 * 12 + 1) == "try again in 59 s"  # never longer than a minute
    begin(state, after=3600.0 * 40)
    begin(state, after=3600.0 * 40)  # a day later nothing is held against the address


def test_a_login_that_was_finished_lets_its_address_begin_anew(state):
    for _ in range(61):
        begin(state)
    vouched = Vouched("https://corp.example", "u-1", "ada", frozenset({"ml"}))
    log_in_vouched(state, "corp", PROVIDER, vouched, address="10.0.0.1", agent="", now=NOW)
    for _ in range(61):
        begin(state)
    refused(state)


def test_of_very_many_attempts_the_oldest_are_dropped(state, monkeypatch):
    monkeypatch.setattr(single_sign_on, "_MOST", 3)
    begun = [begin(state, f"10.0.0.{number}", after=number) for number in range(5)]
    assert kept(state) == 3
    with pytest.raises(LoginRefused):
        finish_sign_on(state, "corp", "one", begun[1].state, NOW)
    assert finish_sign_on(state, "corp", "one", begun[2].state, NOW).provider == "corp"
