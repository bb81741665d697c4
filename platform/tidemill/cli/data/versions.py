"""``tidemill data log``, ``show``, ``diff``, ``checkout`` and ``add``."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tidemill.cli.data.labels import Key, key_columns, labels_app
from tidemill.cli.data.version_display import (
    SHORT_ID,
    first_lines,
    parameter_lines,
    render_diff,
    size,
    statistics_table,
    validation_table,
)
from tidemill.cli.listing import Listing
from tidemill.cli.options import AsJson, ProjectDir
from tidemill.cli.output import emit, format_moment, print_indented
from tidemill.cli.own_acts import own_act
from tidemill.cli.progress_lines import progress
from tidemill.errors import RegistryError, VersionNotFound
from tidemill.plurals import counted

if TYPE_CHECKING:
    from rich.console import Console

    from tidemill.data.versioning.version_log import Trained
    from tidemill.project import ProjectFolder

__all__ = ["add_to"]


def add_to(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("log", epilog="Examples: tidemill data log   ·   tidemill data log --limit 3 --json")(log)
    app.command(
        "show",
        epilog="Examples: tidemill data show   ·   tidemill data show HEAD~1 data/training_set.parquet",
    )(show)
    app.command(
        "diff",
        epilog="Examples: tidemill data diff   ·   "
        "tidemill data diff HEAD~1 HEAD data/clean/aircraft.parquet --key tailnum",
    )(diff)
    app.command(
        "checkout",
        epilog="Examples: tidemill data checkout HEAD~1 --to /tmp/before   ·   "
        "tidemill data checkout 4f1d22 data/training_set.parquet --to before",
    )(checkout)
    app.command("add", epilog='Example: tidemill data add data/airports.csv --message "Airports of 2013"')(
        add
    )
    app.add_typer(labels_app, name="labels")


def log(
    project: ProjectDir = None,
    limit: Annotated[int, typer.Option(min=1, help="The newest this many.")] = 20,
    json: AsJson = False,
) -> None:
    """List the data versions, and what changed in each.

    It also names the model versions that were trained on each.
    """
    from tidemill.data.versioning.version_log import log as entries_of
    from tidemill.project import open_folder

    folder = open_folder(project)
    with progress() as tell:
        tell("models", "reading what was trained", None, None)
        trained, trouble = _trained(folder)
        tell("versions", "reading git", None, None)
        entries = entries_of(folder, limit, trained)

    def render(console: "Console") -> None:
        for entry in entries:
            files = [f"+ {path}" for path in entry.added] + [f"- {path}" for path in entry.removed]
            files += [f"~ {path}" for path in entry.changed]
            console.print(
                f"{entry.revision[:SHORT_ID]} · {format_moment(entry.time)} · {entry.message}", style="bold"
            )
            if entry.models:
                print_indented(console, f"trained on it: {', '.join(entry.models)}")
            for line in first_lines(parameter_lines(entry), 12):
                print_indented(console, line)
            for line in first_lines(files):
                console.print(f"  {line}", soft_wrap=True)
        if not entries:
            console.print("no version yet: tidemill run, or tidemill data add PATH")
        if trouble:
            console.print(f"the models that were trained on these versions are unknown: {trouble}")

    emit({"versions": entries, "models_unknown": trouble}, json, render)


def show(
    revision: Annotated[
        str, typer.Argument(metavar="[REV]", help="A version: id, tag, HEAD~2.", show_default=False)
    ] = "HEAD",
    path: Annotated[
        str | None,
        typer.Argument(
            help="Only this file or folder, with the statistics of its columns.", show_default=False
        ),
    ] = None,
    project: ProjectDir = None,
    json: AsJson = False,
) -> None:
    """Show the files of a data version.

    With PATH, it shows the statistics of every column.
    """
    from tidemill.data.versioning.show import show as look
    from tidemill.project import open_folder

    folder = open_folder(project)
    named, path = _revisions(folder, [revision, path], ["HEAD"])
    with progress() as tell:
        shown = look(folder, named or "HEAD", path, tell)

    def render(console: "Console") -> None:
        console.print(f"version {shown.revision[:SHORT_ID]} · {format_moment(shown.time)} · {shown.message}")
        table = Listing("path", "size", "files", "rows", "columns", "md5")
        for one in shown.outputs:
            rows = "–" if one.rows is None else f"{one.rows:,}"
            width = "–" if one.schema is None else str(len(one.schema))
            table.add_row(one.path, size(one.size), str(one.files or "–"), rows, width, one.md5[:SHORT_ID])
        console.print(table)
        for one in shown.outputs:
            if one.stats is not None:
                console.print(statistics_table(one.path, one.stats.columns))
            if one.note:
                console.print(f"{one.path}: {one.note}")
        if shown.validation is not None and path is None:
            console.print(validation_table(shown.validation))

    emit(shown, json, render)


def diff(
    before: Annotated[
        str | None,
        typer.Argument(metavar="[A]", help="A version (default: the one before HEAD).", show_default=False),
    ] = None,
    after: Annotated[
        str | None, typer.Argument(metavar="[B]", help="Another (default: HEAD).", show_default=False)
    ] = None,
    path: Annotated[str | None, typer.Argument(help="Only this file or folder.", show_default=False)] = None,
    key: Key = None,
    files: Annotated[bool, typer.Option("--files", help="Only which files differ; reads none.")] = False,
    project: ProjectDir = None,
    json: AsJson = False,
) -> None:
    """Compare two data versions.

    It compares the files, and of tables the rows, the schema, and every column.
    """
    from tidemill.data.versioning.diff import diff as compare
    from tidemill.data.versioning.diff import previous
    from tidemill.project import load_project

    loaded = load_project(project)
    given = _revisions(loaded, [before, after, path], [None, "HEAD"])
    with progress() as tell:
        found = compare(
            loaded,
            given[0] or previous(loaded),
            given[1] or "HEAD",
            given[2],
            key_columns(key),
            tell,
            rows=not files,
        )

    def render(console: "Console") -> None:
        render_diff(console, found, in_full=given[2] is not None)

    emit(found, json, render)


def checkout(
    revision: Annotated[str, typer.Argument(metavar="REV", help="A version.", show_default=False)],
    to: Annotated[Path, typer.Option("--to", help="A new or empty folder.", show_default=False)],
    paths: Annotated[
        list[str] | None,
        typer.Argument(metavar="[PATH]...", help="Files and folders (default: all).", show_default=False),
    ] = None,
    project: ProjectDir = None,
    json: AsJson = False,
) -> None:
    """Write a data version into a new folder.

    The files are links to DVC's cache where links can be made.
    Hard links are read-only: they are the very files of DVC's cache. Copy one to change it.
    """
    from tidemill.data.versioning.checkout import checkout as bring_back
    from tidemill.project import load_project

    loaded = load_project(project)
    with progress() as tell:
        done = bring_back(loaded, revision, paths or [], to, tell)

    def render(console: "Console") -> None:
        ways = ", ".join(f"{count} by {way}" for way, count in done.links.items())
        console.print(f"✓ {done.folder}: version {done.revision[:SHORT_ID]}, {size(done.size)}, {ways}")
        if "hardlink" in done.links:
            console.print("  hard links are read-only: copy a file before you change it")
        if done.not_kept:
            console.print(f"  not kept by DVC (cache: false): {', '.join(done.not_kept)}")

    emit(done, json, render)


def add(
    path: Annotated[Path, typer.Argument(help="A file or folder in the project.", show_default=False)],
    message: Annotated[
        str | None, typer.Option("--message", "-m", help="Of the commit.", show_default=False)
    ] = None,
    project: ProjectDir = None,
    json: AsJson = False,
) -> None:
    """Put a file or folder under version.

    DVC keeps its content, git its name; the remote gets a copy.
    """
    from tidemill.data.versioning.add import add as put
    from tidemill.project import load_project

    loaded = load_project(project)
    here = path.absolute() if os.path.lexists(path) else loaded.root / path
    with progress() as tell:
        named = os.path.relpath(here, loaded.root)
        added = put(loaded, here, message, tell, before=own_act(loaded, "add", ("data", named), message))

    def render(console: "Console") -> None:
        verb = "is in version" if added.changed else "has not changed since version"
        console.print(f"✓ {added.path} {verb} {added.version.revision[:SHORT_ID]}")
        if added.erased:
            rows = counted(added.erased, "row")
            console.print(f"  left out, here and on disk: {rows} of erased subjects")

    facts = {
        "path": added.path,
        "revision": added.version.revision,
        "md5": added.version.outputs[added.path],
        "changed": added.changed,
        "erased": added.erased,
    }
    emit(facts, json, render)


def _trained(folder: "ProjectFolder") -> tuple[tuple["Trained", ...], str | None]:
    """Return what the registry says was trained, or why it does not say."""
    if folder.settings.tracking_uri is None and not (folder.home / "mlflow.db").exists():
        return (), None  # nothing was trained here yet, and looking would make a database
    try:
        from tidemill.data.versioning.version_log import Trained
        from tidemill.registry.versions.registry_reader import read_registered

        versions = read_registered(folder)
    except (RegistryError, ModuleNotFoundError) as error:
        return (), str(error)
    return tuple(
        Trained(v.model, v.version, v.lineage["git_commit"], v.lineage["data"])
        for v in versions
        if v.lineage and "imported" not in v.lineage
    ), None


def _revisions(
    project: "ProjectFolder", given: list[str | None], defaults: list[str | None]
) -> list[str | None]:
    """Let the last argument be a path though the versions before it were left out."""
    from tidemill.data.repository.revisions import resolve

    *revisions, path = given
    if path is not None:
        return given
    for place in range(len(revisions) - 1, -1, -1):
        name = revisions[place]
        if name is None or name == defaults[place]:
            continue
        try:
            resolve(project, name)
        except VersionNotFound:
            if "/" not in name and "." not in name:
                raise
            return [*revisions[:place], *defaults[place:], name]
        break
    return given
