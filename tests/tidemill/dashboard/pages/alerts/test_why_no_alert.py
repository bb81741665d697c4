from datetime import timedelta

MONITORS = """
monitors:
  - {name: weekly, every: 7d, window: 7d, quality: {max_drop: 0.05}}
  - {name: hourly, every: 1h, window: 7d, quality: {max_drop: 0.05}}
"""
ADDRESS = "/models/parcel-delay/why-no-alert"


def test_each_monitor_says_what_it_measured_and_which_never_ran(browser, folder, alert, add, make_run, now):
    (folder / "monitoring").mkdir()
    (folder / "monitoring" / "monitors.yaml").write_text(MONITORS)
    add(
        make_run("older", at=now - timedelta(days=9)),
        make_run("few", monitor="late", verdict="too_few", rows=3),
    )
    twin = browser.get(f"/api/v1{ADDRESS}").json()
    assert twin["problem"] is None
    by_name = {one["monitor"]: one for one in twin["monitors"]}
    assert by_name["weekly"]["run_id"] == "run_1"
    assert {one["kind"]: one["state"] for one in by_name["weekly"]["kinds"]} == {
        "data_drift": "alert",
        "quality": "not_judged",
    }
    assert by_name["hourly"]["run_id"] is None
    assert "never run" in by_name["hourly"]["missed"]
    assert "declares it no more" in by_name["late"]["missed"]
    assert by_name["late"]["kinds"][0]["state"] == "too_few"
    assert "3 predictions" in by_name["late"]["kinds"][0]["said"]
    assert "12 labels, 500 are needed" in browser.get(ADDRESS).text


def test_a_monitor_that_is_late_is_said_to_be(browser, folder, add, make_run, now):
    (folder / "monitoring").mkdir()
    (folder / "monitoring" / "monitors.yaml").write_text(MONITORS)
    add(make_run(at=now - timedelta(days=15)), make_run("fresh", monitor="hourly", at=now))
    late = {one["monitor"]: one["missed"] for one in browser.get(f"/api/v1{ADDRESS}").json()["monitors"]}
    assert "every 7 days" in late["weekly"]
    assert late["hourly"] is None


def test_an_open_alert_that_is_silenced_is_named_with_the_reason(browser, folder, alert, add, make_silence):
    (folder / "monitoring").mkdir()
    (folder / "monitoring" / "routes.yaml").write_text(
        "receivers: [{name: pager, url_env: PAGER}]\nroutes: [{receivers: [pager]}]\n"
    )
    assert browser.get(f"/api/v1{ADDRESS}").json()["quiet"] == []
    add(make_silence())
    [quiet] = browser.get(f"/api/v1{ADDRESS}").json()["quiet"]
    assert quiet["id"] == "alert_1"
    assert quiet["why"].startswith("silenced by ada")


def test_declarations_that_are_wrong_hide_no_measurement(browser, folder, alert):
    (folder / "monitoring").mkdir()
    (folder / "monitoring" / "monitors.yaml").write_text("monitors: 3\n")
    answer = browser.get(ADDRESS)
    assert answer.status_code == 200
    assert "monitors.yaml" in answer.text
    assert "data drift" in answer.text


def test_messages_that_were_not_sent_have_their_reasons(browser, alert, add, make_message):
    add(make_message("n1"), make_message("n2", status="failed", reason=None, error="no answer", attempts=5))
    add(make_message("n3", status="sent"))
    twin = browser.get("/api/v1/models/parcel-delay/unsent").json()
    assert {(one["status"], one["why"][:8], one["attempts"]) for one in twin["messages"]} == {
        ("withheld", "silenced", 0),
        ("failed", "no answe", 5),
    }
    page = browser.get("/models/parcel-delay/unsent").text
    assert "5 attempts" in page
    assert "<script>alert" not in page
