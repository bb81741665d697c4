"""``tidemill data labels import``."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tidemill.cli.options import AsJson, ProjectDir
from tidemill.cli.output import emit
from tidemill.cli.own_acts import own_act
from tidemill.cli.progress_lines import progress
from tidemill.clock import SystemClock
from tidemill.errors import UsageError
from tidemill.plurals import counted

if TYPE_CHECKING:
    from rich.console import Console

    from tidemill.data.labels.label_import import Imported

__all__ = ["Key", "key_columns", "labels_app"]

labels_app = typer.Typer(no_args_is_help=True, help="Import labels that were made in a labelling tool.")

Key = Annotated[
    list[str] | None,
    typer.Option(
        "--key",
        metavar="COLUMNS",
        help="Columns by which a row is found again: a,b or repeated.",
        show_default=False,
    ),
]


@labels_app.command(
    "import",
    epilog="Examples: tidemill data labels import export.json --key tailnum "
    "--against data/clean/aircraft.parquet   ·   tidemill data labels import votes.csv "
    "--key carrier,flight,scheduled_departure --time scheduled_departure --majority",
)
def import_(
    file: Annotated[
        Path, typer.Argument(help="Label Studio's JSON, JSON-MIN or CSV, or a table.", show_default=False)
    ],
    key: Key = None,
    time: Annotated[
        str | None,
        typer.Option(metavar="COLUMN", help="Column of the key that is a moment.", show_default=False),
    ] = None,
    known_at: Annotated[
        str | None,
        typer.Option(
            metavar="COLUMN|WHEN",
            help="Column with the moment from which on a label is known, or that moment (default: when it "
            "was made in the tool).",
            show_default=False,
        ),
    ] = None,
    name: Annotated[str, typer.Option(help="They become data/labels/NAME.parquet.")] = "labels",
    label: Annotated[
        str | None,
        typer.Option(help="Control or column with the label (default: the only one).", show_default=False),
    ] = None,
    majority: Annotated[
        bool, typer.Option("--majority", help="Votes decide between annotators, not the latest.")
    ] = False,
    against: Annotated[
        Path | None,
        typer.Option(help="Table that must know all keys, and gives them their types.", show_default=False),
    ] = None,
    project: ProjectDir = None,
    json: AsJson = False,
) -> None:
    """Import labels as versioned data.

    It keeps one label a key, with when it was known and who gave it.
    """
    from tidemill.data.labels.annotation_checks import LabelRequest
    from tidemill.data.labels.label_import import import_labels
    from tidemill.project import load_project

    loaded = load_project(project)
    if against is not None and not against.exists():
        against = loaded.root / against
    request = LabelRequest(file, key_columns(key), name, label, time, known_at, majority, against)
    with progress() as tell:
        before = own_act(loaded, "import", ("labels", name), file=file.name, majority=majority)
        done = import_labels(loaded, request, SystemClock().now(), tell, before=before)
    emit(done, json, lambda console: _show(console, done))


def _show(console: "Console", done: "Imported") -> None:
    verb = "is in version" if done.changed else "has not changed since version"
    console.print(f"✓ {done.path} {verb} {done.revision[:10]}: {counted(done.labels, 'label')}")
    console.print(
        f"  from {counted(done.annotations, 'annotation')}; "
        f"{counted(done.contradicted, 'key')} had different labels"
    )
    if left := done.cancelled + done.unlabelled + done.erased:
        console.print(
            f"  left out {left:,}: {done.cancelled:,} cancelled, {done.unlabelled:,} without a label, "
            f"{done.erased:,} of erased subjects"
        )


def key_columns(key: list[str] | None) -> tuple[str, ...]:
    """Return the columns that ``--key`` names.

    Raises:
        UsageError: a name is empty, or there twice.

    >>> key_columns(["carrier, flight", "day"])
    ('carrier', 'flight', 'day')
    """
    names = tuple(name.strip() for part in key or () for name in part.split(","))
    if not all(names) or len(set(names)) != len(names):
        raise UsageError(f"--key {','.join(key or ())} does not name columns", hint="--key carrier,flight")
    return names
