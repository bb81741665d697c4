"""``tidemill db``: the schemas of the records and of MLflow's database."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from tidemill.cli.options import AsJson, ProjectDir
from tidemill.cli.output import emit

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["add_to"]


def add_to(app: typer.Typer) -> None:
    """Add the commands."""
    app.command(epilog="Examples: tidemill db upgrade --dry-run   ·   tidemill db upgrade")(upgrade)


def upgrade(
    project: ProjectDir = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be done, try it, and change nothing.")
    ] = False,
    json: AsJson = False,
) -> None:
    """Bring the records and MLflow's database to this release."""
    from tidemill.project import open_folder
    from tidemill.state.database_snapshots import is_database
    from tidemill.state.schema import is_known, migrations_after, newest_heads
    from tidemill.state.store import make_tables, open_state, schema_of
    from tidemill.training.tracking.tracking_schema import tracking_schema, upgrade_tracking

    folder = open_folder(project)
    found = schema_of(folder.state_url)
    steps = migrations_after(found) if found is None or is_known(found) else []
    if not dry_run or not (found is None or is_known(found)):
        open_state(folder.state_url).close()  # refuses records of a newer release
    elif found is not None and steps:
        make_tables(folder.state_url, "heads", keep=False)
    tracking = tracking_schema(folder.tracking_database) if is_database(folder.tracking_database) else None
    if tracking is not None and not dry_run:
        upgrade_tracking(folder.tracking_database)

    facts: dict[str, Any] = {
        "dry_run": dry_run,
        "records": {
            "found": found,
            "newest": newest_heads()[0],
            "migrations": [{"revision": each.revision, "title": each.title} for each in steps],
        },
        "mlflow": None if tracking is None else {"found": tracking.found, "newest": tracking.wanted},
    }

    def render(console: "Console") -> None:
        if found is None:
            console.print("records: none yet" if dry_run else "✓ records: made")
        elif not steps:
            console.print(f"✓ records: schema {found}, nothing to do")
        else:
            done = "tried and taken back" if dry_run else "done"
            console.print(f"✓ records: from schema {found} to {newest_heads()[0]}, {done}")
            for each in steps:
                console.print(f"  {each.revision} {each.title}")
        if tracking is None:
            console.print("MLflow: behind its server; set TIDEMILL_TRACKING_DATABASE to its database")
        elif tracking.found == tracking.wanted:
            console.print(f"✓ MLflow: schema {tracking.found}, nothing to do")
        else:
            done = "not tried" if dry_run else "done"
            console.print(
                f"{'!' if dry_run else '✓'} MLflow: from {tracking.found} to {tracking.wanted}, {done}"
            )

    emit(facts, json, render)
