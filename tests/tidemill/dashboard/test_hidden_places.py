"""Who looks only is told what is wrong in a project, and not where on the machine it lies."""

import pytest

from tests.tidemill.dashboard.test_door import client_of
from tidemill.accounts.identities import Identity

PAGES = ("/models/parcel-delay/serving", "/projects", "/settings", "/models/parcel-delay/retrain")


@pytest.mark.parametrize(("project", "role", "told"), [("parcels", "viewer", False), ("*", "operator", True)])
def test_paths_are_those_within_the_project(installation, folder, monkeypatch, project, role, told):
    installation.home.home.mkdir(exist_ok=True)
    (folder / "params.yaml").write_text("project: [")
    identity = Identity("person", "ada", {project: frozenset({role})})
    with client_of(installation, identity) as client:
        said = [client.get(f"{start}{path}").text for start in ("", "/api/v1") for path in PAGES]
        wrong = client.get("/api/v1/models/parcel-delay/runs").json()["error"]["message"]
    assert any(str(folder) in text for text in said) == told
    assert (str(folder) in wrong) == told
    assert "params.yaml" in wrong


def test_records_that_are_away_are_named_within_their_folder(installation, folder):
    identity = Identity("person", "ada", {"parcels": frozenset({"viewer"})})
    with client_of(installation, identity) as client:
        assert client.get("/").status_code == 200
        for file in installation.home.home.glob("state.db*"):
            file.rename(folder / file.name)
        away = client.get("/").text
    assert "the records are not at state.db any more" in away
