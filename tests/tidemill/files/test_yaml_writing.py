"""What Tidemill writes into YAML is read back as the same value, by YAML 1.1 and by YAML 1.2."""

import math

import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tidemill.data.validation import inference
from tidemill.files.yaml_reading import parse_dvc_yaml, parse_yaml
from tidemill.files.yaml_writing import flow_yaml
from tidemill.quickstart.project_files import scalar

WRITERS = {"flow_yaml": flow_yaml, "init": scalar, "inference": inference._yaml}
LOOKALIKES = (
    *("yes", "No", "ON", "off", "y", "N", "true", "False", "null", "NULL", "~", "", " ", "-", "=", "<<"),
    *("5e-07", "1e-05", "2e+20", "1.0e+3", "12", "1_000", "0x1f", "0o17", "017", "0b1", "+1", ".5", "1."),
    *(".inf", "-.inf", ".nan", "NaN", "12:00", "1:2:3", "2024-01-01", "2024-01-01T10:00:00Z", "1,5"),
    *(
        "a: b",
        "a #b",
        "# a",
        "[a]",
        "{a",
        "a}",
        "'a'",
        '"',
        "\\",
        "&a",
        "*a",
        "!a",
        "|",
        ">",
        "%a",
        "@a",
        "?",
    ),
    *("\n", "a\tb", "a\x7fb", "a\x85b", "a\u2028b", "\ufeffa", "\x00", "\x9f", "\uffff", "naïve", "名", "😀"),
)
NUMBERS = (5e-07, 1e-05, 2e20, -1e22, 1e16, 1.5e300, 5e-324, 0.0, -0.0, 0.1, 10**17, -(2**63), 2**64 - 1)


def read(text):
    return parse_yaml(text)["a"], parse_dvc_yaml(text)["a"], yaml.safe_load(text)["a"]


def is_read_back(value, writer):
    for found in read(f"{{a: {WRITERS[writer](value)}, b: 1}}"):
        assert (type(found), found) == (type(value), value)


@pytest.mark.parametrize("writer", WRITERS)
def test_every_finite_number_is_read_back_as_the_same_number(writer):
    @given(st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(2**63), 2**64 - 1))
    def holds(value):
        is_read_back(value, writer)

    holds()
    for value in NUMBERS:
        is_read_back(value, writer)


@pytest.mark.parametrize("writer", WRITERS)
def test_every_text_is_read_back_as_text(writer):
    @given(st.text(st.characters(exclude_categories=["Cs"])))
    def holds(value):
        is_read_back(value, writer)

    holds()
    for value in LOOKALIKES:
        is_read_back(value, writer)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda one: st.lists(one, max_size=3) | st.dictionaries(st.text(max_size=5), one, max_size=3),
    max_leaves=6,
)


@settings(max_examples=30)
@given(VALUES)
@example([5e-07, {"1e5": [True, None, math.inf]}])
def test_lists_and_mappings_are_read_back_with_all_they_hold(value):
    assert parse_yaml(f"{{a: {flow_yaml(value)}}}") == {"a": value}


def test_what_has_no_place_in_yaml_is_refused():
    with pytest.raises(TypeError, match="set has no place"):
        flow_yaml([{1}])
