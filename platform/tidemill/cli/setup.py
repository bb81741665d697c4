"""``tidemill init``."""

from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer
from typer.core import TyperCommand

from tidemill.cli.options import AsJson
from tidemill.cli.output import emit
from tidemill.cli.progress_lines import progress
from tidemill.cli.questions import ask, ask_text, can_ask
from tidemill.cli.setup_options import (
    Data,
    EndpointUrl,
    Example,
    Folder,
    Key,
    LabelsAfter,
    Positive,
    Remote,
    Target,
    Task,
    Time,
)
from tidemill.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from rich.console import Console

    from tidemill.quickstart.choices import Assumption

__all__ = ["add_to"]

_LIST = "list"
"""The value of ``--example`` that shows all examples, also when none is given."""


class _Init(TyperCommand):
    """Takes ``--example`` with or without a value."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse the command line."""
        without = {
            place
            for place, one in enumerate(args)
            if one == "--example" and (place + 1 == len(args) or args[place + 1].startswith("-"))
        }
        given = [f"{one}={_LIST}" if place in without else one for place, one in enumerate(args)]
        return super().parse_args(ctx, given)


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    app.command(
        cls=_Init,
        epilog="Examples: tidemill init my-model --data table.csv --target churned   ·   "
        "tidemill init --example   ·   tidemill init wine --example wine   ·   "
        "tidemill init my-flights --remote s3://bucket/flights --endpoint-url http://minio:9000",
    )(init)


def init(
    folder: Folder = None,
    data: Data = None,
    target: Target = None,
    task: Task = None,
    time: Time = None,
    key: Key = None,
    positive: Positive = None,
    labels_after: LabelsAfter = None,
    example: Example = None,
    remote: Remote = None,
    endpoint_url: EndpointUrl = None,
    json: AsJson = False,
) -> None:
    """Make a new project, out of a table or as a copy of an example.

    On a terminal it asks what is left open; else it assumes, and says what. Without --data and --example it
    is a copy of the reference project, the flights. The folder becomes a git repository with DVC initialised.
    """
    if example == _LIST:
        _list_examples(json)
        return
    asks = can_ask(json)
    if folder is None:
        if not asks:
            raise UsageError(
                "DIR is missing: it names the folder of the new project", hint="tidemill init my-model"
            )
        folder = Path(ask_text("the new project's folder", "my-model"))
    about = {
        "--target": target,
        "--task": task,
        "--time": time,
        "--key": key,
        "--positive": positive,
        "--labels-after": labels_after,
    }
    if asks and data is None and example is None and not any(about.values()):
        data = _ask_table()
    _check_options(data, example, about)
    if data is None:
        _copy_example(folder, example or "flights", remote, endpoint_url, json)
    else:
        _make_from_table(folder, data, about, remote, endpoint_url, json)


def _ask_table() -> str | None:
    """Ask for a table until there is one; None if none is wanted."""
    from tidemill.quickstart.new_project import table_exists

    while data := ask_text("your table, a file or another source (empty: copy the flights)", ""):
        if table_exists(data, Path.cwd()):
            return data
        typer.echo(f"Error: {data}: there is no such file or folder", err=True)
    return None


def _check_options(data: str | None, example: str | None, about: dict[str, str | None]) -> None:
    from typing import get_args

    from tidemill.tasks.task_names import TaskName

    given = [option for option, value in about.items() if value is not None]
    if data is None and given:
        raise UsageError(f"{given[0]} is about a table, but --data is missing", hint="--data table.csv")
    if data is not None and example is not None:
        raise UsageError("--data and --example exclude each other", hint="leave one of the two out")
    if about["--task"] is not None and about["--task"] not in get_args(TaskName):
        raise UsageError(
            f"--task {about['--task']}: there is no such task", hint=f"one of {', '.join(get_args(TaskName))}"
        )


def _make_from_table(
    folder: Path,
    data: str,
    about: dict[str, str | None],
    remote: str | None,
    endpoint_url: str | None,
    json: bool,
) -> None:
    from tidemill.quickstart.init_options import InitOptions, assume
    from tidemill.quickstart.new_project import draft_project, write_draft

    said = {option[2:].replace("-", "_"): value for option, value in about.items()}
    options = InitOptions(**{**said, "target": about["--target"] or ""})  # type: ignore[arg-type]
    asks = can_ask(json)
    with _new_project(folder, remote, endpoint_url) as (made, finish):
        with nullcontext(_untold) if asks else progress() as tell:
            draft = draft_project(
                folder.resolve().name,
                data,
                Path.cwd(),
                options,
                ask if asks else assume,
                lambda message: tell("profile", message, None, None),
            )
        written = write_draft(draft, made)
        finish()
    facts = {
        "project": folder.resolve(),
        "files": written,
        "assumptions": [one._asdict() for one in draft.assumptions],
    }

    def render(console: "Console") -> None:
        console.print(
            f"✓ {folder}: {len(written)} files, a git repository with DVC initialised", soft_wrap=True
        )
        _show_assumptions(console, draft.assumptions)
        _say_next(console, folder)

    emit(facts, json, render)


def _show_assumptions(console: "Console", assumptions: "Iterable[Assumption]") -> None:
    from rich.table import Table
    from rich.text import Text

    table = Table.grid(padding=(0, 2, 0, 0), pad_edge=True)
    for subject, text, where in assumptions:
        table.add_row("", subject, Text.assemble(text, (f" → {where}", "dim")))
    console.print(table, highlight=False)


def _say_next(console: "Console", folder: Path) -> None:
    """Show the next commands in one line, which can be copied however long it is."""
    import shlex

    console.print(
        f"  next: cd {shlex.quote(str(folder))} && tidemill run --promote && tidemill up", soft_wrap=True
    )


def _untold(_step: str, _message: str, _done: int | None, _total: int | None) -> None:
    """Show no progress, which would be mixed with questions."""


def _copy_example(
    folder: Path, example: str, remote: str | None, endpoint_url: str | None, json: bool
) -> None:
    from tidemill.project.scaffold import copy_example

    with _new_project(folder, remote, endpoint_url) as (made, finish):
        written = copy_example(example, made)
        finish()

    def render(console: "Console") -> None:
        console.print(
            f"✓ {folder}: {len(written)} files, a git repository with DVC initialised", soft_wrap=True
        )
        _say_next(console, folder)

    emit({"project": folder.resolve(), "files": written}, json, render)


def _list_examples(json: bool) -> None:
    from tidemill.project.scaffold import examples

    found = examples()

    def render(console: "Console") -> None:
        from rich.table import Table

        table = Table.grid(padding=(0, 2, 0, 0), pad_edge=True)
        for name, sentence in found.items():
            table.add_row(name, sentence)
        console.print(table, highlight=False, markup=False)
        console.print(
            "  next: tidemill init DIR --example NAME, or tidemill init DIR --data TABLE --target COL"
        )

    emit({"examples": found}, json, render)


@contextmanager
def _new_project(
    folder: Path, remote: str | None, endpoint_url: str | None
) -> "Iterator[tuple[Path, Callable[[], None]]]":
    """Make the folder of a project, whole or not at all.

    The block gets a folder to fill, which becomes the project's at the end, and a function that makes it a
    git and DVC repository.
    """
    from tidemill.data.repository.remotes import parse_remote
    from tidemill.data.repository.repository_setup import init_workspace
    from tidemill.project.scaffold import whole_folder, without_leftovers

    place = parse_remote(remote or folder / ".tidemill" / "remote", endpoint_url)
    with without_leftovers(place.folder or folder), whole_folder(folder) as made:
        address: str | Path = place.address
        if place.folder is not None and place.folder.is_relative_to(folder.resolve()):
            address = made / place.folder.relative_to(folder.resolve())
        yield made, lambda: init_workspace(made, address, endpoint_url)
