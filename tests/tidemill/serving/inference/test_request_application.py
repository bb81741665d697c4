"""The API made from features.yaml: types, categories, names of any kind; values beside those of the store."""

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, Field, ValidationError

from tidemill.errors import FeatureError
from tidemill.features.request_features import FeatureRow, RequestFeatures, StoreAndRequest
from tidemill.files.declaration_files import read_declaration
from tidemill.project.feature_columns import FeatureColumn, parse_columns, read_columns
from tidemill.project.features_config import FeaturesConfig
from tidemill.serving.inference.application import Application
from tidemill.serving.inference.calls import Refused
from tidemill.serving.inference.refused_values import refuse_large_integers
from tidemill.serving.inference.request_application import make_application, request_model
from tidemill.serving.protocols.request_fields import fields_of

AT = datetime(2013, 4, 1, tzinfo=UTC)
COLUMNS = (
    FeatureColumn("wind (kt)", "number"),
    FeatureColumn("engines", "integer", required=False),
    FeatureColumn("copy", "truth", required=False),
    FeatureColumn("booked", "moment", required=False),
    FeatureColumn("origin", "text", False, ("EWR", "JFK"), "flag"),
    FeatureColumn("class", "text", False, ("economy", "business, flexible"), "refuse"),
    FeatureColumn("_carrier", "text", False, ("UA", "AA"), "unknown"),
)
SIZES = FeatureColumn("sizes", "list", required=False, length=2, element="integer")
MODEL = request_model((*COLUMNS, SIZES))


def read(**values: object) -> FeatureRow:
    instance = MODEL.model_validate({"wind (kt)": 1.0, **values})
    (row,) = RequestFeatures(COLUMNS).read([instance.model_dump()], [AT])
    return row


def test_every_type_becomes_what_a_model_takes():
    row = read(engines=2.0, copy=True, booked="1970-01-01T02:00:00+01:00", origin="JFK", _carrier="UA")
    assert row.values == {
        "wind (kt)": 1.0, "engines": 2.0, "copy": 1.0, "booked": 3600.0, "origin": "JFK", "class": None,
        "_carrier": "UA",
    }  # fmt: skip
    assert row.flags == ()


def test_lists_that_may_be_left_out_may_have_gaps_inside():
    reader = RequestFeatures([SIZES])
    instance = MODEL.model_validate({"wind (kt)": 1, "sizes": [3.0, None]})
    assert repr(reader.read([instance.model_dump()], [AT])[0].values) == "{'sizes': (3.0, nan)}"
    assert reader.read([{"sizes": [None, None]}], [AT])[0].values == {"sizes": None}
    [field] = fields_of(request_model([SIZES]))
    assert (field.kind, field.width) == ("list", 2)
    needed = request_model([replace(SIZES, required=True)])
    with pytest.raises(ValidationError, match="valid integer"):
        needed.model_validate({"sizes": [3, None]})


@pytest.mark.parametrize(
    ("values", "field", "said"),
    [
        ({"wind (kt)": "3"}, "wind (kt)", "valid number"),
        ({"wind (kt)": True}, "wind (kt)", "valid number"),
        ({"wind (kt)": None}, "wind (kt)", "valid number"),
        ({"wind (kt)": float("nan")}, "wind (kt)", "finite number"),
        ({"wind (kt)": 1e39}, "wind (kt)", "within ±3.403e+38"),
        ({"engines": 2**64}, "engines", "a whole number of at most 64 bits (-9223372036854775808 to"),
        ({"engines": -1e30}, "engines", "at most 64 bits"),
        ({"sizes": [1, 2**64]}, "sizes", "at most 64 bits"),
        ({"sizes": [1]}, "sizes", "a list of 2 integers, and a list of 1 was given"),
        ({"sizes": "1, 2"}, "sizes", "a list of 2 integers"),
        ({"engines": 2.5}, "engines", "valid integer"),
        ({"engines": "2"}, "engines", "valid integer"),
        ({"engines": True}, "engines", "valid integer"),
        ({"copy": 1}, "copy", "valid boolean"),
        ({"booked": 3600}, "booked", "a moment such as 2013-04-01T10:15:00Z, not a number"),
        ({"booked": [1]}, "booked", "a moment such as 2013-04-01T10:15:00Z, not a list"),
        ({"booked": "2013-04-01T10:00:00"}, "booked", "timezone"),
        ({"origin": 7}, "origin", "valid string"),
        (
            {"class": "first"},
            "class",
            "one of the categories seen in training (economy, 'business, flexible'), and 'first'",
        ),
        ({"unknown": 1}, "unknown", "not permitted"),
    ],
)
def test_what_does_not_fit_is_refused_by_field(values, field, said):
    with pytest.raises(ValidationError) as caught:
        MODEL.model_validate({"wind (kt)": 1.0, **values})
    (problem,) = caught.value.errors()
    assert problem["loc"][0] == field
    assert said in problem["msg"]


def test_large_whole_numbers_of_a_projects_own_request_are_found_where_they_are():
    class Box(BaseModel):
        sides: list[int]
        label: int | str = Field(alias="the label")

    sound = Box.model_validate({"sides": [2**64 - 1], "the label": -(2**63)})
    refuse_large_integers([sound] * 2)
    for wrong, inside in (
        ({"sides": [1, 2**64]}, ["sides", 1]),
        ({"the label": -(2**63) - 1}, ["the label"]),
    ):
        boxes = [sound, Box.model_validate({"sides": [], "the label": "x", **wrong})]
        with pytest.raises(Refused) as refused:
            refuse_large_integers(boxes, first=500)
        (problem,) = refused.value.failure.detail
        assert problem["loc"] == ["body", "instances", 501, *inside]


def test_a_required_column_must_be_there():
    with pytest.raises(ValidationError) as caught:
        MODEL.model_validate({})
    assert caught.value.errors()[0]["loc"] == ("wind (kt)",)


def test_an_unseen_category_is_unknown_or_flagged_and_reaches_the_model_as_it_is():
    row = read(origin="LGA", _carrier="DL")
    assert (row.values["origin"], row.values["_carrier"]) == ("LGA", "DL")
    assert row.flags == ("unseen:origin",)


def test_text_that_means_a_gap_in_the_tables_is_one_in_requests():
    reading = tuple(replace(each, has_gap_words=each.type == "text") for each in COLUMNS)
    model, features = request_model(reading), RequestFeatures(reading)
    for word in ("N/A", "", " null ", "NaN", "#n/a", "NA"):
        instance = model.model_validate({"wind (kt)": 1.0, "origin": word, "class": word, "_carrier": word})
        for row in (instance.model_dump(), {"wind (kt)": 1.0, "origin": word}):
            (found,) = features.read([row], [AT])
            assert (found.values["origin"], found.values["class"], found.flags) == (None, None, ())
        assert read(origin=word).flags == ("unseen:origin",)  # where no stage reads it as a gap
    continents = FeatureColumn("origin", "text", False, ("EU", "NA"), "flag", has_gap_words=True)
    (america,) = RequestFeatures([continents]).read([{"origin": "NA"}], [AT])
    assert (america.values["origin"], america.flags) == ("NA", ())
    known = request_model([FeatureColumn("state", "text", True, ("n/a", "ok"), has_gap_words=True)])
    assert known.model_validate({"state": "n/a"}).model_dump() == {"state": "n/a"}
    with pytest.raises(ValidationError, match="valid string, and 'NULL', which means a gap, was given"):
        known.model_validate({"state": "NULL"})
    assert known.model_json_schema()["properties"]["state"]["type"] == "string"


def test_a_personal_value_is_not_in_the_message():
    model = request_model([FeatureColumn("name", "text", True, ("Ada",), "refuse", personal=True)])
    with pytest.raises(ValidationError) as caught:
        model.model_validate({"name": "Grace"})
    assert "Grace" not in caught.value.errors()[0]["msg"]
    assert model.model_json_schema()["properties"]["name"]["personal"] is True


NAMES = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=8)


@given(names=st.lists(NAMES, min_size=1, max_size=5, unique=True))
def test_columns_may_have_any_name(names):
    columns = [FeatureColumn(name, "number") for name in names]
    values = {name: float(place) for place, name in enumerate(names)}
    instance = request_model(columns).model_validate(values)
    assert instance.model_dump(mode="json") == values
    (row,) = RequestFeatures(columns).read([instance.model_dump()], [AT])
    assert row.values == values


class Parcel(BaseModel):
    depot: str
    weight: float | None = None


@pytest.fixture
def both(tmp_path: Path):
    """An application of the project's own, whose requests may bring wind and weight."""
    (tmp_path / "features.yaml").write_text(
        "columns:\n- {name: wind, type: number}\n- {name: weight, type: number}\n"
    )
    own = Application(Parcel, lambda parcel: {"depot": parcel.depot}, lambda parcel, score: {"score": score})
    config = SimpleNamespace(features=FeaturesConfig.model_validate({"from": "both", "service": "parcels"}))
    return make_application(SimpleNamespace(root=tmp_path, params={}, config=config), own)


class Store:
    """Stands for `OnlineFeatures`: it knows the weather of each depot."""

    features = (("weather", "wind"), ("weather", "rain"))
    keys = ("depot",)
    inputs = ()
    truths = frozenset()

    def read(self, rows, at, brought=()):
        flags = ("missing:weather", "default:wind") if rows[0]["depot"] is None else ()
        return [FeatureRow({"wind": 9.0, "rain": 2.0}, flags) for _ in rows]


def overlaid(both, instance):
    columns = parse_columns(read_declaration(both[1] / "features.yaml"))
    reader = StoreAndRequest(Store(), columns)
    assert [name for _, name in reader.features] == ["wind", "rain", "weight"]
    (row,) = reader.read([both[0].feature_row(both[0].request.model_validate(instance))], [AT])
    return row


def test_values_of_the_request_win_over_those_of_the_store(both, tmp_path):
    stored = overlaid((both, tmp_path), {"depot": "north"})
    assert stored == FeatureRow({"wind": 9.0, "rain": 2.0, "weight": None}, ())
    given_too = overlaid((both, tmp_path), {"depot": "north", "wind": 1.5, "weight": 3})
    assert given_too.values == {"wind": 1.5, "rain": 2.0, "weight": 3.0}
    assert given_too.flags == ("request:wind", "request:weight")
    assert both.decide(None, 0.5) == {"score": 0.5}


def test_keys_may_be_missing_and_flags_of_replaced_values_go():
    reader = StoreAndRequest(Store(), [FeatureColumn("wind", "number"), FeatureColumn("rain", "number")])
    (row,) = reader.read([{"wind": 1.0}], [AT])
    assert row.flags == ("missing:weather", "request:wind")
    (row,) = reader.read([{"wind": 1.0, "rain": 0.0}], [AT])
    assert row.flags == ("request:wind", "request:rain")


def test_a_value_of_another_type_is_named():
    with pytest.raises(FeatureError, match="feature 'wind' must be of type number, and 'x' was given"):
        RequestFeatures([FeatureColumn("wind", "number")]).read([{"wind": "x"}], [AT])


def test_a_request_may_bring_its_key_which_is_logged_and_no_feature(tmp_path):
    (tmp_path / "features.yaml").write_text(
        "columns:\n- {name: wind, type: number, example: 1.5}\n"
        "keys:\n- {name: order, type: integer, required: false, example: 17}\n"
    )
    features = SimpleNamespace(source="request")
    project = SimpleNamespace(root=tmp_path, params={}, config=SimpleNamespace(features=features))
    application = make_application(project)
    assert application.request.model_json_schema()["examples"] == [{"order": 17, "wind": 1.5}]
    keys = application.feature_row(application.request.model_validate({"wind": 1, "order": 17}))
    assert keys == {"order": 17, "wind": 1.0}
    assert RequestFeatures(read_columns(project)).read([keys], [AT])[0].values == {"wind": 1.0}
    assert application.request.model_validate({"wind": 1}).model_dump()["order"] is None
    with pytest.raises(ValidationError, match="valid integer"):
        application.request.model_validate({"wind": 1, "order": "x"})
