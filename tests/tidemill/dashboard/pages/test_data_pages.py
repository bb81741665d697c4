import json
import re
import threading

import pytest
import yaml

from tidemill.dashboard.door import door
from tidemill.dashboard.pages.runs_and_data import data_comparison_page
from tidemill.dashboard.records import data_reading
from tidemill.dashboard.records.bounded_reading import Readings
from tidemill.data.repository.git import git
from tidemill.data.versioning import diff as versions

NASTY = "<script>alert(1)</script>"
REPORT = {
    "parcels": {
        "mode": "stop",
        "passed": True,
        "source": NASTY,
        "rows": 100,
        "accepted": 97,
        "rejected": 3,
        "broken": {f"weight {NASTY}": 3},
        "checks": [
            {"check": "weight: in_range(0, 50)", "kind": "column", "outcome": "rows fail", "failing": 3},
            {"check": "columns and types", "kind": "structure", "outcome": "passed"},
        ],
        "bias": {
            "label": "late",
            "groups": {
                "depot": [
                    {
                        "group": "north", "rows": 60, "rate": {"value": 0.25, "low": 0.2, "high": 0.3},
                        "ratio": {"value": 1.5}, "verdict": "higher",
                    }
                ]
            },
        },
    }
}  # fmt: skip


@pytest.fixture
def versioned(folder, installation):
    """Two data versions of one file: the second with another content, another parameter and a report."""
    git(folder, "init", "--quiet")
    git(folder, "config", "user.email", "ada@example.org")
    git(folder, "config", "user.name", "ada")
    (folder / ".dvc").mkdir()
    (folder / "expectations.yaml").write_text("report: data/validation.json\ndatasets: {}\n")
    (folder / "data").mkdir()

    def commit(md5: str, message: str) -> str:
        outputs = {"outs": [{"md5": md5 * 32, "size": 9, "hash": "md5", "path": "notes.txt"}]}
        (folder / "notes.txt.dvc").write_text(yaml.safe_dump(outputs))
        git(folder, "add", "--", "notes.txt.dvc", "params.yaml", "data", "expectations.yaml")
        git(folder, "commit", "--quiet", "--message", message)
        return git(folder, "rev-parse", "HEAD").strip()

    first = commit("a", "The first rows")
    (folder / "data" / "validation.json").write_text(json.dumps(REPORT))
    with (folder / "params.yaml").open("a") as file:
        file.write("data: {last: 2013-05}\n")
    return first, commit("b", f"More rows {NASTY}")


def test_the_list_shows_what_changed_in_each_version(browser, versioned):
    first, second = versioned
    page = browser.get("/models/parcel-delay/data")
    assert page.status_code == 200
    assert NASTY not in page.text
    found = browser.get("/api/v1/models/parcel-delay/data").json()
    assert [one["revision"] for one in found["versions"]] == [second, first]
    latest = found["versions"][0]
    assert (latest["changed"], latest["before"]) == (["notes.txt"], first)
    assert latest["params"] == [{"name": "data.last", "before": "None", "after": "2013-05"}]
    assert "ends with page 1" in browser.get("/models/parcel-delay/data?page=9").text


def test_a_version_shows_what_validation_found_and_the_groups(browser, versioned):
    page = browser.get(f"/models/parcel-delay/data/{versioned[1][:12]}").text
    assert NASTY not in page
    for said in (
        "97 accepted, 3 set aside",
        "weight: in_range(0, 50)",
        "Bias by depot",
        "20 % to 30 %",
        "higher",
    ):
        assert said in page
    assert "No validation report" in browser.get(f"/models/parcel-delay/data/{versioned[0]}").text


def test_two_versions_are_compared(browser, versioned):
    found = browser.get(f"/api/v1/models/parcel-delay/data/compare?before={versioned[0]}").json()
    assert [(one["path"], one["change"]) for one in found["changes"]] == [("notes.txt", "changed")]
    assert browser.get(f"/models/parcel-delay/data/compare?before={versioned[0]}").status_code == 200


@pytest.mark.parametrize("name", ["nothing", "HEAD~9", "0" * 40])
def test_a_version_that_is_not_there_is_not_found(browser, versioned, name):
    answer = browser.get(f"/api/v1/models/parcel-delay/data/{name}")
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "version_not_found")
    assert browser.get("/models/parcel-delay/data/--output=x").status_code == 422


def test_what_takes_long_is_said_to_and_is_there_later(browser, versioned, monkeypatch):
    go, real = threading.Event(), versions.diff
    monkeypatch.setattr(data_reading, "READINGS", Readings())
    monkeypatch.setattr(door, "PAGE_SECONDS", 0.0)
    monkeypatch.setattr(door, "PROGRAM_SECONDS", 0.0)
    monkeypatch.setattr(versions, "diff", lambda *of, **how: (go.wait(20), real(*of, **how))[1])
    address = f"/models/parcel-delay/data/compare?before={versioned[0]}"
    page, twin = browser.get(address), browser.get(f"/api/v1{address}")
    assert (page.status_code, twin.status_code, twin.headers["retry-after"]) == (202, 202, "2")
    assert "is being read" in twin.json()["being_computed"]["message"]
    assert re.search(
        r'<p id="being-computed" data-live="computed" data-model="[0-9a-f]{32}" data-reload', page.text
    )
    assert '<noscript><meta http-equiv="refresh"' in page.text
    assert 'href="/models/parcel-delay/alerts"' in page.text, "the way to other pages is there meanwhile"
    go.set()
    monkeypatch.setattr(door, "PAGE_SECONDS", 20.0)
    assert browser.get(address).status_code == 200


def test_a_project_without_git_says_what_to_do(browser):
    answer = browser.get("/api/v1/models/parcel-delay/data")
    assert answer.status_code == 503
    assert "tidemill init" in answer.json()["error"]["hint"]


def test_least_and_greatest_values_are_not_shown():
    """They may be a person's name or address."""
    assert not {"min", "max"} & set(data_comparison_page.ColumnChange.__dataclass_fields__)
