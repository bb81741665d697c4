"""Values in params.yaml change; nothing else does."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from ruamel.yaml import YAML

from tidemill.data.versioning.params_file import set_values
from tidemill.errors import ConfigError, UsageError

TEXT = """\
# top
a:
  # above
  b: 1   # beside
  empty:
  list: [1, 2]  # flow
  block:
    - x   # one
    - y

  last: 'z'
c: "end"
"""


def test_only_the_value_changes() -> None:
    assert set_values(TEXT, {"a.b": 2}) == TEXT.replace("b: 1   #", "b: 2   #")
    assert set_values(TEXT, {"a.list": ["x", None]}) == TEXT.replace("[1, 2]", '["x", null]')
    assert set_values(TEXT, {"a.empty": True}) == TEXT.replace("empty:", "empty: true")
    assert set_values(TEXT, {"c": "fin"}) == TEXT.replace('"end"', '"fin"')


def test_a_block_gives_way_to_a_value() -> None:
    changed = set_values(TEXT, {"a.block": [1]})
    assert yaml.safe_load(changed)["a"]["block"] == [1]
    assert changed.endswith("\n\n  last: 'z'\nc: \"end\"\n")


def test_what_is_the_same_keeps_its_spelling() -> None:
    assert set_values(TEXT, {"a.last": "z", "a.b": 1, "a.list": [1, 2]}) == TEXT
    assert set_values(TEXT, {"a.b": True}) != TEXT  # 1 == True, but not in YAML


def test_line_ends_are_kept() -> None:
    assert set_values("a: 1\r\nb: 2\r\n", {"a": 3}) == "a: 3\r\nb: 2\r\n"


@pytest.mark.parametrize("name", ["x", "a.x", "a.b.x", "", "a."])
def test_an_unknown_parameter_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match="has no parameter"):
        set_values(TEXT, {name: 1})


def test_a_value_shared_by_an_anchor_is_refused() -> None:
    with pytest.raises(ConfigError, match="without changing other values"):
        set_values("a: &x 1\nb: *x\nc: [*x]\n", {"b": 2})


def test_a_value_without_a_place_is_refused() -> None:
    with pytest.raises(UsageError, match="datetime has no place"):
        set_values(TEXT, {"c": datetime(2013, 1, 1, tzinfo=UTC)})


@pytest.mark.parametrize("text", ["a: [", "- a", "", "just text"])
def test_a_file_that_is_no_mapping_is_refused(text: str) -> None:
    with pytest.raises(ConfigError):
        set_values(text, {"a": 1})


scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(allow_nan=False),
    st.text(st.characters(min_codepoint=32, max_codepoint=0x24F, exclude_categories=["Cc", "Cs"])),
    st.sampled_from(
        ["yes", "no", "12:30", "012", "0o12", "1e-5", "2013-01-01", "null", "~", "#", "a: b", "é\n"]
    ),
)


@settings(max_examples=40)
@given(
    st.recursive(scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("ab"), inner))
)
def test_both_readers_of_yaml_read_what_was_written(value: object) -> None:
    changed = set_values(TEXT, {"a.last": value})
    for content in (yaml.safe_load(changed), YAML(typ="safe").load(changed)):
        assert content["a"]["last"] == value
        assert content["c"] == "end"


layouts = st.fixed_dictionaries(
    {
        "indent": st.integers(1, 6),
        "list_indent": st.integers(0, 4),
        "space": st.sampled_from([" ", "   "]),
        "comment": st.sampled_from(["", "  # note: [1, 2]", "       # far"]),
        "end": st.sampled_from(["\n", "\r\n"]),
        "other": st.sampled_from(["~", "null", "", "{ x: 1 }", "[1,2]", "'q'", "0x1F", "1_000", "yes"]),
        "head": st.sampled_from(["", "---\n", "# top\n\n", "%YAML 1.1\n---\n"]),
        "last_line_ends": st.booleans(),
    }
)


@given(layouts, scalars, scalars)
def test_every_layout_is_kept(layout: dict[str, Any], old: object, new: object) -> None:
    def text(value: str) -> str:
        pad, gap, dash = " " * layout["indent"], layout["space"], " " * layout["list_indent"]
        lines = [
            f"{layout['head']}other:{gap}{layout['other']}{layout['comment']}",
            f"a:{layout['comment']}",
            f"{pad}before:",
            f"{pad}{dash}- {layout['other']}",
            f"{pad}here:{gap}{value}{layout['comment']}",
            f"{pad}# below",
            f"after:{gap}{layout['other']}",
        ]
        return "\n".join(lines).replace("\n", layout["end"]) + (layout["end"] * layout["last_line_ends"])

    spelt = set_values("v: 0\n", {"v": new}).removeprefix("v: ").removesuffix("\n")
    before = text(json.dumps(old) if not isinstance(old, float) else f"{old:.1f}")
    expected = text(spelt)
    same = yaml.safe_load(before)["a"]["here"]
    unchanged = same == new and type(same) is type(new)
    assert set_values(before, {"a.here": new}) == (before if unchanged else expected)


def test_a_parameter_that_every_project_may_have_is_added_to_its_block():
    text = "# mine\ntrain:   # quick\n    # few\n    trials: 8\nsplit: {by: random}\ngate:\n"
    added = set_values(text, {"train.seed": 5, "train.trials": 9, "split.validation": 0.2})
    assert yaml.safe_load(added) == {
        "train": {"seed": 5, "trials": 9},
        "split": {"validation": 0.2, "by": "random"},
        "gate": None,
    }
    assert "# quick" in added
    for name in ("train.sead", "gate.min_rows", "audit.keep"):
        with pytest.raises(ConfigError, match=f"has no parameter '{name}'"):
            set_values(text, {name: 1})
