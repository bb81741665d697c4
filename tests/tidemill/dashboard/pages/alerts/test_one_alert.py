from datetime import timedelta

import pytest
from typer.testing import CliRunner

from tests.tidemill.dashboard.test_door import client_of
from tidemill.accounts.identities import Identity
from tidemill.cli.main import app
from tidemill.state.tables import PolicyDecision

ADDRESS = "/models/parcel-delay/alerts/alert_1"


def test_the_page_has_evidence_steps_messages_and_what_the_loop_did(
    browser, alert, add, step, make_message, now
):
    add(
        step("alert_1", "comment", "ada", comment="the <feed> is late"),
        make_message("n1"),
        PolicyDecision(
            id="d1",
            model="parcel-delay",
            policy="keep-fresh",
            verdict="hold",
            episode="e",
            cause="c",
            cause_message="drift",
            reason="cooling down",
            alert_id="alert_1",
            first_at=now,
            last_at=now,
            rounds=3,
        ),
    )
    page = browser.get(ADDRESS).text
    for said in (
        "the &lt;feed&gt; is late",
        "ada",
        "silenced &lt;script&gt;",
        "cooling down",
        "keep-fresh",
        "50 %",
    ):
        assert said in page
    assert "<script>alert" not in page
    assert 'href="/models/parcel-delay/windows/run_1"' in page
    assert page.count('role="img"') == 1  # the histogram: one run alone makes no line
    twin = browser.get(f"/api/v1{ADDRESS}").json()
    assert twin["answers"][0]["rounds"] == 3
    assert twin["evidence"]["labelled"] == 100
    assert "no monitoring/routes.yaml" in twin["routing"]["withheld"]


def test_what_was_done_before_it_was_reopened_stands_under_its_opening_before(
    browser, alert, add, step, now, folder
):
    done = ("comment", "it is mended"), ("resolved", None), ("reopened", None), ("acknowledged", "again")
    for hours, (what, said) in enumerate(done, 1):
        add(step("alert_1", what, "ada", comment=said, at=now + timedelta(hours=hours)))
    page = browser.get(ADDRESS).text
    said = "Since it was reopened", "again<", "In its opening before", "it is mended<"
    places = [page.index(each) for each in said]
    assert places == sorted(places)
    steps = browser.get(f"/api/v1{ADDRESS}").json()["evidence"]["steps"]
    assert [one["opening"] for one in steps if one["comment"]] == [1, 2]
    shown = CliRunner().invoke(app, ["alerts", "show", "alert_1", "-p", str(folder)])
    words = [" ".join(part.split()) for part in shown.output.split("\n\n")]
    assert [one.partition(" 20")[0] for one in words if one.startswith("steps")] == [
        "steps since it was reopened", "steps of its opening before, from",
    ]  # fmt: skip


def test_an_alert_of_skew_names_what_was_served_otherwise(browser, add, make_run, make_alert):
    run, cause = make_run(), {"name": "late data", "rows": 90, "view": "weather", "evidence": "e"}
    wind = {"feature": "<wind>", "rows": 900, "share": 0.1, "mean_difference": None, "causes": [cause]}
    run.results = run.results | {"feature_skew": {"skewed": ["<wind>"], "features": [wind]}}
    add(run, make_alert(kind="feature_skew", details={"skewed": [{"feature": "<wind>"}]}))
    page = browser.get(ADDRESS).text
    assert "Features served otherwise" in page
    assert "&lt;wind&gt;</strong>, 10.0% of 900 rows differ; likely: late data (weather)" in page


def test_examples_and_the_report_are_a_click_away_for_who_may_read_them(
    installation, browser, add, make_run, make_alert
):
    run = make_run(report_path=".tidemill/reports/r.html")
    run.results = run.results | {"examples": {"data_drift": ["pred_1"]}}
    add(run, make_alert())
    page = browser.get(ADDRESS).text
    assert 'href="/models/parcel-delay/predictions/pred_1"' in page
    assert 'href="/models/parcel-delay/windows/run_1/report"' in page
    with client_of(installation, Identity("person", "eve", {"parcels": frozenset({"viewer"})})) as viewer:
        seen = viewer.get(ADDRESS).text
    assert "<code>pred_1</code>" in seen
    assert "/predictions/pred_1" not in seen


def test_an_alert_of_another_model_or_none_is_not_found(browser, alert, add, make_run, make_alert):
    add(make_run("run_2", "other"), make_alert("foreign", "other", monitor_run_id="run_2"))
    assert browser.get("/models/parcel-delay/alerts/foreign").status_code == 404
    assert browser.get("/models/parcel-delay/alerts/none").status_code == 404


def test_a_project_whose_folder_is_away_still_shows_its_alert(browser, alert, folder):
    (folder / "params.yaml").unlink()
    answer = browser.get(ADDRESS)
    assert answer.status_code == 200
    assert "is not on this machine" in answer.text


def test_it_is_acknowledged_and_the_second_person_is_told_who_was_first(
    browser, alert, send, installation, now
):
    page = send(f"{ADDRESS}/acknowledge", comment="on it").text
    who = installation.home.settings.who
    assert f"<strong>{who}</strong> has it" in page
    assert "on it" in page
    installation.clock.advance_to(now + timedelta(minutes=3))
    again = send(f"{ADDRESS}/acknowledge", comment="me too").text
    assert f"{who} acknowledged it before, at 2013-07-01 12:00 UTC, your comment is added" in again
    assert browser.get(f"/api/v1{ADDRESS}").json()["alert"]["acknowledged_by"] == who


def test_it_is_commented_on_resolved_and_then_somebody_was_first(browser, alert, send, installation):
    assert "a holiday" in send(f"{ADDRESS}/comment", comment="a holiday").text
    assert send(f"{ADDRESS}/comment", comment="").status_code == 422
    assert "is resolved" in send(f"{ADDRESS}/resolve", comment="mended").text
    late = send(f"{ADDRESS}/resolve")
    assert late.status_code == 409
    assert f"{installation.home.settings.who} was first" in late.text


def test_it_is_marked_as_noise_with_a_reason_only(alert, send, browser):
    assert send(f"{ADDRESS}/noise", comment=" ").status_code == 422
    assert "Marked as noise" in send(f"{ADDRESS}/noise", comment="a feast day").text
    steps = browser.get(f"/api/v1{ADDRESS}").json()["evidence"]["steps"]
    assert [(one["step"], one["comment"]) for one in steps] == [("noise", "a feast day")]
    assert "It was no noise" in browser.get(ADDRESS).text
    assert "marked as noise no more" in send(f"{ADDRESS}/unmark", comment="it was real").text
    assert "It was no noise" not in browser.get(ADDRESS).text


def test_a_pending_alert_cannot_be_acknowledged(browser, add, make_run, make_alert, send):
    add(make_run(), make_alert(status="pending", fired_at=None))
    assert "must find it again" in browser.get(ADDRESS).text
    assert send(f"{ADDRESS}/acknowledge").status_code == 409


@pytest.mark.parametrize("act", ["acknowledge", "comment", "resolve", "noise"])
def test_a_viewer_sees_no_button_and_may_do_nothing(installation, alert, act):
    viewer = Identity("person", "eve", {"parcels": frozenset({"viewer"})})
    with client_of(installation, viewer) as client:
        assert "<textarea" not in client.get(ADDRESS).text
        assert client.post(f"/api/v1{ADDRESS}/{act}", json={"comment": "x"}).status_code == 403
        assert client.get(f"/api/v1{ADDRESS}").json()["alert"]["status"] == "firing"


def test_an_act_upon_another_models_alert_is_not_found(alert, add, make_run, make_alert, send, browser):
    add(make_run("run_2", "other"), make_alert("foreign", "other", monitor_run_id="run_2"))
    assert send("/models/parcel-delay/alerts/foreign/acknowledge").status_code == 404
