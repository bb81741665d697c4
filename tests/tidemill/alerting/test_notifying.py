"""From an alert to a message, with the step functions of the controller's round; no stack."""

import logging
import os
import signal
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime, timedelta
from email import message_from_string
from io import StringIO
from pathlib import Path
from types import SimpleNamespace

import pytest
from sqlalchemy import select, update

from tests.tidemill.alerting.local_receivers import http_receiver, smtp_receiver
from tests.tidemill.alerting.test_alert_states import START, findings, run_monitor
from tests.tidemill.recorded import list_alerts
from tidemill.alerting.alert_actions import acknowledge, resolve
from tidemill.alerting.alert_text import AlertText, body_of
from tidemill.alerting.alertmanager import as_alertmanager
from tidemill.alerting.delivery import sender_of
from tidemill.alerting.notification_rules import FLAPS
from tidemill.alerting.notifying import decide_due, deliver_due, notify
from tidemill.alerting.routes import Routes
from tidemill.alerting.silences import add_silence, end_silence
from tidemill.errors import NotDelivered, UsageError
from tidemill.monitoring.findings import Finding
from tidemill.state import State, open_state
from tidemill.state.external_alerts import ExternalAlert, record_external
from tidemill.state.tables import MonitorRun, Notification

MINUTE, DAY = timedelta(minutes=1), timedelta(days=1)
ROUTES = Routes.model_validate(
    {
        "receivers": [{"name": "team", "url_env": "TEAM_URL"}],
        "routes": [{"receivers": ["team"], "group_by": ["monitor"]}],
    }
)


@pytest.fixture
def state(tmp_path: Path):
    state = open_state(f"sqlite:///{tmp_path / 'state.db'}")
    yield state
    state.close()


def notes(state: State) -> list[tuple[str, str, int]]:
    with state.transaction() as session:
        found = session.scalars(select(Notification).order_by(Notification.id))
        return [(each.step, each.status, each.attempts) for each in found]


def test_a_group_is_one_message_and_its_end_another(state: State):
    sent = []
    run_monitor(state, findings("quality", "data_drift"), day=0)
    for now in (START, START + MINUTE):
        notify(state, "delay", ROUTES, now, lambda receiver, texts: sent.append([t.kind for t in texts]))
    run_monitor(state, findings(), day=1)
    notify(
        state,
        "delay",
        ROUTES,
        START + timedelta(days=1),
        lambda _, texts: sent.append([t.status for t in texts]),
    )
    assert [sorted(each) for each in sent] == [["data_drift", "quality"], ["resolved", "resolved"]]


def test_an_alert_from_elsewhere_is_routed_silenced_and_passed_on_by_its_own_labels(state: State):
    labels = {"alertname": "DiskFull", "team": "platform", "severity": "page", "kind": "disk"}
    disk = ExternalAlert("alertmanager", "DiskFull", "f1", True, "warning", "full", labels, START)
    record_external(state, "delay", [disk, replace(disk, fingerprint="f2", labels={})], START)
    run_monitor(state, findings("quality"), day=0)
    declared = {**ROUTES.model_dump(), "routes": [{"match": {"team": "platform"}, "receivers": ["team"]}]}
    routes = Routes.model_validate(declared)
    sent = []
    notify(state, "delay", routes, START, lambda _, texts: sent.extend(texts))
    (told,) = sent
    assert as_alertmanager(told)["labels"] == {
        "alertname": "tidemill_external",
        **{"model": "delay", "version": "none", "monitor": "alertmanager/DiskFull"},
        **{"kind": "external", "severity": "warning", "team": "platform"},
    }
    add_silence(state, "delay", {"team": "platform"}, "ann", "moved", START, START + 90 * DAY)
    notify(state, "delay", routes, START + 30 * DAY, lambda _, texts: sent.extend(texts))
    assert len(sent) == 1


def test_no_message_proposes_retraining_while_a_feature_is_broken(state: State):
    sent: list[str] = []

    def tell(day: int) -> None:
        now = START + day * DAY
        notify(state, "delay", ROUTES, now, lambda _, texts: sent.append(body_of(texts)))

    stale = Finding("staleness", "weather is stale", {"faults": ["wind", "gust"]})
    run_monitor(state, replace(findings(), found=(*findings("quality").found, stale)), day=0)
    tell(0)
    [fault] = [each.id for each in list_alerts(state) if each.kind == "staleness"]
    assert "broken at the source, mend it before you retrain: wind, gust\n" in sent[0]
    assert f"tidemill alerts show {fault}\n" in sent[0]
    assert "tidemill retrain" not in sent[0]
    run_monitor(state, findings("quality"), day=7)
    tell(7)
    [quality] = [each.id for each in list_alerts(state) if each.kind == "quality"]
    assert f'tidemill retrain --reason "{quality}"' in sent[1]
    assert "broken" not in sent[1]


def test_the_end_of_an_alert_that_came_back_in_silence_is_told(state: State):
    sent: list[str] = []

    def tell(day: float) -> None:
        notify(state, "delay", ROUTES, START + day * DAY, lambda _, texts: sent.extend(t.step for t in texts))

    run_monitor(state, findings("quality"), day=0)
    tell(0)
    add_silence(state, "delay", {"model": "*"}, "ann", "a move", START + DAY / 2, START + 4 * DAY)
    for day in (1, 2, 3):
        run_monitor(state, findings(*["quality"] * (day == 2)), day=day)
        tell(day)
    assert sent == ["firing"]
    for day in (4, 5):
        tell(day)
    assert sent == ["firing", "resolved"]


def test_a_receiver_that_is_down_for_an_hour_is_told_then(state: State):
    tried = []

    def send(*_: object) -> None:
        tried.append(now)
        if now < START + 60 * MINUTE:
            raise NotDelivered("it is down")

    run_monitor(state, findings("quality"), day=0)
    now = START
    while now < START + 90 * MINUTE:
        notify(state, "delay", ROUTES, now, send)
        now += MINUTE
    assert [(each - START) // MINUTE for each in tried] == [0, 1, 3, 7, 15, 30, 45, 60]
    assert notes(state) == [("firing", "sent", 8)]
    notify(state, "delay", ROUTES, START + DAY + 59 * MINUTE, send)
    assert len(notes(state)) == 1, "it is repeated a day after it was sent"
    notify(state, "delay", ROUTES, START + DAY + 60 * MINUTE, send)
    assert notes(state)[1:] == [("repeat", "sent", 1)]


def test_a_receiver_that_was_down_until_an_alert_was_over_is_told_once(state: State):
    sent: list[list[str]] = []

    def send(_: object, texts: Sequence[AlertText]) -> None:
        if now < START + 10 * MINUTE:
            raise NotDelivered("it is down")
        sent.append([each.status for each in texts])

    run_monitor(state, findings("quality"), day=0)
    for minute in range(30):
        if minute == 10:
            resolve(state, list_alerts(state)[0].id, "ann", START + 10 * MINUTE)
        now = START + minute * MINUTE
        notify(state, "delay", ROUTES, now, send)
    assert sent == [["resolved"]]
    assert notes(state) == [("firing", "sent", 5), ("resolved", "sent", 1)]


def test_what_waits_for_a_receiver_is_stopped_by_who_acknowledges_and_by_a_silence(state: State):
    sent, down = [], [True]

    def send(_: object, texts: list[AlertText]) -> None:
        if down[0]:
            raise NotDelivered("it is down")
        sent.extend(each.kind for each in texts)

    run_monitor(state, findings("quality", "data_drift"), day=0)
    notify(state, "delay", ROUTES, START, send)
    ids = {each.kind: each.id for each in list_alerts(state)}
    acknowledge(state, ids["quality"], "ann", START + MINUTE)
    silence = add_silence(state, "delay", {"kind": "data_drift"}, "ann", "why", START + MINUTE, START + DAY)
    down[0] = False
    for minutes in (1, 3, 60):
        notify(state, "delay", ROUTES, START + minutes * MINUTE, send)
    assert sent == []
    assert sorted(notes(state)) == [("firing", "withheld", 1)] * 2
    end_silence(state, silence.id, START + 61 * MINUTE, "ann")
    notify(state, "delay", ROUTES, START + 61 * MINUTE, send)
    assert sent == ["data_drift"]


def test_what_is_stopped_while_it_is_sent_is_sent(state: State):
    def send(*_: object) -> None:
        (alert,) = list_alerts(state)
        acknowledge(state, alert.id, "ann", START)
        decide_due(state, "delay", ROUTES, START)  # another controller, meanwhile

    run_monitor(state, findings("quality"), day=0)
    notify(state, "delay", ROUTES, START, send)
    assert (notes(state), reasons(state)) == ([("firing", "sent", 1)], [("firing", None)])


def test_it_is_given_up_after_a_day_and_said_so(state: State, caplog: pytest.LogCaptureFixture):
    run_monitor(state, findings("quality"), day=0)
    nobody = ROUTES.model_copy(update={"receivers": ()})
    moments = [START, *(START + timedelta(days=1, hours=hour) for hour in range(9))]
    for number, now in enumerate(moments):
        assert notes(state)[:1] in ([], [("firing", "due", number)]), "a machine that slept gives nothing up"
        (done,) = notify(state, "delay", nobody, now, lambda *_: None)[-1:]
    assert notes(state)[0] == ("firing", "failed", 10)
    assert "no such receiver" in done.error
    assert "a message to team was not sent" in caplog.text


def test_a_kill_between_raising_and_sending_loses_nothing(state: State):
    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    sent = []
    run_monitor(state, findings("quality"), day=0)
    decide_due(state, "delay", ROUTES, START)  # killed here: it is due, and not decided again
    assert decide_due(state, "delay", ROUTES, START) == 0
    with pytest.raises(KeyboardInterrupt):
        deliver_due(state, "delay", ROUTES, START, killed)
    assert notes(state) == [("firing", "due", 1)]
    for minutes in range(3):
        notify(state, "delay", ROUTES, START + minutes * MINUTE, lambda _, texts: sent.append(texts[0].kind))
        assert len(sent) == min(minutes, 1)


def test_a_controller_that_is_killed_while_it_sends_sends_again_at_its_next_start(state: State):
    def killed(*_: object) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    run_monitor(state, findings("quality"), day=0)
    state.engine.dispose()
    if (child := os.fork()) == 0:
        notify(state, "delay", ROUTES, START, killed)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    assert notes(state) == [("firing", "due", 1)]
    sent = []
    for minutes in range(3):
        notify(state, "delay", ROUTES, START + minutes * MINUTE, lambda _, texts: sent.append(texts[0].kind))
    assert sent == ["quality"]


def test_two_controllers_at_once_raise_and_send_once(state: State):
    sent = []
    others = [open_state(str(state.engine.url)) for _ in range(2)]
    start = threading.Barrier(2)

    def round_of(own: State) -> None:
        start.wait()
        run_monitor(own, findings("quality"), day=0)
        for minutes in range(3):
            start.wait()  # the clock is the same for both: an attempt lasts no minute
            notify(own, "delay", ROUTES, START + minutes * MINUTE, lambda _, texts: sent.append(len(texts)))

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(round_of, others))
    for each in others:
        each.close()
    assert len(list_alerts(state)) == 1
    assert sent == [1]
    assert notes(state) == [("firing", "sent", 1)]


def test_an_alert_that_alternates_is_told_until_it_is_known_to_come_and_go(state: State):
    sent = []
    for run in range(20):
        found = run % 2 == 0 if run < 9 else run >= 16
        run_monitor(state, findings(*["quality"] * found), day=7 * run)
        now = START + timedelta(days=7 * run)
        notify(state, "delay", ROUTES, now, lambda _, texts, run=run: sent.append((run, texts[0].step)))
    told = [(0, "firing"), (1, "resolved"), (2, "firing"), (3, "resolved"), (4, "firing")]
    assert sent[:5] == told
    assert [step for run, step in sent[5:] if run < 10] == [], "it comes and goes"
    assert (16, "firing") in sent, "it has stayed away for eight runs, and is news again"
    withheld = [why for step, why in reasons(state) if step == "firing"]
    assert set(withheld) == {None, FLAPS}


def reasons(state: State) -> list[tuple[str, str | None]]:
    with state.transaction() as session:
        return [(each.step, each.reason) for each in session.scalars(select(Notification))]


def test_two_controllers_make_one_attempt(state: State):
    sent = []

    def send(*_: object) -> None:
        sent.append(1)
        notify(state, "delay", ROUTES, START, send)  # the other one, while this one is sending

    run_monitor(state, findings("quality"), day=0)
    notify(state, "delay", ROUTES, START, send)
    assert sent == [1]


def test_a_clock_that_went_back_keeps_no_message(state: State):
    sent = []
    run_monitor(state, findings("quality"), day=0)
    decide_due(state, "delay", ROUTES, START + timedelta(days=300))
    notify(state, "delay", ROUTES, START, lambda *_: sent.append(1))
    assert sent == [1]


def test_pending_alerts_are_told_to_nobody_and_persons_end_alerts_too(state: State):
    run_monitor(state, findings("quality"), day=0, persistence=2)
    assert decide_due(state, "delay", ROUTES, START) == 0
    run_monitor(state, findings("quality"), day=7, persistence=2)
    notify(state, "delay", ROUTES, START, lambda *_: None)
    (alert,) = list_alerts(state)
    resolve(state, alert.id, "ann", START + timedelta(days=8))
    notify(state, "delay", ROUTES, START + timedelta(days=8), lambda *_: None)
    assert notes(state) == [("firing", "sent", 1), ("resolved", "sent", 1)]


def test_silences_have_a_reason_and_an_end(state: State):
    for given in (
        ({}, "why", START + MINUTE),
        ({"kind": "*"}, " ", START + MINUTE),
        ({"kind": "*"}, "why", START),
    ):
        with pytest.raises(UsageError):
            add_silence(state, "delay", given[0], "ann", given[1], START, given[2])
    silence = add_silence(state, "delay", {"kind": "*"}, "ann", "why", START, START + 60 * MINUTE)
    run_monitor(state, findings("quality"), day=0)
    notify(state, "delay", ROUTES, START, lambda *_: pytest.fail("it is silenced"))
    end_silence(state, silence.id, START + MINUTE, "ann")
    with pytest.raises(UsageError, match="in force"):
        end_silence(state, silence.id, START + MINUTE, "ann")
    notify(state, "delay", ROUTES, START + MINUTE, lambda *_: None)
    assert notes(state) == [("firing", "withheld", 0), ("firing", "sent", 1)]


def told(state: State, tmp_path: Path, now: datetime = START) -> str | None:
    """Notify with the real sender; return the error of the last attempt."""
    send = sender_of(SimpleNamespace(root=tmp_path, state_url=f"sqlite:///{tmp_path / 'state.db'}"))
    return notify(state, "delay", ROUTES, now, send)[-1].error


def test_by_http_with_a_refusal_first_and_no_address_on_record(
    state: State, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    caplog.set_level(logging.DEBUG, "tidemill")
    run_monitor(state, findings("quality"), day=0)
    assert "TEAM_URL is not set" in told(state, tmp_path)
    with http_receiver() as taken:
        monkeypatch.setenv("TEAM_URL", f"json://ann:s3cret-word@127.0.0.1:{taken.port}/t0ken-path")
        taken.status = 500
        error = told(state, tmp_path, START + MINUTE)
        assert "did not take it" in error
        taken.status = 200
        assert told(state, tmp_path, START + 5 * MINUTE) is None
    assert taken.json[-1]["title"] == "[firing 1] delay: quality"
    (alert,) = list_alerts(state)
    assert f"tidemill alerts show {alert.id}" in taken.json[-1]["message"]
    for secret in ("s3cret-word", "t0ken-path"):
        assert secret not in error + caplog.text


def test_by_mail(state: State, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    run_monitor(state, findings("quality"), day=0)
    with state.transaction() as session:
        moved = {"name": "wind", "drifted": True, "broken": None, "value": 0.5, "threshold": 0.1}
        drift = {"share": 1.0, "threshold": 0.3, "drifted": ["wind"], "columns": [moved]}
        bins = {"bins": ["a", "b"], "before": [0.5, 0.5], "now": [0.1, 0.9]}
        results = {"data_drift": drift, "histograms": {"wind": bins}}
        session.execute(update(MonitorRun).values(results=results))
    with smtp_receiver() as taken:
        address = (
            f"mailto://127.0.0.1:{taken.port}?from=tidemill@example.com&to=team@example.com&mode=insecure"
        )
        monkeypatch.setenv("TEAM_URL", address)
        assert told(state, tmp_path) is None
    assert "quality" in taken.bodies[0]
    assert "team@example.com" in taken.bodies[0]
    mail = message_from_string(taken.bodies[0])
    parts = {
        each.get_content_type(): each.get_payload(decode=True).decode()
        for each in mail.walk()
        if not each.is_multipart()
    }
    (alert,) = list_alerts(state)
    assert f"<code>tidemill alerts ack {alert.id}</code>" in parts["text/html"]
    assert f"tidemill alerts ack {alert.id}" in parts["text/plain"]
    assert "<h1>" not in parts["text/plain"]
    (page,) = [each for each in mail.walk() if each.get_filename() == "alert.html"]
    assert "<svg" in page.get_payload(decode=True).decode(), "many readers of mail leave it out of the text"


def test_an_address_that_nothing_knows_is_said_without_it(
    state: State, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    run_monitor(state, findings("quality"), day=0)
    monkeypatch.setenv("TEAM_URL", "pigeon://hidden-loft")
    error = told(state, tmp_path)
    assert error.endswith("its address is none that Apprise knows")
    monkeypatch.setenv("TEAM_URL", "mailto://ann:hidden-loft@127.0.0.1:9/?from=a@b.c&to=x@example.com")
    later = told(state, tmp_path, START + MINUTE)
    assert "Apprise knows: Invalid ~From~ email specified" in later
    assert "hidden-loft" not in error + later


def test_what_apprise_says_of_a_key_reaches_no_log(
    state: State, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Apprise's pager names the key when the pager cannot be reached, as it cannot through a closed port."""
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    run_monitor(state, findings("quality"), day=0)
    monkeypatch.setenv("TEAM_URL", "pagerduty://s3cretapi@s3cretkey")
    said, root = StringIO(), logging.getLogger()
    handler = logging.StreamHandler(said)
    root.addHandler(handler)  # as the controller's log; pytest's own hears more than that
    try:
        error = told(state, tmp_path)
    finally:
        root.removeHandler(handler)
    assert error.endswith("A Connection error occurred sending Pager Duty notification to ….")
    assert "a message to team was not sent" in said.getvalue()
    assert "s3cret" not in error + said.getvalue()


def test_an_alertmanager_is_pushed_to(state: State, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    one = {"name": "prom", "url_file": "address", "kind": "alertmanager"}
    routes = Routes.model_validate({"receivers": [one], "routes": [{"receivers": ["prom"]}]})
    run_monitor(state, findings("quality"), day=0)
    send = sender_of(SimpleNamespace(root=tmp_path))
    assert "cannot be read" in notify(state, "delay", routes, START, send)[0].error
    with http_receiver() as taken:
        (tmp_path / "address").write_text(f"http://127.0.0.1:{taken.port}\n")
        assert notify(state, "delay", routes, START + MINUTE, send)[0].error is None
        run_monitor(state, findings(), day=1)
        assert notify(state, "delay", routes, START + timedelta(days=1), send)[0].error is None
    assert taken.paths == ["/api/v2/alerts"] * 2
    first, last = (each[0] for each in taken.json)
    assert first["labels"] == last["labels"]
    assert first["labels"]["alertname"] == "tidemill_quality"
    assert (first["startsAt"], first["endsAt"]) == ("2013-04-01T00:00:00Z", "2013-04-08T00:00:00Z")
    assert last["endsAt"] == "2013-04-02T00:00:00Z"
