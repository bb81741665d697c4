"""What every protocol can ask for: fields or features, as columns or records."""

from datetime import UTC, datetime

import numpy as np
import pytest
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from tidemill.project.feature_columns import FeatureColumn
from tidemill.serving.inference.calls import Refused
from tidemill.serving.inference.predictor import NoChampion
from tidemill.serving.inference.request_application import request_model
from tidemill.serving.protocols.given_features import Features
from tidemill.serving.protocols.model_inputs import Inputs


class Address(BaseModel):
    street: str


class Parcel(BaseModel):
    model_config = ConfigDict(extra="forbid")
    depot: str = Field(pattern="^[a-z]+$")
    weight: float | None = None
    pieces: int = 1
    pickup: AwareDatetime | None = None
    address: Address | None = None


INPUTS = Inputs("parcels", Parcel, 3, lambda: Features(("wind", "rain", "snow"), ("wind", "rain")))


def test_columns_of_fields_become_instances_and_nan_is_null():
    instances, features = INPUTS.call({"depot": ["a", "b"], "weight": np.array([1.5, np.nan])})
    assert features is None
    assert [(one.depot, one.weight, one.pieces) for one in instances] == [("a", 1.5, 1), ("b", None, 1)]


def test_records_may_lack_what_is_optional():
    instances, _ = INPUTS.call([{"depot": "a", "address": {"street": "x"}}, {"depot": "b", "weight": 2}])
    assert (instances[0].address.street, instances[1].weight) == ("x", 2.0)


@pytest.mark.parametrize(
    "rows", [{"rain": [1, None], "wind": [1, 2.5]}, [{"rain": 1, "wind": 1}, {"wind": 2.5}]]
)
def test_features_get_the_services_order_and_unread_ones_may_be_left_out(rows):
    _, matrix = INPUTS.call(rows)
    np.testing.assert_array_equal(matrix, [[1, 1, np.nan], [2.5, np.nan, np.nan]])
    _, matrix = INPUTS.call({"snow": [9], **{"rain": [1], "wind": [2]}})
    np.testing.assert_array_equal(matrix, [[2, 1, 9]])


def test_a_row_of_a_misspelt_feature_is_refused_though_another_has_it():
    whole, misspelt = {"wind": 1, "rain": 2, "id": 7}, {"wind": 1, "Rain": 2}
    np.testing.assert_array_equal(INPUTS.call([whole, {"wind": 3}], extra=True)[1][1], [3, np.nan, np.nan])
    with pytest.raises(Refused) as refused:
        INPUTS.call([whole, misspelt], extra=True)
    assert refused.value.failure.detail == "row 1 has no rain, and unknown: Rain"


def test_a_matrix_has_the_needed_features_in_order():
    np.testing.assert_array_equal(INPUTS.matrix(np.array([[1.0, 2.0]])), [[1, 2, np.nan]])
    with pytest.raises(Refused) as refused:
        INPUTS.matrix(np.zeros((1, 3)))
    assert "2 columns (wind, rain), these have 3" in refused.value.failure.detail


def test_columns_beyond_the_features_are_refused_unless_they_may_be_left_aside():
    rows = {"wind": [1], "rain": [2], "late": [0]}
    with pytest.raises(Refused, match="late"):
        INPUTS.call(rows)
    np.testing.assert_array_equal(INPUTS.call(rows, extra=True)[1], [[1, 2, np.nan]])


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ({}, "1 to 3 rows"),
        ([], "1 to 3 rows"),
        ({"depot": list("abcd")}, "1 to 3 rows"),
        ({"depot": ["a"], "weight": [1, 2]}, "as many values"),
        ({"wind": [1]}, "missing: rain"),
        ({"depot": ["a"], "wind": [1]}, "missing: wind, rain|missing: rain"),
        ({"depot": ["a"], "colour": ["red"]}, "unknown: colour"),
        ({"depot": ["a", "N0"]}, "row 1, depot: String should match"),
        ({"weight": [1]}, "row 0, depot: Field required"),
        ({"depot": ["a"], "pieces": [1.5]}, "row 0, pieces: "),
        ({"wind": ["1"], "rain": [1]}, "row 0, wind: Input should be a valid number, and text was given"),
        ({"wind": [1e39], "rain": [1]}, "row 0, wind: Input should lie within"),
        ({"wind": [True], "rain": [1]}, "row 0, wind: Input should be a valid number, and a truth value"),
        ({"depot": [None]}, "row 0, depot: Input should be a valid string, and null was given"),
        ({"wind": [10**400], "rain": [1]}, "wind: an integer is too large"),
    ],
)
def test_what_does_not_fit_is_named(rows, words):
    with pytest.raises(Refused) as refused:
        INPUTS.call(rows)
    assert refused.value.failure.kind == "malformed"
    assert any(word in refused.value.failure.detail for word in words.split("|"))


def test_many_problems_are_not_all_told():
    inputs = Inputs("parcels", Parcel, 100, lambda: None)
    with pytest.raises(Refused) as refused:
        inputs.call({"depot": ["7"] * 50})
    assert refused.value.failure.detail.endswith("; and 45 more")


def test_without_a_model_nobody_knows_the_features():
    with pytest.raises(NoChampion):
        Inputs("parcels", Parcel, 3, lambda: None).call({"wind": [1]})


COLUMNS = [
    FeatureColumn("wind", "number"),
    FeatureColumn("open", "truth", required=False),
    FeatureColumn("left", "moment", required=False),
    FeatureColumn("sky", "text", False, ("grey", "blue"), "refuse"),
]
NAMES = tuple(column.name for column in COLUMNS)
REQUESTED = Inputs(
    "parcels",
    request_model(COLUMNS),
    3,
    lambda: Features(NAMES, NAMES, ("sky",), truths=frozenset({"open"}), requested=True),
)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (
            (True, None, None, None),
            "row 0, wind: Input should be a valid number, and a truth value was given",
        ),
        ((None, None, None, None), "row 0, wind: Input should be a valid number, and null was given"),
        ((1, 1, None, None), "row 0, open: Input should be a valid boolean, and a number was given"),
        ((1, True, 60, None), "row 0, left: Input should be a moment such as"),
        ((1, True, None, "pink"), "row 0, sky: Input should be one of the categories seen in training"),
    ],
)
def test_rows_of_a_project_whose_requests_bring_all_features_are_checked_as_such(values, words):
    named = dict(zip(NAMES, values, strict=True))
    for ask in (
        lambda: REQUESTED.call([named]),
        lambda: REQUESTED.call([{**named, "more": 1}], extra=True),
        lambda: REQUESTED.call({name: [value] for name, value in {**named, "more": 1}.items()}, extra=True),
        lambda: REQUESTED.matrix_call([values]),
    ):
        with pytest.raises(Refused) as refused:
            ask()
        assert refused.value.failure.detail.startswith(words)


def test_a_tensor_of_numbers_has_truth_values_and_moments_as_numbers():
    names = NAMES[:3]
    inputs = Inputs("parcels", request_model(COLUMNS[:3]), 3, lambda: Features(names, names, requested=True))
    instances, given = inputs.matrix_call(np.array([[1.5, 1, 60], [2, 0, np.nan]]))
    assert given is None
    assert [tuple(one.model_dump().values()) for one in instances] == [
        (1.5, True, datetime(1970, 1, 1, 0, 1, tzinfo=UTC)),
        (2.0, False, None),
    ]
