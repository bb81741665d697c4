"""What is personal stays out of the log and of errors, and the caller's answer is as it was."""

import dataclasses
import json
import logging
from datetime import UTC, datetime, timedelta

import pytest
from fastapi.testclient import TestClient
from pydantic import BaseModel, Field

from tests.tidemill.serving.small_project import KNOWN
from tidemill.data.personal.pseudonyms import KEY_FILE, Pseudonymiser, load_key
from tidemill.errors import FeatureError, ServingError
from tidemill.features.feast_session import open_store
from tidemill.features.feature_store import apply
from tidemill.features.personal_fields import personal_fields
from tidemill.prediction_log.labels.label_matching import GivenLabel, as_records
from tidemill.prediction_log.prediction_log import read_predictions
from tidemill.prediction_log.writing.redaction import NO_REDACTION, Redaction
from tidemill.project import load_project
from tidemill.serving.runtime.replica.wiring import build_api

DECIDE = """    return {"advice": "phone ahead" if probability > 0.5 else "deliver"}"""
ECHO = """    if parcel.phone == "+49 666":
        raise ValueError(f"no such number: {parcel.phone}")
    return {"call": {"depot": parcel.depot}, "phone": parcel.phone}"""


@pytest.fixture
def personal_parcels(served_parcels):
    """The depot is a personal key, the phone a personal field of requests, the rain a personal feature."""
    app = served_parcels.root / "parcels_app.py"
    text = app.read_text().replace(DECIDE, ECHO)
    phone = '    phone: str | None = Field(None, json_schema_extra={"personal": True})\n    pickup:'
    (app.parent / "personal_app.py").write_text(text.replace("    pickup:", phone))
    params = served_parcels.root / "params.yaml"
    params.write_text(params.read_text().replace("parcels_app:application", "personal_app:application"))
    views = served_parcels.root / "feature_repo" / "parcel_views.py"
    tagged = views.read_text().replace(
        'join_keys=["depot"],', 'join_keys=["depot"], tags={"personal": "true"},'
    )
    untagged = 'tags={"default": "0.0"}'
    assert untagged in tagged
    views.write_text(tagged.replace(untagged, 'tags={"default": "0.0", "personal": "true"}'))
    apply(served_parcels)
    return load_project(served_parcels.root)


@pytest.mark.engine
def test_a_prediction_is_answered_in_the_clear_and_logged_hidden(personal_parcels, caplog):
    project = personal_parcels
    assert personal_fields(open_store(project)) == {"depot", "rain"}
    with TestClient(build_api(project, "r1"), raise_server_exceptions=False) as api:
        body = {
            "instances": [{"depot": "north", "phone": "+49 123"}],
            "at": (KNOWN + timedelta(hours=1)).isoformat(),
        }
        answer = api.post("/predict", json=body).json()["predictions"][0]
        body["instances"][0]["phone"] = "+49 666"
        failed = api.post("/predict", json=body)
        wrong = api.post("/predict", json={"instances": [{"depot": "NORTH-7", "phone": "+49 123"}]})
    hide = Pseudonymiser(load_key(project)).hide
    assert answer["decision"] == {"call": {"depot": "north"}, "phone": "+49 123"}
    assert answer["flags"] == []
    [row] = read_predictions(project.predictions, project.model, KNOWN, KNOWN + timedelta(days=1)).to_dicts()
    assert json.loads(row["instance"]) == {
        "depot": hide("north"), "phone": hide("+49 123"), "weight": None, "pickup": None,
    }  # fmt: skip
    assert json.loads(row["keys"]) == {"depot": hide("north")}
    assert json.loads(row["decision"]) == {"call": {"depot": hide("north")}, "phone": hide("+49 123")}
    assert (row["feature.rain"], row["feature.wind"]) == (None, 1.0)
    logged = b"".join(path.read_bytes() for path in project.predictions.rglob("*.ndjson"))
    assert b"north" not in logged
    assert failed.status_code in (500, 503)
    assert wrong.status_code == 422
    assert "NORTH-7" not in wrong.text
    said = caplog.text + "".join(
        str(record.exc_info) for record in caplog.records if record.levelno >= logging.ERROR
    )
    assert hide("+49 666") in said
    assert "+49 666" not in said
    assert "north" not in said


@pytest.mark.engine
def test_without_personal_fields_no_key_is_made(served_parcels):
    with TestClient(build_api(served_parcels, "r1")) as api:
        assert api.post("/predict", json={"instances": [{"depot": "north"}]}).status_code == 200
    assert not (served_parcels.home / KEY_FILE).exists()


class Parcel(BaseModel):
    depot: str
    sender: dict[str, str | int] = Field(default_factory=dict)


def test_errors_that_tell_nothing_personal_pass_as_they_are():
    redaction = Redaction(frozenset({"depot", "sender"}), Pseudonymiser(b"a key of at least 16 bytes"))
    parcels = [Parcel(depot="north", sender={"name": "Ada", "house": 7})]
    for error in (FeatureError("the store is away", hint="start it"), ValueError("7")):
        with pytest.raises(type(error)) as raised, redaction.in_errors(parcels):
            raise error
        assert raised.value is error
    with pytest.raises(FeatureError) as raised, redaction.in_errors(parcels):
        raise FeatureError("'Ada' is not known in north", hint="ask") from KeyError("Ada")
    assert raised.value.hint == "ask"
    assert "Ada" not in str(raised.value)
    assert "north" not in str(raised.value)
    assert raised.value.__suppress_context__
    with pytest.raises(ServingError, match="KeyError"), redaction.in_errors(parcels):
        raise KeyError("north")
    with pytest.raises(KeyError, match="north"), NO_REDACTION.in_errors(parcels):
        raise KeyError("north")


def test_a_value_is_hidden_alike_each_time_and_long_ones_are_not_kept_in_memory():
    redaction = Redaction(frozenset({"name"}), Pseudonymiser(b"a key of at least 16 bytes"))
    for name in ("Ada", "x" * 60_000, 7, None):
        flat, below = redaction.values({"name": name}), redaction.values({"in": [{"name": name}]})
        assert flat["name"] == below["in"][0]["name"] == redaction.values({"name": name})["name"]
        assert (flat["name"] is None) == (name is None)
        assert name is None or flat["name"].startswith("psn_")
    assert list(redaction._known) == ["Ada"]
    assert redaction.values({"depot": "north"}) == {"depot": "north"}


def test_labels_hide_what_is_personal_in_them():
    redaction = Redaction(frozenset({"name", "salary"}), Pseudonymiser(b"a key of at least 16 bytes"))
    given = [
        GivenLabel("p1", None, target='{"name": "ada", "seat": 4}'),
        GivenLabel("p2", None, target="[not JSON"),
        GivenLabel("p3", 1),
    ]
    nested, text, two = as_records(given, datetime(2024, 1, 1, tzinfo=UTC), redaction)
    assert "ada" not in nested.target
    assert json.loads(nested.target)["seat"] == 4
    assert (text.target, two.label, two.target) == ("[not JSON", 1, None)
    hidden = dataclasses.replace(redaction, label_hidden=True)
    one, other = as_records(given[1:], datetime(2024, 1, 1, tzinfo=UTC), hidden)
    assert one.target.startswith("psn_")
    assert (other.label, other.target[:4]) == (None, "psn_")
