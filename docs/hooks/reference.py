"""Makes the pages that come from the code: command line, Python API, changelog, contributing."""

from collections.abc import Iterator
from itertools import groupby
from pathlib import Path

import click
import typer
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

import tidemill
from tidemill.cli.main import app

ROOT = Path(__file__).parents[2]
ROOMS = {
    "clock": "Time",
    "data": "Data",
    "errors": "Errors",
    "features": "Features",
    "files": "Files",
    "prediction_log": "Prediction log",
    "project": "Project",
    "registry": "Gates",
    "replay": "Replay",
    "retraining": "Retraining",
    "serving": "Serving",
    "training": "Training",
}


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages to those that lie in ``docs/``."""
    pages = {
        "cli": command_line(),
        "api": python_api(),
        "changelog": (ROOT / "CHANGELOG.md").read_text().replace("](docs/", "](../"),
        "contributing": (ROOT / "CONTRIBUTING.md").read_text(),
    }
    for name, text in pages.items():
        files.append(File.generated(config, f"reference/{name}.md", content=text))
    return files


def command_line() -> str:
    """Return the help of every command, as a terminal of 100 columns shows it."""
    lines = ["# Command line", "", "What `--help` says, of every command.", ""]
    for path, command in commands(typer.main.get_command(app), ("tidemill",)):
        with click.Context(command, info_name=" ".join(path), terminal_width=100) as context:
            lines += [f"## {' '.join(path)}", "", "```text", command.get_help(context), "```", ""]
    return "\n".join(lines)


def commands(
    command: click.Command, path: tuple[str, ...]
) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Yield a command and all below it, each with the words that call it."""
    yield path, command
    if hasattr(command, "list_commands"):
        context = click.Context(command)
        for name in command.list_commands(context):
            found = command.get_command(context, name)
            if not found.hidden:
                yield from commands(found, (*path, name))


def python_api() -> str:
    """Return a page on every name of `tidemill`, by room."""
    lines = [
        "# Python",
        "",
        "Everything that a project's files import: `from tidemill import Application`.",
        "",
    ]
    for room, names in groupby(
        tidemill._PLACES, key=lambda name: tidemill._PLACES[name].split(".")[0].split(":")[0]
    ):
        lines += [f"## {ROOMS[room]}", ""]
        lines += [f"::: tidemill.{name}\n" for name in names]
    return "\n".join(lines)
