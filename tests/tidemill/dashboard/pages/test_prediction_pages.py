import json
import re
import threading
from datetime import timedelta

import pytest
from markupsafe import escape

from tests.tidemill.prediction_log.log_records import NOON, label, record
from tidemill.dashboard.door import door
from tidemill.dashboard.records import prediction_reading
from tidemill.prediction_log.prediction_log import PredictionLog

pytestmark = pytest.mark.slow

NASTY = "<img src=x onerror=alert(1)>"


@pytest.fixture
def logged(installation):
    """Sixty predictions, and one with texts to be escaped, two labels, and a score that is not a number."""
    log = PredictionLog(installation.home.predictions, "parcel-delay")
    for number in range(60):
        log.append([record(f"p{number:02d}", NOON + timedelta(minutes=number), model="parcel-delay")])
    strange = {"instance": {"rider": NASTY, NASTY: 1}, "decision": {"risk": NASTY}, "flags": (NASTY,)}
    last = record("p60", NOON + timedelta(hours=2), model="parcel-delay", score=float("nan"), **strange)
    log.append([last])
    log.append_labels([label("p60", 0, NOON), label("p60", 1, NOON + timedelta(hours=1))])
    log.close()


def test_the_list_goes_back_page_by_page(browser, logged):
    page = browser.get("/models/parcel-delay/predictions")
    assert page.status_code == 200
    assert NASTY not in page.text
    first = browser.get("/api/v1/models/parcel-delay/predictions").json()
    names = [one["prediction_id"] for one in first["predictions"]]
    assert names == [f"p{number:02d}" for number in range(60, 10, -1)]
    assert first["predictions"][0]["score"] is None
    again = browser.get(
        "/api/v1/models/parcel-delay/predictions", params={"after": first["following"]}
    ).json()
    assert [one["prediction_id"] for one in again["predictions"]][-1] == "p00"
    assert again["following"] is None


def test_the_list_is_chosen_by_id_flag_and_day(browser, logged):
    def found(**query):
        answer = browser.get("/api/v1/models/parcel-delay/predictions", params=query)
        return len(answer.json()["predictions"]) if answer.status_code == 200 else answer.status_code

    assert found(id="p07") == 1
    assert found(id="nothing") == 0
    assert found(flag=NASTY) == 1
    assert found(version="9") == 0
    assert found(first="2013-04-01", last="2013-04-01") == 50
    assert found(first="2013-04-02", last="") == 0
    assert found(first="9999-12-31", last="9999-12-31") == 0
    assert found(first="yesterday") == 422
    assert found(after="nonsense") == 422


def test_one_shows_request_features_and_the_label_that_counts(browser, logged):
    page = browser.get("/models/parcel-delay/predictions/p60").text
    assert NASTY not in page
    assert "&lt;img src=x" in page
    assert "1, known at 2013-04-01 13:00" in page
    found = browser.get("/api/v1/models/parcel-delay/predictions/p07").json()
    assert (found["features"], found["labels"]) == ({"wind": "8", "visibility": "not known"}, [])
    missing = browser.get("/api/v1/models/parcel-delay/predictions/p99")
    assert (missing.status_code, missing.json()["error"]["code"]) == (404, "prediction_not_found")


def test_a_label_of_a_class_is_told_by_its_name(browser, installation, folder):
    (folder / "params.yaml").write_text(
        "project: {name: parcels, model: parcel-delay}\nfeatures: {from: request}\n"
        'dataset: {path: data/rows.parquet, label: late, classes: ["no", "yes"], positive: "yes"}\n'
    )
    log = PredictionLog(installation.home.predictions, "parcel-delay")
    log.append([record("p1", model="parcel-delay")])
    log.append_labels([label("p1", 0, NOON)])
    log.close()
    assert "<dd>no, known at" in browser.get("/models/parcel-delay/predictions/p1").text


TASKS = {
    "binary": ("label: late", {"score": 0.25}, "probability 0.25"),
    "multiclass": (
        f'label: x, classes: [a, "{NASTY}"]',
        {"score": 0.7, "answer": json.dumps({"a": 0.3, NASTY: 0.7})},
        f"class {NASTY} (0.7)",
    ),
    "regression": ("label: x", {"score": 245.3333}, "value 245.3"),
    "custom": ("label: x", {"score": None, "answer": '{"q10": 51.23456}'}, '{"q10": 51.23}'),
}


@pytest.mark.parametrize("task", TASKS)
def test_an_answer_is_shown_in_the_words_of_its_task(browser, installation, folder, task):
    dataset, logged, said = TASKS[task]
    own = ", training: a:b" if task == "custom" else ""
    metric = 'train: {metric: "no.such:metric"}' if task == "custom" else ""
    (folder / "params.yaml").write_text(
        f"project: {{name: parcels, model: parcel-delay, task: {task}{own}}}\n"
        f"dataset: {{path: data/rows.parquet, {dataset}}}\nfeatures: {{from: request}}\n{metric}\n"
    )
    log = PredictionLog(installation.home.predictions, "parcel-delay")
    log.append([record("p1", model="parcel-delay", **logged)])
    log.close()
    found = browser.get("/api/v1/models/parcel-delay/predictions").json()
    assert "predictions" in found, found
    [listed] = found["predictions"]
    assert listed["answer"] == said
    for page in ("predictions", "predictions/p1"):
        assert escape(said) in browser.get(f"/models/parcel-delay/{page}").text


def test_an_explanation_that_takes_long_is_shown_when_it_is_there(browser, logged, monkeypatch):
    go = threading.Event()

    class Slow:
        def explain(self, version, rows):
            go.wait(20)
            return [{"unit": "log-odds", "base_value": 0.5, "contributions": {"wind": 0.1}}]

    monkeypatch.setattr(prediction_reading, "_explainer", lambda project: Slow())
    monkeypatch.setattr(door, "PAGE_SECONDS", 0.5)
    address = "/models/parcel-delay/predictions/p08?explain=true"
    page = browser.get(address)
    assert page.status_code == 200
    assert re.search(r'<div id="why" data-live="computed" data-model="[0-9a-f]{32}">', page.text)
    assert "Features as the model saw them" in page.text
    go.set()
    monkeypatch.setattr(door, "PAGE_SECONDS", 20.0)
    assert "+0.1000" in browser.get(address).text


def test_an_explanation_is_sorted_and_without_one_says_why(browser, logged, monkeypatch):
    class Two:
        def explain(self, version, rows):
            assert (version, rows[0].values["wind"]) == ("3", 8.0)
            return [
                {
                    "unit": "log-odds",
                    "base_value": 0.5,
                    "contributions": {"wind": 0.1, "visibility": -0.3},
                }
            ]

    address = "/api/v1/models/parcel-delay/predictions/p07"
    assert browser.get(address).json()["explained"] is None
    assert browser.get(f"{address}?explain=true").json()["why_not"]  # there is no such version
    monkeypatch.setattr(prediction_reading, "_explainer", lambda project: Two())
    found = browser.get(f"{address}?explain=true").json()["explained"]
    assert [one["feature"] for one in found["contributions"]] == ["visibility", "wind"]
    assert "-0.3000" in browser.get("/models/parcel-delay/predictions/p07?explain=true").text


def test_what_was_sent_seen_and_looked_up_by_is_shown_once(browser, installation):
    log = PredictionLog(installation.home.predictions, "parcel-delay")
    sent = {"wind": 8.0}
    of = {"model": "parcel-delay", "instance": sent, "features": sent}
    log.append([record("all", NOON, **of, keys={"wind": 8.0, "parcel": "p-7"})])
    log.append([record("other", NOON, **{**of, "features": {"wind": 9.0}}, keys={})])
    log.close()
    found = browser.get("/api/v1/models/parcel-delay/predictions/all").json()
    assert (found["keys"], found["features_as_sent"]) == ({"parcel": "p-7"}, True)
    assert "saw the same values" in browser.get("/models/parcel-delay/predictions/all").text
    assert "Features as the model saw them" in browser.get("/models/parcel-delay/predictions/other").text
