from datetime import timedelta

import pytest

from tests.tidemill.dashboard.pages.mlflow_store import open_store
from tidemill.registry.versions import registry_reader
from tidemill.registry.versions.alias_names import ARCHIVED
from tidemill.state.tables import GateDecision, MonitorRun, Promotion, StageMove, Turn
from tidemill.training.tracking.mlflow_tracking import connect

MLMODEL = """
flavors: {sklearn: {serialization_format: skops}}
model_size_bytes: 2048
signature:
  inputs: '[{"type": "double", "name": "weight<b>", "required": true}]'
  outputs: '[{"type": "tensor", "tensor-spec": {"dtype": "float64", "shape": [-1, 2]}}]'
"""


@pytest.fixture
def registered(installation, tmp_path):
    """Two versions of the model, the second one with a turn, a gate's decision and a period of service."""
    client, now, folder = open_store(installation.home), installation.clock.now(), tmp_path / "files"
    folder.mkdir()
    (folder / "MLmodel").write_text(MLMODEL)
    client.create_registered_model("parcel-delay")
    for _ in range(2):
        client.create_model_version("parcel-delay", folder.as_uri())
    client.set_registered_model_alias("parcel-delay", "champion", "2")
    of = {"model": "parcel-delay"}
    numbers = {"metric": "roc_auc", "gain": -0.0144, "gain_interval": [-0.0305, 0.0034]}
    with installation.state.transaction() as session:
        session.add(
            Turn(
                id="turn_1", **of, trigger="manual", reason="", actor="ada", promote=True, overrides={},
                as_of=now, status="promoted", step="end", seconds={"data": 30, "train": 60}, version="2",
                cpu_seconds=120.0, requested_at=now,
            )
        )  # fmt: skip
        session.add(
            GateDecision(
                id="gate_1", **of, candidate="2", champion="1", mode="enforce", passed=False,
                reasons=["<i>too small</i> a gain"], numbers=numbers, decided_at=now,
            )
        )  # fmt: skip
        session.flush()
        for number, version in enumerate(("1", "2", "1", "2")):
            session.add(
                Promotion(
                    id=f"move_{number}", **of, alias="champion", from_version=None, to_version=version,
                    kind="promotion", status="done", actor="ada", reason="", at=now + timedelta(days=number),
                    requested_at=now + timedelta(days=number),
                )
            )  # fmt: skip
        session.add(
            MonitorRun(
                id="run_1", **of, monitor="slices", version="2", window_start=now, window_end=now, rows=9,
                labelled=9, verdict="ok", at=now, report_path=None,
                results={"slice_quality": {"metric": "roc_auc", "slices": [
                    {"name": "depot = north", "value": 0.61, "expected": 0.7, "rows": 40}]}},
            )
        )  # fmt: skip
        session.add(
            StageMove(
                id="stage_1", **of, stage="staging", from_version=None, to_version="2", kind="promotion",
                status="refused", champion="1", mode="enforce", passed=False, reasons=["<b>too</b> slow"],
                numbers={}, digest=None, actor="ada", reason="to be tried", at=now, requested_at=now,
            )
        )  # fmt: skip
    return folder


def test_the_list_shows_aliases_and_what_the_gate_said(browser, registered):
    found = browser.get("/api/v1/models/parcel-delay/versions").json()
    assert [(one["version"], one["aliases"], one["gate"]) for one in found["versions"]] == [
        ("2", ["champion"], "refused"),
        ("1", [], None),
    ]
    assert browser.get("/models/parcel-delay/versions").status_code == 200
    beyond = browser.get("/models/parcel-delay/versions?page=9")
    assert (beyond.status_code, "ends with page 1" in beyond.text) == (422, True)


def test_a_version_shows_gate_service_slices_cost_and_signature(browser, registered):
    page = browser.get("/models/parcel-delay/versions/champion").text
    for said in (
        "-0.0305 to +0.0034",
        "&lt;i&gt;too small&lt;/i&gt; a gain",
        "&lt;b&gt;too&lt;/b&gt; slow",
        "depot = north",
        "2 min of CPU time, 1.5 min from beginning to end",
        "weight&lt;b&gt;",
        "2 × float64 for each row",
        "2 KiB, sklearn (skops)",
    ):
        assert said in page
    found = browser.get("/api/v1/models/parcel-delay/versions/2").json()
    assert [(one["stage"], one["what"]) for one in found["stages"]] == [("staging", "refused")]
    assert [(one["since"][:10], (one["until"] or "")[:10]) for one in found["served"]] == [
        ("2013-07-04", ""),
        ("2013-07-02", "2013-07-03"),
    ]


def test_nothing_is_offered_for_versions_that_are_deleted_or_archived(browser, registered, installation):
    client = connect(installation.home)
    for _ in range(2):
        client.create_model_version("parcel-delay", registered.as_uri())
    client.set_model_version_tag("parcel-delay", "3", ARCHIVED, "{}")
    client.delete_model_version("parcel-delay", "4")
    now, of = installation.clock.now(), {"model": "parcel-delay", "champion": "2", "mode": "enforce"}
    asked = {
        "trigger": "manual",
        "reason": "",
        "actor": "ada",
        "promote": True,
        "overrides": {},
        "as_of": now,
    }
    with installation.state.transaction() as session:
        for version in "134":
            session.add(GateDecision(
                id=f"gate_{version}x", **of, candidate=version, passed=False, reasons=["no"], numbers={},
                decided_at=now,
            ))  # fmt: skip
            session.add(Turn(
                id=f"turn_{version}x", model="parcel-delay", **asked, status="asked", step="end", seconds={},
                version=version, requested_at=now, question={"default": "refuse"},
            ))  # fmt: skip
    base = "/models/parcel-delay"
    offers = {
        "decisions/gate_{}x": "Ask the gate again",
        "promote?version={}": "<button>Promote",
        "turns/turn_{}x/answer": ">Approve</button>",
    }
    for path, offer in offers.items():
        shown = {version: browser.get(f"{base}/{path.format(version)}").text for version in "134"}
        assert [offer in page for page in shown.values()] == [True, False, False], path
        assert "Version 4 was deleted" in shown["4"]
        assert "models unarchive 3</code> brings it back" in shown["3"]
    page = browser.get(f"{base}/versions/3").text
    assert "models unarchive 3</code>" in page
    assert "Promote it" not in page
    assert browser.get(f"/api/v1{base}/promote").json()["versions"] == ["1"]
    assert browser.get(f"/api/v1{base}/roll-back").json()["versions"] == ["1"]
    for away in ("is archived", "was deleted"):
        if away == "is archived":
            client.set_model_version_tag("parcel-delay", "1", ARCHIVED, "{}")
        else:
            client.delete_model_version("parcel-delay", "1")
        back = browser.get(f"/api/v1{base}/roll-back").json()
        assert (back["to"], back["versions"], back["problem"]) == (None, [], f"version 1 {away}")


def test_a_card_shows_what_is_on_record_and_what_people_say(browser, registered, installation):
    assert (
        'href="/models/parcel-delay/versions/2/card"' in browser.get("/models/parcel-delay/versions/2").text
    )
    (installation.home.root / "card.yaml").write_text("owner: <b>Ada</b>\n")
    page = browser.get("/models/parcel-delay/versions/champion/card").text
    for said in (
        "&lt;b&gt;Ada&lt;/b&gt;",
        "depot = north",
        "-0.0305 to +0.0034",
        "not filled in",
        "promotion",
    ):
        assert said in page
    card = browser.get("/api/v1/models/parcel-delay/versions/2/card").json()["card"]
    assert (card["by"], card["gate"]["champion"], len(card["served"])) == ("ada", "1", 2)
    assert "Tidemill did not train" in card["unknown"][0]
    (installation.home.root / "card.yaml").write_text("\nowners: Ada\n")
    refused = browser.get("/api/v1/models/parcel-delay/versions/2/card")
    assert (refused.status_code, "line 2" in refused.json()["error"]["message"]) == (409, True)


def test_a_version_without_its_files_says_so_and_shows_the_rest(browser, registered):
    (registered / "MLmodel").unlink()
    page = browser.get("/models/parcel-delay/versions/2")
    assert page.status_code == 200
    assert "Its files cannot be read" in page.text
    assert "-0.0305 to +0.0034" in page.text


def test_only_the_documents_of_the_versions_on_the_page_are_read(registered, installation, monkeypatch):
    read = []
    real = registry_reader._shown
    monkeypatch.setattr(registry_reader, "_shown", lambda *of, **how: read.append(1) or real(*of, **how))
    found, total = registry_reader.read_registered_part(installation.home, 1, 1)
    assert ([one.version for one in found], total, len(read)) == (["1"], 2, 1)
    assert [one.version for one in registry_reader.read_registered(installation.home)] == ["2", "1"]


def test_a_list_that_is_kept_is_read_anew_when_the_registry_changes(browser, registered, installation):
    address = "/api/v1/models/parcel-delay/versions"
    assert browser.get(address).json()["versions"][0]["aliases"] == ["champion"]
    connect(installation.home).set_registered_model_alias("parcel-delay", "challenger", "2")
    assert browser.get(address).json()["versions"][0]["aliases"] == ["challenger", "champion"]


@pytest.mark.parametrize("version", ["3", "nobody", "1 or 1=1", "9" * 30, "²", "<b>"])
def test_a_version_that_is_not_there_is_not_found(browser, registered, version):
    answer = browser.get(f"/api/v1/models/parcel-delay/versions/{version}")
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "model_not_found")


def test_a_lost_registry_is_said_to_be_lost(browser, registered, installation):
    for file in installation.home.home.glob("mlflow.db*"):
        file.unlink()
    gone = browser.get("/models/parcel-delay/versions")
    assert gone.status_code == 503
    assert "restore" in gone.text.lower()
    chain = browser.get("/models/parcel-delay/lineage")
    assert (chain.status_code, "restore" in chain.text) == (503, True)
    assert browser.get("/").status_code == 200


def test_a_version_that_does_not_serve_can_be_promoted_from_its_page(browser, registered):
    link = 'href="/models/parcel-delay/promote?version='
    assert f'{link}1"' in browser.get("/models/parcel-delay/versions/1").text
    assert link not in browser.get("/models/parcel-delay/versions/2").text
