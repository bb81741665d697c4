from datetime import timedelta

import pytest

from tests.tidemill.dashboard.test_door import client_of
from tidemill.accounts.identities import Identity

ADDRESS = "/models/parcel-delay/silences"


def test_silences_in_force_and_ended_are_shown_with_what_they_match(browser, alert, add, make_silence, now):
    add(make_silence(), make_silence("old", ends_at=now - timedelta(minutes=1)), make_silence("x", "other"))
    twin = browser.get(f"/api/v1{ADDRESS}").json()
    assert [(one["id"], one["open"]) for one in twin["in_force"]] == [("silence_1", 1)]
    assert [one["id"] for one in twin["ended"]] == ["old"]
    page = browser.get(f"{ADDRESS}?alert=alert_1").text
    assert 'value="data_drift"' in page
    assert "kind=data_*" in page
    assert "<script>alert" not in page


def test_a_silence_begins_with_its_end_and_reason_and_is_ended(browser, alert, send, installation, now):
    page = send(ADDRESS, kind="data_*", others="team=ops", until="2h", reason="the feed moves").text
    assert "Silent until 2013-07-01 14:00 UTC" in page
    [found] = browser.get(f"/api/v1{ADDRESS}").json()["in_force"]
    assert found["matchers"] == {"kind": "data_*", "team": "ops"}
    assert found["author"] == installation.home.settings.who
    assert "has ended" in send(f"{ADDRESS}/{found['id']}/end").text
    assert browser.get(f"/api/v1{ADDRESS}").json()["in_force"] == []
    assert send(f"{ADDRESS}/{found['id']}/end").status_code == 422


@pytest.mark.parametrize(
    ("form", "said"),
    [
        ({"kind": "drfit", "until": "2h"}, "no kind of alert"),
        ({"severity": "loud", "until": "2h"}, "no severity"),
        ({"kind": "quality", "until": "soon"}, "not a moment"),
        ({"kind": "quality", "until": "999999d"}, "out of range"),
        ({"kind": "quality", "until": "2012-01-01"}, "is over"),
        ({"until": "2h"}, "needs labels"),
        ({"kind": "quality", "others": "kind=x", "until": "2h"}, "given twice"),
        ({"others": "team", "until": "2h"}, "not LABEL=PATTERN"),
        ({"kind": "quality", "until": "2h", "reason": ""}, "reason"),
    ],
)
def test_what_makes_no_silence_is_refused_with_the_reason(browser, send, form, said):
    answer = send(ADDRESS, **{"reason": "why not", **form})
    assert answer.status_code == 422
    assert said in answer.text
    assert browser.get(f"/api/v1{ADDRESS}").json()["in_force"] == []


def test_the_silence_of_another_model_is_not_ended(browser, add, make_silence, send):
    add(make_silence("x", "other"))
    answer = send(f"{ADDRESS}/x/end")
    assert (answer.status_code, "has no silence" in answer.text) == (404, True)


def test_a_data_scientist_may_acknowledge_but_not_silence(installation, add, make_silence):
    add(make_silence())
    person = Identity("person", "sam", {"parcels": frozenset({"data-scientist"})})
    with client_of(installation, person) as client:
        page = client.get(ADDRESS).text
        assert "Begin a silence" not in page
        assert "End now" not in page
        form = {"kind": "quality", "until": "2h", "reason": "x"}
        assert client.post(f"/api/v1{ADDRESS}", json=form).status_code == 403
