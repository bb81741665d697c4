from datetime import UTC, datetime, timedelta

import pytest

from tidemill.dashboard.error_pages import API
from tidemill.state.tables import Alert, KnownProject, MonitorRun, Promotion, ReplicaState, VersionCount

NOW = datetime(2013, 7, 1, 12, tzinfo=UTC)
MODEL = "parcel-delay"
EVIL = "<script>alert(1)</script>"
QUALITY = {"metric": "neg_mae", "value": -12.0, "standard_error": 0.5, "expected": -10.0, "decayed": True}
ESTIMATE = {"metric": "neg_mae", "value": -11.0, "low": -12.0, "high": -10.5, "decayed": False}


def run(model=MODEL, monitor="weekly", verdict="ok", results=None, at=NOW - timedelta(days=2)):
    return MonitorRun(
        id=f"mon_{model}_{monitor}",
        monitor=monitor,
        model=model,
        version="3",
        window_start=at,
        window_end=at,
        rows=900,
        labelled=800,
        verdict=verdict,
        results=results or {},
        report_path=None,
        at=at,
    )


def alert(model=MODEL, severity="warning", status="firing", **given):
    at = NOW - timedelta(days=2)
    return Alert(
        id=f"alert_{severity}_{status}_{model}",
        monitor="weekly",
        model=model,
        version="3",
        kind="data_drift",
        severity=severity,
        message=EVIL,
        details={},
        monitor_run_id=f"mon_{model}_weekly",
        status=status,
        raised_at=at,
        last_seen_at=at,
        found_in=1,
        **given,
    )


def move(model=MODEL, version="3", number=1):
    return Promotion(
        id=f"move_{model}_{number}",
        model=model,
        alias="champion",
        from_version=None,
        to_version=version,
        kind="promotion",
        status="done",
        actor="ada",
        reason="better",
        at=NOW - timedelta(days=9),
        requested_at=NOW - timedelta(days=9) + timedelta(hours=number),
    )


@pytest.fixture
def shown(installation, browser):
    """Write records, and return the fleet as JSON, and as a page."""

    def show(*rows):
        with installation.state.transaction() as session:
            for row in rows:
                session.add(row)
                session.flush()
        page, twin = browser.get("/"), browser.get(f"{API}/fleet")
        assert page.status_code == twin.status_code == 200, page.text
        assert EVIL not in page.text
        return twin.json()["models"], page.text

    return show


def test_a_model_is_seen_at_a_glance(shown):
    [one], page = shown(
        move(version="2"),
        move(number=2),
        run(verdict="alert", results={"quality": QUALITY, "estimated_quality": ESTIMATE}),
        alert(),
        alert(severity="critical"),
        alert(status="resolved"),
    )
    assert one["version"] == "3"
    assert one["risk"] == {"word": "critical", "why": f"data drift: {EVIL}"}
    assert one["alerts"] == {"critical": 1, "warning": 1}
    assert (one["quality"]["value"], one["estimate"]["value"], one["estimate"]["low"]) == (12.0, 11.0, 10.5)
    assert one["verdict"] == "alert"
    assert "1 critical, 1 warning" in page


@pytest.mark.parametrize(
    ("rows", "word"),
    [
        (lambda: [], "not serving"),
        (lambda: [move()], "unwatched"),
        (lambda: [move(), run(verdict="too_few")], "unwatched"),
        (lambda: [move(), run(verdict="failed", results={"error": "the log is gone"})], "unwatched"),
        (lambda: [move(), run()], "fine"),
        (lambda: [move(), run(), alert(status="acknowledged", acknowledged_by="ada")], "in hand"),
        (lambda: [move(), run(verdict="alert"), alert()], "at risk"),
    ],
)
def test_the_risk_is_one_word(shown, rows, word):
    [one], _ = shown(*rows())
    assert one["risk"]["word"] == word


def test_the_model_at_the_greatest_risk_is_first(shown):
    other = KnownProject(model="another", name="another", root="/gone", seen_at=NOW)
    found, _ = shown(move(), run(), other, move("another"), run("another", verdict="alert"), alert("another"))
    assert [one["model"] for one in found] == ["another", MODEL]
    assert found[0]["next"] is None


def count(replica, answered, failed=0, role="champion"):
    return VersionCount(
        replica=replica,
        model=MODEL,
        role=role,
        version="3",
        answered=answered,
        failed=failed,
        dropped=0,
        seconds={},
        error=None,
        seen_at=NOW,
    )


@pytest.mark.parametrize(("ago", "alive"), [(5, True), (3600, False)])
def test_traffic_is_that_of_the_latest_replicas(shown, ago, alive):
    seen = NOW - timedelta(seconds=ago)
    replicas = [
        ReplicaState(
            id=name, model=MODEL, version="3", wanted="3", error=None, lanes=[], loaded_at=seen, seen_at=at
        )
        for name, at in (("a", seen), ("b", seen), ("old", seen - timedelta(days=1)))
    ]
    [one], _ = shown(
        *replicas, count("a", 90, 10), count("b", 100), count("a", 50, role="shadow"), count("old", 999)
    )
    traffic = one["traffic"]
    assert (traffic["replicas"], traffic["answered"], traffic["failed"], traffic["alive"]) == (
        2,
        190,
        10,
        alive,
    )


def test_what_comes_next_is_the_earliest_of_monitors_policies_and_schedules(shown, folder, browser):
    (folder / "monitoring").mkdir()
    (folder / "monitoring" / "monitors.yaml").write_text(
        "monitors: [{name: weekly, window: 14d, every: 7d, data_drift: {}}]\n"
    )
    (folder / "monitoring" / "policies.yaml").write_text(
        'policies: [{name: monthly, any: [{cron: "0 6 15 7 *"}]}]\n'
    )
    (folder / "monitoring" / "schedules.yaml").write_text(
        "schedules: [{name: nightly, input: a.csv, output: 'b/{slot:%Y-%m-%d}', every: 7d, at: '13:00'}]\n"
    )
    [one], _ = shown(run(at=datetime(2013, 7, 1, tzinfo=UTC)))
    assert (one["next"]["what"], one["next"]["at"]) == ("batch scoring nightly", "2013-07-01T13:00:00Z")
    (folder / "monitoring" / "schedules.yaml").unlink()
    following = browser.get(f"{API}/fleet").json()["models"][0]["next"]
    assert (following["what"], following["at"], following["overdue"]) == (
        "monitor weekly",
        "2013-07-08T00:00:00Z",
        False,
    )
    (folder / "monitoring" / "monitors.yaml").write_text("monitors: 7\n")
    wrong = browser.get(f"{API}/fleet").json()["models"][0]["next"]
    assert "declarations are wrong" in wrong["what"]
    (folder / "monitoring" / "monitors.yaml").unlink()
    last = browser.get(f"{API}/fleet").json()["models"][0]["next"]
    assert (last["what"], last["at"]) == ("policy monthly", "2013-07-15T06:00:00Z")


def test_a_monitor_that_has_not_run_for_long_is_overdue(shown, folder):
    (folder / "monitoring").mkdir()
    (folder / "monitoring" / "monitors.yaml").write_text(
        "monitors: [{name: weekly, window: 14d, every: 7d, data_drift: {}}]\n"
    )
    [one], page = shown(run(at=datetime(2013, 6, 3, tzinfo=UTC)))
    assert (one["next"]["at"], one["next"]["overdue"]) == ("2013-06-10T00:00:00Z", True)
    assert "overdue" in page


def test_a_model_whose_alerts_are_too_many_to_read_is_not_fine(shown, monkeypatch):
    monkeypatch.setattr("tidemill.dashboard.records.fleet_records._MOST", 1)
    other = KnownProject(model="another", name="another", root="/gone", seen_at=NOW)
    later = alert("another", severity="critical")
    later.raised_at = NOW
    found, _ = shown(move(), run(), alert(), other, move("another"), run("another"), later)
    assert [(one["model"], one["risk"]["word"]) for one in found] == [
        ("another", "critical"),
        (MODEL, "at risk"),
    ]
    assert found[1]["risk"]["why"] == "1 open alert"
