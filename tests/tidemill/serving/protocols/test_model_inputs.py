"""What every protocol can ask for: fields or features, as columns or records."""

import numpy as np
import pytest
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from tidemill.serving.inference.calls import Refused
from tidemill.serving.inference.predictor import NoChampion
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
    "rows", [{"rain": [1, None], "wind": [True, 2.5]}, [{"rain": 1, "wind": 1}, {"wind": 2.5}]]
)
def test_features_get_the_services_order_and_unread_ones_may_be_left_out(rows):
    _, matrix = INPUTS.call(rows)
    np.testing.assert_array_equal(matrix, [[1, 1, np.nan], [2.5, np.nan, np.nan]])
    _, matrix = INPUTS.call({"snow": [9], **{"rain": [1], "wind": [2]}})
    np.testing.assert_array_equal(matrix, [[2, 1, 9]])


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
        ({"wind": ["1"], "rain": [1]}, "row 0, wind: a feature is a number"),
        ({"wind": [1e39], "rain": [1]}, "row 0, wind: a feature lies within"),
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
