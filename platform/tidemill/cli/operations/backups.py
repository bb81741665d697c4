"""``tidemill backup`` and ``tidemill restore``: copies of what an installation keeps."""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from tidemill.cli.options import AsJson, ProjectDir
from tidemill.cli.output import emit
from tidemill.cli.own_acts import own_act
from tidemill.cli.progress_lines import progress
from tidemill.clock import SystemClock
from tidemill.errors import UsageError
from tidemill.plurals import counted

if TYPE_CHECKING:
    from rich.console import Console
    from typer._click import Context

    from tidemill.backup.backup_facts import BackupFacts
    from tidemill.project import ProjectFolder

__all__ = ["add_to"]


class _WithPlace(TyperGroup):
    """``tidemill backup FILE`` is ``tidemill backup make FILE``."""

    default = "make"

    def parse_args(self, ctx: "Context", args: list[str]) -> list[str]:
        """Put the command's name before a place."""
        if args and args[0] not in (*self.commands, "--help", "-h"):
            args = [self.default, *args]
        return super().parse_args(ctx, args)


backup_app = typer.Typer(
    cls=_WithPlace,
    help="Copy what the installation keeps, and verify it.",
    epilog="Examples: tidemill backup shop.tar.gz   ·   tidemill backup verify shop.tar.gz",
    subcommand_metavar="FILE | s3://… | verify FILE",
    no_args_is_help=True,
)
_Place = Annotated[
    str, typer.Argument(metavar="FILE", help="A file, or an address such as s3://…; {at} is the time.")
]
_PassphraseFile = Annotated[
    Path | None,
    typer.Option(
        help="File whose first line is the passphrase (default: TIDEMILL_BACKUP_PASSPHRASE).",
        show_default=False,
    ),
]
_Artifacts = Annotated[
    str | None,
    typer.Option(
        metavar="PLACE",
        help="Where MLflow's server keeps files (default: the project's folder).",
        show_default=False,
    ),
]


def add_to(app: typer.Typer) -> None:
    """Add the commands."""
    backup_app.command(
        name="make",
        epilog="Examples: tidemill backup shop.tar.gz --log   ·   "
        "tidemill backup s3://backups/shop.tar.gz --encrypt --passphrase-file key",
    )(make)
    backup_app.command(epilog="Example: tidemill backup verify shop.tar.gz")(verify)
    app.add_typer(backup_app, name="backup")
    app.command(
        epilog="Examples: tidemill restore shop.tar.gz   ·   "
        "tidemill restore s3://backups/shop.tar.gz --passphrase-file key"
    )(restore)


def make(
    place: _Place,
    project: ProjectDir = None,
    log: Annotated[bool, typer.Option("--log", help="Add the prediction log and its labels.")] = False,
    runs: Annotated[bool, typer.Option("--runs", help="Add the files of all runs.")] = False,
    reports: Annotated[bool, typer.Option("--reports", help="Add the monitors' reports.")] = False,
    data: Annotated[bool, typer.Option("--data", help="Add DVC's remote, if it is in .tidemill.")] = False,
    keys: Annotated[bool, typer.Option("--keys", help="Add the key of pseudonyms, in clear.")] = False,
    encrypt: Annotated[bool, typer.Option("--encrypt", help="Encrypt it with a passphrase.")] = False,
    passphrase_file: _PassphraseFile = None,
    artifacts: _Artifacts = None,
    json: AsJson = False,
) -> None:
    """Write a backup: what `tidemill backup FILE` does.

    It has the records, MLflow's database and the files of registered versions, all of one moment; the
    platform may run meanwhile.
    """
    from tidemill.backup.making import make_backup
    from tidemill.project import open_folder

    folder = open_folder(project)
    now = SystemClock().now()
    place = place.replace("{at}", f"{now:%Y%m%dT%H%M%SZ}")
    chosen = {"log": log, "runs": runs, "reports": reports, "data": data, "keys": keys}
    choices = [name for name, wanted in chosen.items() if wanted]
    secret = _passphrase(folder, passphrase_file, wanted=encrypt)
    _record(folder, "back-up", place, holds=choices, encrypted=secret is not None)
    with progress() as tell:
        made = make_backup(
            folder,
            place,
            made_at=now.isoformat(timespec="seconds"),
            choices=choices,
            artifacts=artifacts,
            passphrase=secret,
            tell=tell,
        )

    def render(console: "Console") -> None:
        size = f"{made.bytes / 1e6:,.1f} MB"
        console.print(
            f"✓ {place}: {counted(made.files, 'member')}, {size} before compression", soft_wrap=True
        )
        _show(console, made.facts)
        for note in made.notes:
            console.print(f"! {note}", soft_wrap=True)

    told = {"place": place, "encrypted": secret is not None, "members": made.files, "bytes": made.bytes}
    emit({**told, **_plain(made.facts), "notes": made.notes}, json, render)


def verify(
    place: _Place,
    project: ProjectDir = None,
    passphrase_file: _PassphraseFile = None,
    json: AsJson = False,
) -> None:
    """Restore a backup into an empty place, and compare.

    All of it is removed again.
    """
    from tidemill.backup.restoring import verify_backup
    from tidemill.project import load_project

    loaded = load_project(project)
    secret = _passphrase(loaded, passphrase_file, wanted=False)
    with TemporaryDirectory(prefix="tidemill-verify-") as folder:
        facts = verify_backup(loaded, place, Path(folder), passphrase=secret)

    def render(console: "Console") -> None:
        console.print(f"✓ {place} can be restored: every member, row and version is there", soft_wrap=True)
        _show(console, facts)

    emit({"place": place, "verified": True, **_plain(facts)}, json, render)


def restore(
    place: _Place,
    project: ProjectDir = None,
    passphrase_file: _PassphraseFile = None,
    artifacts: _Artifacts = None,
    log_store: Annotated[
        str | None,
        typer.Option(
            metavar="ADDRESS",
            help="Where parts of the log go that were in an object store (default: there).",
            show_default=False,
        ),
    ] = None,
    json: AsJson = False,
) -> None:
    """Bring a backup back into an empty project.

    The project is a clone of the backup's, at its commit, without a folder .tidemill; databases are empty.
    """
    from tidemill.backup.restoring import restore_backup
    from tidemill.project import load_project

    loaded = load_project(project)
    secret = _passphrase(loaded, passphrase_file, wanted=False)
    facts = restore_backup(loaded, place, passphrase=secret, artifacts=artifacts, log_store=log_store)
    named = loaded.config.serve.log.store
    own_act(
        loaded, "restore", ("backup", place.rpartition("/")[2]), made_at=facts.made_at, commit=facts.commit
    )()

    def render(console: "Console") -> None:
        console.print(f"✓ {loaded.home} is as it was at {facts.made_at}", soft_wrap=True)
        _show(console, facts)
        if facts.commit:
            console.print(f"Its files were those of commit {facts.commit[:12]}; bring data by `dvc pull`")
        if facts.stores and log_store not in (None, named):
            console.print(f"Set serve.log.store in params.yaml to {log_store}", soft_wrap=True)

    emit({"place": place, "restored": loaded.home, **_plain(facts)}, json, render)


def _passphrase(folder: "ProjectFolder", file: Path | None, *, wanted: bool) -> str | None:
    """Return the passphrase; None where none was given and none is wanted."""
    found: str | None = None
    if file is not None:
        try:
            found = file.read_text(encoding="utf-8").partition("\n")[0]
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(
                f"the passphrase cannot be read: {file}: {error}", hint="check the file"
            ) from error
        if not found:
            raise UsageError(f"{file} has no passphrase in its first line", hint="write one there")
    elif folder.settings.backup_passphrase is not None:
        found = folder.settings.backup_passphrase.get_secret_value()
    if wanted and found is None:
        raise UsageError(
            "--encrypt needs a passphrase",
            hint="name a file with it by --passphrase-file FILE, or set TIDEMILL_BACKUP_PASSPHRASE",
        )
    return found


def _record(folder: "ProjectFolder", action: str, place: str, **details: Any) -> None:
    """Put a backup on record, unless that would migrate records of an earlier release."""
    from tidemill.state.schema import newest_heads
    from tidemill.state.store import schema_of

    found = schema_of(folder.state_url)
    if found is None:
        raise UsageError(
            f"{folder.home} has no records: there is nothing to back up", hint="begin with `tidemill run`"
        )
    if (found,) == newest_heads():
        own_act(folder, action, ("backup", place.rpartition("/")[2]), **details)()


def _show(console: "Console", facts: "BackupFacts") -> None:
    rows = sum(facts.records.rows.values())
    console.print(f"  records: schema {facts.records.revision}, {counted(rows, 'row')}, {facts.records.kind}")
    if facts.tracking is not None:
        rows = sum(facts.tracking.rows.values())
        versions = counted(len(facts.versions), "registered version")
        console.print(f"  MLflow {facts.mlflow}: {counted(rows, 'row')}, {versions}")
    console.print(f"  beside them: {', '.join(facts.holds) or 'nothing'}")
    for each in facts.stores:
        console.print(f"  parts of the log that were in {each.address}", soft_wrap=True)


def _plain(facts: "BackupFacts") -> dict[str, object]:
    return {
        "made_at": facts.made_at,
        "release": facts.release,
        "commit": facts.commit,
        "uncommitted": facts.uncommitted,
        "holds": facts.holds,
        "schema": facts.records.revision,
        "versions": [f"{each.model} {each.version}" for each in facts.versions],
        "log_stores": [each.address for each in facts.stores],
    }
