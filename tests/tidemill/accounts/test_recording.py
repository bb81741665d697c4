import pytest

from tidemill.accounts.auditing.audit_reading import AuditFilter, all_entries, verify_log
from tidemill.accounts.recording import recorder
from tidemill.errors import StateError
from tidemill.state import open_state
from tidemill.state.record_reader import Records


def test_an_act_is_on_record_when_it_is_about_to_take_effect(tmp_path):
    url = f"sqlite:///{tmp_path / 'state.db'}"
    open_state(url).close()
    records = Records(url)
    act = recorder(url, "ada", "add", ("data", "data/rows.csv"), model="m", reason="new", details={"n": 1})
    assert list(all_entries(records, AuditFilter())) == []
    act()
    [entry] = all_entries(records, AuditFilter())
    told = (entry.actor, entry.actor_kind, entry.action, entry.resource, entry.resource_id, entry.reason)
    assert told == ("ada", "command", "add", "data", "data/rows.csv", "new")
    assert verify_log(records).seq == 1


def test_what_cannot_be_put_on_record_does_not_happen(tmp_path):
    (tmp_path / "state.db").write_bytes(b"no database" * 1000)
    with pytest.raises(StateError):
        recorder(f"sqlite:///{tmp_path / 'state.db'}", "ada", "add", ("data", "x"), model="m")()
