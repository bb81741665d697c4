"""The commands in README and docs exist, with their options; the tutorial's show what they print."""

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import typer

from tidemill.cli.main import app

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
TREE = typer.main.get_command(app)


def commands(text: str) -> list[list[str]]:
    """Return the words of every command in an indented block."""
    lines = re.findall(r"^    (tidemill .*(?:\n {10,}.*)*)", text, re.MULTILINE)
    parts = [part for line in lines for part in re.split(r"\s&&\s", re.split(r"\s+#|\s{3,}(?=\w)", line)[0])]
    return [shlex.split(part) for part in parts if part.startswith("tidemill ")]


def test_commands_are_found():
    assert ["tidemill", "models", "history", "flight-delay"] in commands((ROOT / "README.md").read_text())
    assert sum(len(commands(page.read_text())) for page in PAGES) > 60


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_command_exists_with_its_options(page: Path):
    for words in commands(page.read_text()):
        command: Any = TREE
        rest = words[1:]
        while rest and rest[0] in getattr(command, "commands", {}):
            command = command.commands[rest.pop(0)]
        if rest and hasattr(command, "default"):  # of `tidemill backup FILE`
            command = command.commands[command.default]
        group = hasattr(command, "commands") and not command.invoke_without_command
        assert command is not TREE, f"{page.name}: {words}"
        assert not (group and rest and not rest[0].startswith("-")), f"{page.name}: {words}"
        known = {option for parameter in command.params for option in parameter.opts} | {"--help"}
        used = {word.partition("=")[0] for word in words if re.match(r"--\w", word)}
        assert used <= known, f"{page.name}: {words}"


def test_every_step_of_the_tutorial_shows_its_output():
    text = (ROOT / "docs" / "tutorial.md").read_text().partition("## 2.")[2]
    steps = re.findall(r"^    tidemill .*(?:\n {10,}.*)*\n\n(.*)", text, re.MULTILINE)
    assert len(steps) == len(re.findall(r"^    tidemill ", text, re.MULTILINE)) > 8
    assert set(steps) == {"```text"}
