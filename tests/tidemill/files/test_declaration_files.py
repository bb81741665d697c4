"""Messages about YAML name the file, the line and the key."""

import os
from pathlib import Path

import pytest
from pydantic import BaseModel, Field

from tidemill.errors import ConfigError
from tidemill.files.declaration_files import parse_declaration, read_declaration


class Rule(BaseModel):
    name: str
    every: int


class Rules(BaseModel):
    rules: list[Rule]


def test_a_wrong_field_is_named_with_its_line(tmp_path: Path):
    path = tmp_path / "rules.yaml"
    path.write_text("rules:\n  - name: a\n    every: 1\n  - name: b\n    every: soon\n")
    file = read_declaration(path)
    assert file is not None
    with pytest.raises(ConfigError) as raised:
        file.as_model(Rules, "see the docs")
    assert str(raised.value).startswith(f"{path} is wrong: rules.1.every: ")
    assert str(raised.value).endswith("(line 5)")


def test_a_missing_field_is_named_with_the_line_of_its_section(tmp_path: Path):
    file = parse_declaration("rules:\n  - name: a\n    every: 1\n  - name: b\n", Path("rules.yaml"))
    with pytest.raises(ConfigError, match=r"rules\.1\.every: is missing \(line 4\)"):
        file.as_model(Rules, "see the docs")


def test_an_entry_of_a_list_is_named_by_its_name_or_else_its_number():
    text = "rules:\n  - name: a\n    every: soon\n  - every: 1\n"
    with pytest.raises(ConfigError) as raised:
        parse_declaration(text, Path("rules.yaml")).as_model(Rules, "see the docs", item="rule")
    assert "rule 'a': every: " in str(raised.value)
    assert "(line 3); rule 2: name: is missing (line 4)" in str(raised.value)


def test_an_empty_file_is_an_empty_mapping():
    with pytest.raises(ConfigError, match=r"rules\.yaml is wrong: rules: is missing$"):
        parse_declaration("", Path("rules.yaml")).as_model(Rules, "see the docs")


@pytest.mark.parametrize(
    ("text", "says"),
    [("a: [1,\nb: 2\n", "line 3, column 1"), ("a: 1\n\tb: 2\n", "line 2"), ("a: 1\nb: 1\na: 2\n", "line 3")],
)
def test_what_is_no_yaml_is_named_with_its_line(text: str, says: str):
    with pytest.raises(ConfigError, match=rf"^rules\.yaml cannot be read: {says}"):
        parse_declaration(text, Path("rules.yaml"))


def test_a_file_that_is_not_there_and_one_that_is_not_text(tmp_path: Path):
    assert read_declaration(tmp_path / "none.yaml") is None
    (tmp_path / "latin.yaml").write_bytes(b"name: M\xfcller\n")
    with pytest.raises(ConfigError, match=r"latin\.yaml cannot be read"):
        read_declaration(tmp_path / "latin.yaml")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a: 1\nbad: é\a\n", "line 2, column 7: control characters are not allowed"),
        ("day: 2013-02-30\n", "line 1, column 6: '2013-02-30' cannot be read: day is out of range for month"),
        ("a:\n  b: !!int many\n", "line 2, column 6: 'many' cannot be read: "),
        ("a: !!timestamp soon\n", "line 1, column 4: 'soon' cannot be read"),
        ("--- 1\n--- 2\n", "line 2, column 1: expected a single document in the stream, but found another"),
    ],
)
def test_a_value_that_no_parser_takes_is_named_with_its_line(text: str, says: str):
    with pytest.raises(ConfigError) as raised:
        parse_declaration(text, Path("rules.yaml"))
    assert str(raised.value).startswith(f"rules.yaml cannot be read: {says}")
    assert "<unicode string>" not in str(raised.value)


def test_what_is_no_ordinary_file_is_not_read(tmp_path: Path):
    (tmp_path / "folder.yaml").mkdir()
    os.mkfifo(tmp_path / "pipe.yaml")
    for name, says in (("folder", "it is a folder"), ("pipe", "it is a named pipe or a device")):
        with pytest.raises(ConfigError, match=f"{name}.yaml cannot be read: {says}"):
            read_declaration(tmp_path / f"{name}.yaml")


class Team(BaseModel):
    members: tuple[Rule, ...] = Field(min_length=1)
    title: str = Field(default="x", min_length=1)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("members: 5", ["members: must be a list, not 5 (line 1)"]),
        ("members: {a: 1}", ["members: must be a list, not a mapping (line 1)"]),
        ("members: []", ["members: must have at least 1 entry (line 1)"]),
        (
            "members: [{name: a, every: [1]}]",
            ["members.0.every: must be a whole number, not a list (line 1)"],
        ),
        ("members: [{name: a, every: 1.5}]", ["members.0.every: must be a whole number, not 1.5 (line 1)"]),
        ("members: [{name: null, every: 1}]", ["members.0.name: must be text, not nothing (line 1)"]),
        ("members: [{name: a, every: 1}]\ntitle: ''", ["title: must not be empty (line 2)"]),
        ("- a", ["file: must be a mapping, not a list"]),
    ],
)
def test_what_is_wrong_is_said_in_plain_words_and_once(text: str, says: list[str]):
    with pytest.raises(ConfigError) as raised:
        parse_declaration(text, Path("team.yaml")).as_model(Team, "see the docs")
    assert str(raised.value) == f"team.yaml is wrong: {'; '.join(says)}"


def test_merged_keys_are_no_double_keys():
    text = "base: &base {a: 1}\nother:\n  <<: *base\n  a: 2\n"
    assert parse_declaration(text, Path("x.yaml")).content["other"] == {"a": 2}
