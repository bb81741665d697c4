"""Options of ``tidemill init``."""

from pathlib import Path
from typing import Annotated

import typer

__all__ = [
    "Data",
    "EndpointUrl",
    "Example",
    "Folder",
    "Key",
    "LabelsAfter",
    "Positive",
    "Remote",
    "Target",
    "Task",
    "Time",
]

Folder = Annotated[
    Path | None, typer.Argument(metavar="DIR", help="A new or empty folder.", show_default=False)
]
Data = Annotated[
    str | None,
    typer.Option(
        metavar="TABLE",
        help="Make the project out of a table: a CSV, parquet or JSON lines file, a folder of them, a "
        "pattern in quotes, all of these on S3 (s3://bucket/table.csv), or a table of a database, as "
        "sqlite:///shop.db::orders.",
        show_default=False,
    ),
]
Target = Annotated[str | None, typer.Option(metavar="COL", help="Column to predict.", show_default=False)]
Task = Annotated[
    str | None,
    typer.Option(
        metavar="TASK",
        help="binary, multiclass or regression (default: by the target).",
        show_default=False,
    ),
]
Time = Annotated[
    str | None,
    typer.Option(
        metavar="COL",
        help="Column with the moment of the prediction, or none (default: looked for).",
        show_default=False,
    ),
]
Key = Annotated[
    str | None,
    typer.Option(
        metavar="COL",
        help="Column that says what a row is about, or none (default: looked for).",
        show_default=False,
    ),
]
Positive = Annotated[
    str | None,
    typer.Option(
        metavar="CLASS", help="Of two classes, the one whose probability is wanted.", show_default=False
    ),
]
LabelsAfter = Annotated[
    str | None,
    typer.Option(
        metavar="TIME", help="How long after its time a row's label is known, as 2d.", show_default=False
    ),
]
Example = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="Copy this example; alone: list them all.", show_default=False),
]
Remote = Annotated[
    str | None,
    typer.Option(
        metavar="FOLDER|URL",
        help="Where DVC keeps a second copy of the data: a folder, s3://bucket/path or "
        "ssh://user@host/path, with credentials from the environment (default: .tidemill/remote in it).",
        show_default=False,
    ),
]
EndpointUrl = Annotated[str | None, typer.Option(help="Of an S3-compatible store.", show_default=False)]
