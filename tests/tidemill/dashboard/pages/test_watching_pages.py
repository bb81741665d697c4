import json
import re
from datetime import UTC, datetime, timedelta
from urllib.parse import quote

import pytest
from markupsafe import escape

from tidemill.dashboard.error_pages import API
from tidemill.state.tables import Alert, KnownProject, MonitorRun, Promotion

DAY = datetime(2013, 4, 1, tzinfo=UTC)
MODEL = "parcel-delay"
EVIL = "<script>alert(1)</script>"
ODD = "a/b?c#d"


def column(name, value=0.3, **given):
    return {
        "name": name,
        "method": "wasserstein",
        "value": value,
        "threshold": 0.1,
        "drifted": True,
        "reference_mean": 1.0,
        "current_mean": 2.0,
        "reference_missing": 0.0,
        "current_missing": 0.25,
        "note": None,
        "broken": None,
        **given,
    }


def drift(*columns):
    return {"share": 0.5, "threshold": 0.3, "drifted": ["weight"], "broken": [], "columns": list(columns)}


QUALITY = {
    "binary": {"metric": "roc_auc", "value": 0.7, "standard_error": 0.01, "expected": 0.75, "max_drop": 0.03},
    "multiclass": {
        "metric": "neg_log_loss",
        "value": -0.4,
        "standard_error": 0.01,
        "expected": -0.3,
        "max_drop": 0.1,
    },
    "regression": {
        "metric": "neg_mae",
        "value": -12.0,
        "standard_error": 0.5,
        "expected": -10.0,
        "max_drop": 1.0,
    },
    "custom": {
        "metric": "metrics:profit",
        "value": 140.0,
        "standard_error": None,
        "expected": None,
        "max_drop": None,
    },
}


def run(number, verdict="alert", results=None, **given):
    end = DAY + timedelta(days=7 * number)
    fields = {
        "id": f"mon_{number:06d}",
        "monitor": "weekly",
        "model": MODEL,
        "version": "3",
        "window_start": end - timedelta(days=7),
        "window_end": end,
        "rows": 900,
        "labelled": 800,
        "verdict": verdict,
        "results": {} if results is None else results,
        "report_path": None,
        "at": end,
    }
    return MonitorRun(**{**fields, **given})


def alert(number, **given):
    at = DAY + timedelta(days=7 * number)
    fields = {
        "id": f"alert_{number}",
        "monitor": "weekly",
        "model": MODEL,
        "version": "3",
        "kind": "data_drift",
        "severity": "warning",
        "message": f"drift {EVIL}",
        "details": {},
        "monitor_run_id": f"mon_{number:06d}",
        "status": "firing",
        "raised_at": at,
        "last_seen_at": at,
        "found_in": 2,
    }
    return Alert(**{**fields, **given})


@pytest.fixture
def record(installation):
    """Write records."""

    def write(*rows):
        with installation.state.transaction() as session:
            for row in rows:
                session.add(row)
                session.flush()

    return write


def seen(browser, path):
    """Return a page and its twin, after checking what holds for all."""
    page, twin = browser.get(path), browser.get(API + path)
    assert page.status_code == twin.status_code == 200, page.text
    assert EVIL not in page.text
    assert "style=" not in page.text
    return page.text, twin.json()


def test_a_model_without_a_monitor_says_what_to_do(browser):
    page, twin = seen(browser, f"/models/{MODEL}")
    assert "tidemill monitor run" in page
    assert (twin["version"], twin["windows"]) == (None, [])


@pytest.mark.parametrize("task", QUALITY)
def test_the_quality_of_every_task_is_shown_as_people_name_it(browser, record, task):
    record(
        run(
            1,
            results={
                "quality": {**QUALITY[task], "decayed": False, "note": None},
                "data_drift": drift(column("weight")),
            },
        )
    )
    page, twin = seen(browser, f"/models/{MODEL}")
    [line] = twin["windows"]
    [picture] = twin["quality"]
    shown = {
        "binary": ("roc_auc", 0.7, 0.75, 0.72, "higher is better"),
        "multiclass": ("log_loss", 0.4, 0.3, 0.4, "lower is better"),
        "regression": ("mae", 12.0, 10.0, 11.0, "lower is better"),
        "custom": ("profit", 140.0, None, None, "higher is better"),
    }[task]
    quality = line["quality"]
    assert (quality["metric"], quality["value"], quality["expected"]) == shown[:3]
    assert quality["limit"] == (None if shown[3] is None else pytest.approx(shown[3]))
    assert picture["better"] == shown[4]
    assert quality["low"] is None or quality["low"] < quality["value"] < quality["high"]
    assert f"Quality: {shown[0]}" in page


def test_estimates_stand_beside_with_their_interval_and_what_speaks_against_them(browser, record):
    estimate = {
        "metric": "neg_mae",
        "value": -11.0,
        "low": -12.0,
        "high": -10.0,
        "expected": -10.0,
        "max_drop": 1.0,
        "decayed": None,
        "note": "15% of the rows are unlike any row of the training set",
    }
    record(run(1, results={"estimated_quality": estimate}))
    page, twin = seen(browser, f"/models/{MODEL}")
    figure = twin["windows"][0]["estimate"]
    assert (figure["value"], figure["low"], figure["high"]) == (11.0, 10.0, 12.0)
    assert figure["doubt"].startswith("15% of the rows")
    assert "mark first hollow" in page


def test_a_window_that_a_version_shared_is_partial(browser, record):
    quality = {**QUALITY["binary"], "decayed": False}
    record(
        run(1, results={"quality": quality, "rows_by_version": {"2": 600, "3": 300}}),
        run(2, results={"quality": quality, "rows_by_version": {"3": 900}}, labelled=300),
        run(3, results={"quality": quality, "rows_by_version": {"3": 900}}),
    )
    _, twin = seen(browser, f"/models/{MODEL}")
    doubts = [line["quality"]["doubt"] for line in twin["windows"]]
    assert doubts == [
        None,
        "partial: the labels of 300 of 900 predictions are known",
        "partial: 300 of 900 predictions are by version 3",
    ]
    assert twin["traffic"][0]["counts"] == {"version 2": 600.0, "version 3": 300.0}


def test_predictions_are_shown_by_their_middle_range_or_mean_and_by_class(browser, record):
    means = {"current_mean": 0.3, "reference_mean": 0.2}
    quantiles = {"0.05": 0.1, "0.5": 0.25, "0.95": 0.6}
    answers = {"quantiles_now": quantiles, "classes_now": {EVIL: 0.75, "b": 0.25}}
    record(
        run(1, results={"prediction_drift": means}),
        run(2, results={"prediction_drift": means, "answers": answers}),
    )
    page, twin = seen(browser, f"/models/{MODEL}")
    now, before = (each["points"] for each in twin["answers"])
    assert [(one["value"], one["low"], one["high"]) for one in now] == [(0.3, None, None), (0.25, 0.1, 0.6)]
    assert [one["value"] for one in before] == [0.2, 0.2]
    assert twin["classes"][0]["counts"] == {EVIL: 75.0, "b": 25.0}
    assert "Predicted classes over time" in page
    legends = re.findall(r'class="part (part-\d)"/></svg> ([^<]+)</li>', page)
    assert legends == [("part-0", str(escape(EVIL))), ("part-1", "b")], (
        "of the classes; of one version there is none"
    )


def test_features_are_ordered_by_impact_and_a_column_leads_to_its_window(browser, record):
    columns = [
        column("wide", 5.0, impact=0.1),
        column("weight", 0.2, impact=2.0),
        column(EVIL, 0.01, drifted=False),
    ]
    record(
        run(1, results={"data_drift": drift(*columns)}),
        run(2, verdict="failed", results={"error": EVIL, "hint": "h"}),
    )
    page, twin = seen(browser, f"/models/{MODEL}")
    assert [row["name"] for row in twin["drift"]["rows"]] == ["weight", "wide", EVIL]
    assert len(twin["drift"]["columns"]) == 1
    assert f'<a href="/models/{MODEL}/windows/mon_000001"' in page


def test_what_happened_is_marked_on_the_axis(browser, record):
    move = Promotion(
        id="move_1",
        model=MODEL,
        alias="champion",
        from_version="2",
        to_version="3",
        kind="promotion",
        status="done",
        actor="ada",
        reason=EVIL,
        at=DAY + timedelta(days=8),
        requested_at=DAY,
    )
    record(run(1), run(2), alert(2), move)
    page, twin = seen(browser, f"/models/{MODEL}")
    assert [event["kind"] for event in twin["events"]] == ["alert", "promotion"]
    assert twin["version"] == "3"
    assert f'href="/models/{MODEL}/alerts/alert_2"' in page


def test_a_range_and_pages_choose_windows_in_the_records(browser, record):
    record(*(run(number) for number in range(1, 131)))
    newest = browser.get(f"{API}/models/{MODEL}").json()
    assert (len(newest["windows"]), newest["total"], newest["windows"][0]["id"]) == (60, 130, "mon_000130")
    oldest = browser.get(f"{API}/models/{MODEL}?page=3").json()
    assert [len(oldest["windows"]), oldest["windows"][-1]["id"]] == [10, "mon_000001"]
    some = browser.get(f"{API}/models/{MODEL}?from=2013-04-08&to=2013-04-15").json()
    assert [one["id"] for one in some["windows"]] == ["mon_000002", "mon_000001"]
    assert browser.get(f"/models/{MODEL}?from=&to=").status_code == 200
    for wrong in ("from=yesterday", "from=2013-05-01&to=2013-04-01", "page=0", "page=4"):
        assert browser.get(f"/models/{MODEL}?{wrong}").status_code == 422


def test_a_window_that_was_judged_again_is_drawn_once(browser, record):
    results = {"data_drift": drift(column("weight"))}
    record(run(1, results=results), run(2, results=results), run(2, results=results, id="mon_999999"))
    _, twin = seen(browser, f"/models/{MODEL}")
    assert len(twin["windows"]) == 3
    hrefs = [one["href"].rpartition("/")[2] for one in twin["drift"]["columns"]]
    assert hrefs == ["mon_000001", "mon_999999"]
    assert twin["monitors"] == ["weekly"]


def test_the_monitor_is_chosen_that_knows_of_quality_or_that_was_asked_for(browser, record):
    record(
        run(1, results={"quality": {**QUALITY["binary"], "decayed": False}}),
        run(9, monitor="daily", results={"health": {}}),
        run(10, monitor="elsewhere", verdict="external"),
    )
    twin = browser.get(f"{API}/models/{MODEL}").json()
    assert (twin["monitor"], twin["monitors"]) == ("weekly", ["daily", "weekly"])
    assert browser.get(f"{API}/models/{MODEL}?monitor=daily").json()["monitor"] == "daily"


FOUND = {
    "data_drift": drift(
        column("weight", impact=1.0), column(EVIL, None, note="not in the window", broken="gone")
    ),
    "quality": {**QUALITY["binary"], "decayed": True, "drop": 0.05},
    "findings": [
        {"kind": "data_drift", "message": f"1 of 2 features: {EVIL}"},
        {"kind": "quality", "message": "roc_auc is 0.7"},
    ],
    "unjudged": {"feature_skew": "no row to compare"},
    "sample": {"reference_rows": 10000, "current_rows": 900},
    "histograms": {"weight": {"bins": ["0 to 1", "1 to 2"], "before": [0.4, 0.6], "now": [0.9, 0.1]}},
    "slice_quality": {
        "slices": [
            {
                "name": f"carrier = {EVIL}",
                "rows": 80,
                "metric": "roc_auc",
                "value": 0.6,
                "expected": 0.7,
                "rest": 0.8,
                "p_value": 0.003,
                "decayed": True,
            }
        ]
    },
    "examples": {"data_drift": ["pred_1", EVIL]},
    "warnings": [EVIL],
}


def test_a_window_says_why_in_three_parts(browser, record):
    record(run(1), run(2, results=FOUND), run(3), alert(2))
    page, twin = seen(browser, f"/models/{MODEL}/windows/mon_000002")
    kinds = {one["kind"]: one for one in twin["kinds"]}
    assert [one["state"] for one in twin["kinds"]] == ["alert", "alert", "not judged"]
    assert kinds["data_drift"]["effect"] == "50% of the features, alert at 30%"
    assert kinds["data_drift"]["chance"].startswith("900 rows beside 10,000")
    assert kinds["data_drift"]["persistence"] == "found in 2 runs in a row since 2013-04-15 00:00 UTC"
    assert kinds["quality"]["chance"] == "5.0 standard errors from the hold-out; 2.3 are needed"
    assert kinds["quality"]["effect"] == "roc_auc 0.7, alert at 0.72"
    assert [one["state"] for one in twin["features"]] == ["drifted", "broken"]
    assert (
        twin["slices"][0]["said"] == "roc_auc 0.6; 0.7 there on the hold-out; 0.8 in all other rows (p 0.003)"
    )
    assert (twin["before"], twin["after"]) == (
        f"/models/{MODEL}/windows/mon_000001",
        f"/models/{MODEL}/windows/mon_000003",
    )
    assert f'href="/models/{MODEL}/alerts/alert_2"' in page
    assert "Distribution of weight" in page
    assert "--report" in page


@pytest.mark.parametrize(
    ("verdict", "results", "said"),
    [
        ("failed", {"error": f"the log is gone {EVIL}", "hint": "restore it"}, "restore it"),
        ("missed", {"error": "3 runs were missed"}, "3 runs were missed"),
        ("too_few", {"min_rows": 500}, "500 are needed"),
        ("ok", {}, "Nothing is on record"),
        (
            "ok",
            {"data_drift": {"columns": None}, "histograms": {"a": {"bins": ["x"]}}, "slice_quality": None},
            "Verdict",
        ),
    ],
)
def test_a_window_shows_what_there_is(browser, record, verdict, results, said):
    record(run(1, verdict=verdict, results=results))
    page, _ = seen(browser, f"/models/{MODEL}/windows/mon_000001")
    assert said in page


def test_a_window_of_another_model_is_not_there(browser, record, installation):
    record(
        KnownProject(model="other", name="secret", root="/x", seen_at=installation.clock.now()),
        run(1, model="other"),
    )
    for path in (f"/models/{MODEL}/windows/mon_000001", f"/models/{MODEL}/windows/mon_000001/report"):
        answer = browser.get(path)
        assert answer.status_code == 404
        assert "there is no window" in answer.text


def test_a_report_cannot_act_as_the_visitor(browser, record, folder):
    path = ".tidemill/reports/weekly/report.html"
    (folder / path).parent.mkdir(parents=True)
    (folder / path).write_text("<script>1</script>")
    record(run(1, report_path=path))
    answer = browser.get(f"/models/{MODEL}/windows/mon_000001/report")
    assert (answer.status_code, answer.text) == (200, "<script>1</script>")
    policy = answer.headers["content-security-policy"].split("; ")
    assert "sandbox allow-scripts" in policy
    assert "default-src 'none'" in policy
    assert answer.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize(
    "path",
    [
        None,
        ".tidemill/reports/gone.html",
        "../outside.html",
        "inside.html",
        ".tidemill/reports/../../inside.html",
        ".tidemill/reports/linked.html",
        ".tidemill/reports/elsewhere/inside.html",
        ".tidemill/reports/run.json",
        ".tidemill/reports",
    ],
)
def test_what_is_no_report_is_not_given_out_as_one(browser, record, folder, path):
    for place in (folder.parent / "outside.html", folder / "inside.html"):
        place.write_text("not ours")
    reports = folder / ".tidemill" / "reports"
    reports.mkdir(parents=True)
    (reports / "run.json").write_text("not ours")
    (reports / "linked.html").symlink_to(folder / "inside.html")
    (reports / "elsewhere").symlink_to(folder)
    record(run(1, report_path=path))
    answer = browser.get(f"/models/{MODEL}/windows/mon_000001/report")
    assert answer.status_code == 404
    assert "tidemill monitor run weekly --as-of 2013-04-08T00:00:00+00:00 --report" in answer.text
    assert "not ours" not in answer.text


@pytest.mark.parametrize("name", ["weight", EVIL, ODD, "ünïcode name", "100%", "a//b", "x/report"])
def test_a_feature_of_any_name_has_an_address(browser, record, name):
    record(run(1, results={"data_drift": drift(column(name))}))
    link = f"/models/{MODEL}/features/{quote(name, safe='')}"
    assert f'href="{link}"' in browser.get(f"/models/{MODEL}").text
    _, twin = seen(browser, link)
    assert twin["feature"] == name
    [window] = twin["windows"]
    assert (window["line"]["mean_now"], window["line"]["missing_now"]) == (2.0, 0.25)


def test_a_feature_shows_how_it_was_served_and_who_else_uses_it(browser, record, installation):
    skew = {
        "threshold": 0.01,
        "reaches": {"depot": "2013-04-07T00:00:00+00:00"},
        "features": [
            {
                "feature": "weight",
                "view": "depot",
                "rows": 800,
                "differing": 8,
                "not_comparable_yet": 100,
                "share": 0.01,
            }
        ],
    }
    stale = {
        "views": {"depot": 0.02},
        "newest": [{"view": "depot", "state": "fresh", "age_seconds": 7200.0, "ttl_seconds": 86400.0}],
    }
    results = {
        "data_drift": drift(column("weight")),
        "feature_skew": skew,
        "staleness": stale,
        "histograms": FOUND["histograms"],
    }
    record(
        run(1, results=results),
        run(2, results={"data_drift": drift(column("weight"))}),
        KnownProject(model="other", name="parcels", root="/x", seen_at=installation.clock.now()),
        run(3, model="other", results={"data_drift": drift(column("weight"))}),
    )
    page, twin = seen(browser, f"/models/{MODEL}/features/weight")
    assert (twin["skew"]["share"], twin["skew"]["rows"]) == (0.01, 800)
    assert (twin["freshness"]["age_seconds"], twin["freshness"]["expired"]) == (7200.0, 0.02)
    assert [user["model"] for user in twin["users"]] == ["other"]
    assert twin["histogram"]["href"].endswith("mon_000001")
    assert "2 hours old" in page


def test_a_feature_that_requests_bring_has_no_age_and_nothing_to_compare(browser, record):
    skew = {"features": [{"feature": "weight", "view": "sizes", "rows": 0, "brought": 1200}]}
    stale = {"views": {}, "newest": [{"view": "sizes", "state": "request", "age_seconds": None}]}
    results = {"data_drift": drift(column("weight")), "feature_skew": skew, "staleness": stale}
    record(run(1, results=results))
    page, twin = seen(browser, f"/models/{MODEL}/features/weight")
    assert (twin["skew"]["brought"], twin["freshness"]["state"]) == (1200, "request")
    assert "Nothing to compare: 1,200 requests brought the value" in page
    assert "it comes in the request, so it has no age" in page


def test_a_feature_that_nothing_measured_is_not_found(browser, record):
    record(run(1, results={"data_drift": drift(column("weight"))}))
    answer = browser.get(f"{API}/models/{MODEL}/features/colour")
    assert answer.status_code == 404
    assert answer.json()["error"]["code"] == "window_not_found"


def test_the_twins_are_json_of_plain_values(browser, record):
    record(run(1, results=FOUND))
    text = browser.get(f"{API}/models/{MODEL}").text
    assert json.loads(text)["windows"][0]["drifted"] == 0.5


def test_a_champion_that_was_put_there_past_tidemill_is_said(browser, record):
    given = {"model": MODEL, "alias": "champion", "status": "done", "at": DAY, "requested_at": DAY}
    why = f"without gate {EVIL}"
    record(Promotion(id="move_1", to_version="4", kind="outside", actor="registry", reason=why, **given))
    page, twin = seen(browser, f"/models/{MODEL}")
    assert "It was put there past Tidemill" in page
    assert (twin["version"], twin["outside"]) == ("4", why)
    later = {**given, "requested_at": DAY + timedelta(days=1)}
    record(Promotion(id="move_2", to_version="3", kind="rollback", actor="ada", reason="back", **later))
    page, twin = seen(browser, f"/models/{MODEL}")
    assert ("past Tidemill" in page, twin["outside"]) == (False, None)
