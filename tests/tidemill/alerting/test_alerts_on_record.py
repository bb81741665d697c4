"""What people do about alerts is in the audit log; what they wrote about them is not."""

from datetime import UTC, datetime, timedelta

import pytest

from tidemill.accounts.auditing.audit_reading import AuditFilter, all_entries, verify_log
from tidemill.alerting.alert_actions import acknowledge, comment_on, mark_as_noise, resolve
from tidemill.alerting.silences import add_silence, end_silence
from tidemill.errors import MonitoringError
from tidemill.state import open_state
from tidemill.state.external_alerts import ExternalAlert, record_external
from tidemill.state.record_reader import Records
from tidemill.state.tables import Alert

NOW = datetime(2013, 7, 1, 12, tzinfo=UTC)


def test_acts_on_alerts_are_on_record_with_who_but_without_the_comment(tmp_path):
    url = f"sqlite:///{tmp_path / 'state.db'}"
    state = open_state(url)
    told = ExternalAlert("prometheus", "Slow", "f1", True, "warning", "slow", {}, NOW)
    record_external(state, "parcel-delay", [told], NOW)
    with state.transaction() as session:
        [alert] = session.query(Alert.id).all()[0]
    acknowledge(state, alert, "ann", NOW, "customer Smith complained")
    comment_on(state, alert, "bob", NOW, "Smith again")
    resolve(state, alert, "ann", NOW, "Smith is content")
    mark_as_noise(state, alert, "ann", NOW, "only Smith")
    with pytest.raises(MonitoringError):
        resolve(state, alert, "eve", NOW)
    until = NOW + timedelta(hours=1)
    silence = add_silence(state, "parcel-delay", {"kind": "external"}, "ann", "we know", NOW, until)
    end_silence(state, silence.id, NOW, "bob")
    records = Records(url)
    found = [(row.actor, row.action, row.resource_id) for row in all_entries(records, AuditFilter())]
    assert found == [
        ("ann", "acknowledge", alert),
        ("bob", "comment", alert),
        ("ann", "resolve", alert),
        ("ann", "mark-noise", alert),
        ("ann", "silence", silence.id),
        ("bob", "end-silence", silence.id),
    ]
    rows = list(all_entries(records, AuditFilter()))
    assert not [row for row in rows if "Smith" in str(vars(row))]
    assert rows[4].reason == "we know"
    assert verify_log(records).seq == 6
    state.close()
