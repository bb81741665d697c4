from datetime import timedelta

import pytest

from tidemill.alerting.alert_actions import acknowledge
from tidemill.dashboard.live.record_changes import Change, latest_rows
from tidemill.state.tables import KnownProject, Promotion


def ids(browser, address):
    return [one["id"] for one in browser.get(f"/api/v1{address}").json()["alerts"]]


def test_the_list_has_what_is_open_latest_first_and_filters(browser, add, make_run, make_alert, now):
    add(
        make_run(),
        make_alert("alert_1", severity="critical", kind="quality"),
        make_alert(
            "alert_2", raised_at=now - timedelta(hours=1), status="acknowledged", acknowledged_by="ada"
        ),
        make_alert("alert_3", status="resolved", resolved_at=now),
        make_alert("alert_4", raised_at=now - timedelta(hours=9), status="pending", fired_at=None),
    )
    mine = "/models/parcel-delay/alerts"
    assert ids(browser, "/alerts") == ids(browser, mine) == ["alert_2", "alert_1", "alert_4"]
    assert ids(browser, f"{mine}?state=resolved") == ["alert_3"]
    assert len(ids(browser, f"{mine}?state=all")) == 4
    assert ids(browser, f"{mine}?severity=critical") == ["alert_1"]
    assert ids(browser, "/alerts?kind=quality&model=parcel-delay") == ["alert_1"]
    assert browser.get(f"/api/v1{mine}").json()["open"] == {"critical": 1, "warning": 2}
    assert "not the champion" not in browser.get("/alerts").text
    done = {"kind": "promotion", "actor": "ada", "reason": "better", "status": "done", "alias": "champion"}
    add(Promotion(id="move_9", model="parcel-delay", to_version="99", at=now, requested_at=now, **done))
    page = browser.get("/alerts").text
    assert page.count("not the champion") == 3
    assert "which is not the champion)" in browser.get("/models/parcel-delay").text
    assert "ada" in page
    assert "nobody" in page
    assert "<script>alert" not in page


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("?severity=loud", "no alert is"),
        ("?kind=x", "no alert is"),
        ("?page=7", "no page 7"),
        ("?state=x", "state"),
    ],
)
def test_a_filter_or_a_page_that_there_is_not_is_said(browser, alert, query, said):
    answer = browser.get(f"/alerts{query}")
    assert answer.status_code == 422
    assert said in answer.text


def test_a_list_of_several_pages_leads_to_older_ones(browser, add, make_run, make_alert, now):
    add(make_run(), *(make_alert(f"a{n:02}", raised_at=now - timedelta(minutes=n)) for n in range(60)))
    first = browser.get("/models/parcel-delay/alerts").text
    assert "1 to 50 of 60" in first
    assert "?page=2&amp;state=open" in first
    assert ids(browser, "/models/parcel-delay/alerts?page=2") == [f"a{n:02}" for n in range(50, 60)]


def test_alerts_of_a_hidden_project_are_in_no_list(installation, add, make_run, make_alert, now):
    from tests.tidemill.dashboard.test_door import client_of
    from tidemill.accounts.identities import Identity

    add(
        KnownProject(model="other", name="secret", root="/x", seen_at=now),
        make_run("run_2", "other"),
        make_alert("hidden", "other", monitor_run_id="run_2"),
    )
    ada = Identity("person", "ada", {"parcels": frozenset({"viewer"})})
    with client_of(installation, ada) as client:
        assert ids(client, "/alerts?state=all") == []
        for address in ("/alerts?model=other", "/models/other/alerts", "/models/other/alerts/hidden"):
            assert client.get(address).status_code == 404
        assert client.get("/models/parcel-delay/alerts/hidden").status_code == 404


def test_who_listens_hears_of_an_old_alert_that_somebody_acknowledges(installation, alert, make_alert):
    with installation.state.transaction() as session:
        session.add_all(
            make_alert(f"alert_9{number}", model="other", kind=str(number)) for number in range(30)
        )
    before = latest_rows(installation.records)
    acknowledge(installation.state, alert.id, "ada", installation.clock.now(), None)
    after = latest_rows(installation.records)
    assert {one for one in after if after[one] != before.get(one)} == {Change("alerts", "parcel-delay")}
