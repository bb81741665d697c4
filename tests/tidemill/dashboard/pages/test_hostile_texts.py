"""Whatever people and data wrote into the records, every page shows it as text, and runs none of it."""

import re
from datetime import timedelta
from html.parser import HTMLParser
from urllib.parse import quote

import pytest

from tidemill.dashboard.app import make_pages
from tidemill.dashboard.page import permissions
from tidemill.state.tables import (
    Alert,
    AlertStep,
    GateDecision,
    MonitorRun,
    Notification,
    Promotion,
    Rollout,
    Silence,
    Turn,
)

pytestmark = pytest.mark.engine

MARK = "ran7"
PAYLOADS = (
    f"<script>{MARK}()</script>",
    f'"><img src=x onerror={MARK}()>',
    f"'><svg/onload={MARK}()>",
    f"javascript:{MARK}()",
    "{{7*7}}{% raw %}${7*7}",
    "\u202egnp.exe\u2066 \x00 \x1b[31m ]]>",
    f"</title></textarea></style></script><script>{MARK}()</script>",
    "W" * 10_000,
)
ALL = " ".join(PAYLOADS)
SENT = re.sub(r"[\x00\x1b]", "", ALL)
"""What gets past the door, which takes no control characters."""
PLAN = {"steps": [{"share": 0.1, "minutes": 5, "requests": 9}], "max_errors": 0.1}
IDS = {
    "alert_id": "alert_1",
    "run_id": "run_1",
    "turn_id": "turn_1",
    "rollout_id": "roll_1",
    "decision_id": "gate_1",
    "feature": SENT[:300],
}


class Found(HTMLParser):
    """What could run in a page."""

    def __init__(self, nonce):
        super().__init__()
        self.nonce, self.wrong = nonce, []

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        if tag == "script" and given.get("nonce") != self.nonce:
            self.wrong.append(("script", given))
        if tag in ("iframe", "object", "embed", "base", "style") or MARK in tag:
            self.wrong.append((tag, given))
        for name, value in attrs:
            leads = name in ("href", "src", "action", "formaction", "hx-get", "xlink:href")
            if name.startswith("on") or (leads and not re.match(r"[/?#.]|data:image|$", value or "")):
                self.wrong.append((tag, name, value))


@pytest.fixture
def hostile(add, now):
    """Records with hostile texts wherever a person, a program or data may write one."""
    who = {"model": "parcel-delay"}
    drift = {"name": ALL, "value": 0.4, "threshold": 0.1, "drifted": True, "broken": None, "note": ALL}
    results = {
        "unjudged": {ALL: ALL},
        "histograms": {ALL: {"bins": [ALL, "c"], "before": [0.5, 0.5], "now": [0.1, 0.9]}},
        "data_drift": {"share": 0.5, "threshold": 0.3, "drifted": [ALL], "columns": [drift]},
        "findings": [{"kind": ALL, "message": ALL}],
    }
    add(
        MonitorRun(id="run_1", **who, monitor=ALL, version=ALL, window_start=now - timedelta(days=8),
                   window_end=now - timedelta(days=1), rows=9, labelled=1, verdict="alert", at=now,
                   results=results, report_path="../../../../etc/passwd"),
        Alert(id="alert_1", **who, monitor=ALL, version=ALL, kind=ALL, severity="warning", message=ALL,
              details={ALL: ALL}, monitor_run_id="run_1", status="firing", raised_at=now, fired_at=now,
              last_seen_at=now),
        AlertStep(id="step_1", alert_id="alert_1", step="comment", at=now, person=ALL, comment=ALL),
        Silence(id="silence_1", **who, matchers={ALL: ALL}, author=ALL, reason=ALL, starts_at=now,
                ends_at=now + timedelta(hours=1)),
        Notification(id="sent_1", alert_id="alert_1", **who, occurrence=1, receiver=ALL, step="firing",
                     group_key=ALL, status="withheld", reason=ALL, at=now, attempts=0, next_at=now),
        Promotion(id="move_1", **who, alias="champion", from_version=ALL, to_version=ALL, kind="promotion",
                  status="done", actor=ALL, reason=ALL, at=now, requested_at=now),
        GateDecision(id="gate_1", **who, candidate=ALL, champion=ALL, mode="enforce", passed=False,
                     reasons=[ALL], numbers={"metric": ALL, "candidate": {ALL: 0.1}}, decided_at=now),
        Turn(id="turn_1", **who, trigger=ALL, reason=ALL, actor=ALL, promote=True, overrides={ALL: ALL},
             as_of=now, status="failed", step=ALL, version=ALL, seconds={ALL: 1.0}, cpu_seconds=1.0,
             requested_at=now),
        Rollout(id="roll_1", **who, version=ALL, champion=ALL, plan=PLAN,
                status="rolled_back", step=0, baseline={}, checks=[], actor=ALL, reason=ALL, at=now,
                stepped_at=now, requested_at=now, outcome=ALL),
    )  # fmt: skip


def pages():
    """Return the addresses of all pages that need nothing but the records."""
    apart = ("/runs", "/versions", "/data", "/lineage", "/predictions", "/events", "/export", "/promote")
    for path in sorted(permissions(make_pages())):
        if path.startswith("POST") or any(part in path for part in apart):
            continue
        filled = path.replace("{model}", "parcel-delay")
        yield re.sub(r"\{(\w+)\}", lambda found: quote(IDS.get(found[1], "0"), safe=""), filled)


def test_no_text_of_the_records_runs_in_any_page(browser, hostile):
    looked_at = {}
    for path in pages():
        for query in ("", f"?page={quote(SENT[:500])}&kind={quote(SENT[:500])}&of={quote(SENT[:500])}"):
            answer = browser.get(path + query)
            looked_at[path] = answer.status_code
            assert answer.status_code < 500, (path, query)
            assert "root:x:" not in answer.text, path
            found = re.search(r"'nonce-([^']+)'", answer.headers["content-security-policy"])
            if not answer.headers["content-type"].startswith("text/html") or found is None:
                continue
            reader = Found(found[1])
            reader.feed(answer.text)
            assert reader.wrong == [], path
            assert "7*7" in answer.text or "49$" not in answer.text
    shown = [path for path, status in looked_at.items() if status in (200, 422)]
    assert len(shown) > 20, looked_at


def test_where_to_go_after_the_login_is_never_a_script_or_another_site(browser):
    for payload in (*PAYLOADS[:7], "//evil.example", "/\\evil.example", "https://evil.example"):
        answer = browser.get(f"/login?next={quote(payload)}")
        reader = Found("")
        reader.feed(answer.text)
        assert [one for one in reader.wrong if one[0] != "script" or "nonce" not in one[1]] == []
        assert answer.headers.get("location", "/").startswith("/")
