"""Lists the top-level commands, and imports the module of a command only when it is called."""

import re
from collections.abc import Iterator, MutableMapping
from importlib import import_module
from itertools import groupby
from typing import TYPE_CHECKING, Any, NamedTuple

import typer
from typer.core import TyperGroup

from tidemill.cli.private_typer import convert_late

if TYPE_CHECKING:
    from typer._click import Command, Context, HelpFormatter

__all__ = ["ENTRIES", "CommandTree", "Entry"]

_EXAMPLES = "·"
"""Stands between the examples in an epilog."""
_WIDTH = 72
"""Longer examples go on in the next line: the help indents them, and should fit 80 columns."""
_WORD = re.compile(r"""--\S+ (?:"[^"]*"|[^-\s'"]\S*)|'[^']*'|"[^"]*"|\S+""")
"""An option with its value, a text in quotes, or what stands between two spaces."""


class Entry(NamedTuple):
    """A command at the top, or a group of commands."""

    name: str
    panel: str
    """The section of the help that it is in."""
    sentence: str
    """The first sentence of its help."""
    modules: tuple[str, ...]
    """Below ``tidemill.cli``: the ``add_to`` of each adds its commands to an application."""
    is_group: bool = False
    """Whether all commands of its modules are below it, as ``show`` is below ``data``."""


_DATA = ("data.versions", "data.validation", "data.privacy")
_BACKUPS = ("operations.backups",)
ENTRIES = (
    Entry("init", "Begin", "Make a new project, out of a table or as a copy of an example.", ("setup",)),
    Entry("demo", "Begin", "Run the whole loop on a year of history.", ("loop.replaying",)),
    Entry("replay", "Begin", "Play past rows as traffic through the whole loop.", ("loop.replaying",)),
    Entry("run", "The loop", "Train a model and register it as a version.", ("loop.turns",)),
    Entry("retrain", "The loop", "Make a whole turn: train, ask the gate, promote.", ("loop.turns",)),
    Entry("turns", "The loop", "Cancel the turn that is being made.", ("loop.turn_cancelling",), True),
    Entry("monitor", "The loop", "Run the monitors, and see what they found.", ("loop.watching",)),
    Entry("alerts", "The loop", "See alerts, acknowledge, resolve and silence them.", ("loop.alerts",)),
    Entry(
        "policies", "The loop", "See when policies retrain, and why they do not.", ("loop.policies",), True
    ),
    Entry(
        "models", "Models", "See the versions of a model, and which one served when.", ("models.versions",)
    ),
    Entry(
        "runs",
        "Models",
        "List runs, show and explain their differences, and stop a search.",
        ("models.runs", "models.explanations", "models.run_import", "models.search_runs"),
        True,
    ),
    Entry(
        "reproduce",
        "Models",
        "Fit a version or run once more, and compare the two.",
        ("models.reproduction",),
    ),
    Entry("promote", "Models", "Make a version the champion, if the gate agrees.", ("champions",)),
    Entry(
        "approve", "Models", "Approve what waits about a version, and do it.", ("people.version_approvals",)
    ),
    Entry("reject", "Models", "Refuse what waits about a version.", ("people.version_approvals",)),
    Entry("rollback", "Models", "Make an earlier champion the champion again.", ("champions",)),
    Entry("deploy", "Models", "Serve versions beside the champion.", ("serving.deploy",)),
    Entry("score", "Models", "Score tables in bulk, now or by a schedule.", ("serving.score",)),
    Entry("approvals", "Models", "Decide what waits for a second person.", ("people.approvals",), True),
    Entry("up", "The stack", "Start the API, the controller, MLflow and the dashboard.", ("serving.stack",)),
    Entry("down", "The stack", "Stop what `tidemill up` started.", ("serving.stack",)),
    Entry("status", "The stack", "Show what runs, and with which version.", ("serving.stack_status",)),
    Entry("predict", "The stack", "Ask the running stack for predictions.", ("serving.stack",)),
    Entry("jobs", "The stack", "See slow predictions, cancel them, retry them.", ("serving.jobs",)),
    Entry("keys", "The stack", "Make, list, rotate and revoke API keys.", ("serving.keys",), True),
    Entry("users", "The stack", "Say who may log in to the dashboard.", ("people.users",), True),
    Entry("audit", "The stack", "See who did what, verify and export it.", ("people.audit_log",), True),
    Entry("backup", "The stack", "Copy what the installation keeps, and verify it.", _BACKUPS),
    Entry("db", "The stack", "Bring the databases to this release.", ("operations.schemas",), True),
    Entry("restore", "The stack", "Bring a backup back into an empty project.", _BACKUPS),
    Entry("image", "On a cluster", "Make the project's image for a cluster.", ("cluster.image",)),
    Entry(
        "cluster",
        "On a cluster",
        "Check a cluster before an installation.",
        ("cluster.cluster_checks",),
        True,
    ),
    Entry(
        "manifests",
        "On a cluster",
        "Render the chart to plain manifests, for Argo CD or Flux.",
        ("cluster.manifests",),
    ),
    Entry("data", "Look deeper", "Version, compare, validate and erase data.", _DATA, True),
    Entry("features", "Look deeper", "See how fresh features are, and skew.", ("features", "skew"), True),
    Entry("log", "Look deeper", "See and maintain the prediction log.", ("serving.log",), True),
    Entry("lineage", "Look deeper", "Show where a thing comes from, and what came of it.", ("lineage",)),
)


class CommandTree(TyperGroup):
    """The group of all commands. Its help is made from `ENTRIES`, so it imports no command."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**{**settings, "commands": None})
        self.commands = _Commands()
        convert_late()

    def format_commands(self, ctx: "Context", formatter: "HelpFormatter") -> None:
        """Write a section for each panel."""
        for panel, entries in groupby(ENTRIES, lambda entry: entry.panel):
            with formatter.section(panel):
                formatter.write_dl([(entry.name, entry.sentence) for entry in entries])


class _Commands(MutableMapping[str, "Command"]):
    """The commands by name; each is imported when it is asked for."""

    def __init__(self) -> None:
        self._known: dict[str, Entry | Command] = {entry.name: entry for entry in ENTRIES}

    def __getitem__(self, name: str) -> "Command":
        found = self._known[name]
        return _load(found) if isinstance(found, Entry) else found

    def __setitem__(self, name: str, command: "Command") -> None:
        self._known[name] = command

    def __delitem__(self, name: str) -> None:
        del self._known[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._known)

    def __len__(self) -> int:
        return len(self._known)


def _load(entry: Entry) -> "Command":
    app = typer.Typer(
        name=entry.name,
        help=entry.sentence,
        no_args_is_help=True,
        rich_markup_mode=None,
        add_completion=False,
    )
    app.callback()(lambda: None)  # or else a single command would become the application itself
    for module in entry.modules:
        import_module(f"tidemill.cli.{module}").add_to(app)
    group = typer.main.get_group(app)
    command: Command = group if entry.is_group else group.commands[entry.name]
    _put_examples_on_lines(command)
    return command


def _put_examples_on_lines(command: "Command") -> None:
    """Put each example of the epilogs on a line of its own."""
    for each in getattr(command, "commands", {}).values():
        _put_examples_on_lines(each)
    if command.epilog and command.epilog.startswith("Example"):
        label, _, examples = command.epilog.partition(": ")
        lines = (f"  {line}" for example in examples.split(_EXAMPLES) for line in _folded(example.strip()))
        command.epilog = "\n".join(("\b", f"{label}:", *lines))  # \b keeps the lines as they are


def _folded(example: str) -> list[str]:
    r"""Return an example in lines that a shell reads as one command; long JSON is broken at its commas.

    >>> _folded("tidemill data infer data/the-orders-of-this-year.csv --name orders --project ../my-shop")
    ['tidemill data infer data/the-orders-of-this-year.csv --name orders \\', '    --project ../my-shop']
    """
    lines = [""]
    for word in _WORD.findall(example):
        parts = word.split(", ") if len(word) > _WIDTH else [word]
        for part in (*(f"{part}," for part in parts[:-1]), parts[-1]):
            if lines[-1] and len(lines[-1]) + len(part) >= _WIDTH:
                lines[-1] += "" if lines[-1].endswith(",") else " \\"
                lines.append(f"    {part}")
            else:
                lines[-1] += f" {part}" if lines[-1] else part
    return lines
