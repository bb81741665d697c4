"""``tidemill data privacy`` and ``tidemill data erase``."""

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tidemill.cli.listing import Listing
from tidemill.cli.options import AsJson, ProjectDir
from tidemill.cli.output import emit, print_indented
from tidemill.cli.progress_lines import progress
from tidemill.cli.questions import confirm
from tidemill.clock import SystemClock
from tidemill.errors import UsageError
from tidemill.plurals import counted

if TYPE_CHECKING:
    from rich.console import Console

    from tidemill.privacy.erasure.erasing import Erased
    from tidemill.privacy.inventory import FieldInventory

__all__ = ["add_to"]


def add_to(app: typer.Typer) -> None:
    """Add the commands."""
    app.command(epilog="Example: tidemill data privacy --json")(privacy)
    app.command(
        epilog="Examples: tidemill data erase --entity tailnum=N14228 --dry-run   ·   "
        "tidemill data erase --entity tailnum=N14228 --reason 'asked by letter' --yes   ·   "
        "tidemill data erase --resume"
    )(erase)


def privacy(project: ProjectDir = None, json: AsJson = False) -> None:
    """Show the personal fields, and where they are kept.

    It also says whether the prediction log hides them.
    """
    from tidemill.privacy.inventory import take_inventory
    from tidemill.project import load_project

    loaded = load_project(project)
    found = take_inventory(loaded)

    def render(console: "Console") -> None:
        if found.fields:
            _show_fields(console, found.fields)
        else:
            where = 'tag one in the feature definitions, tags={"personal": "true"}'
            where = where if loaded.has_store else "mark one in features.yaml, personal: true"
            console.print(f"no personal field is declared: {where}")
        for one in found.undeclared:
            files = ", ".join(one.files)
            console.print(f"not declared, but looks like {one.kind}: {one.name}, in {files}", soft_wrap=True)
        console.print(f"key         {found.key}")
        console.print(f"tombstones  {found.tombstones}")
        if found.unfinished:
            console.print(f"unfinished  {found.unfinished}: tidemill data erase --resume")

    emit(found, json, render)


def _show_fields(console: "Console", fields: "Sequence[FieldInventory]") -> None:
    table = Listing("field", "kind", "declared by", "views", "in the log")
    for field in fields:
        hidden = "null" if field.kind == "feature" else "hidden"
        table.add_row(
            field.name,
            field.kind,
            field.declared,
            ", ".join(field.views) or "–",
            hidden if field.hidden else "NOT hidden: not applied yet",
        )
    console.print(table)
    for field in fields:
        console.print(f"files that hold {field.name}:" if field.files else f"no file holds {field.name}")
        for file in field.files:
            console.print(f"  {file}", soft_wrap=True)


_Entity = Annotated[
    list[str] | None,
    typer.Option("--entity", metavar="COLUMN=VALUE", help="Whom; again for each column of a key of several."),
]
_Actor = Annotated[
    str | None, typer.Option(help="Who asks for it (default: the logged-in user).", show_default=False)
]
_History = Annotated[
    bool, typer.Option("--history", help="Purge earlier data versions from DVC's cache and remotes too.")
]
_Resume = Annotated[bool, typer.Option("--resume", help="Finish erasures that did not come to an end.")]


def erase(
    entity: _Entity = None,
    reason: Annotated[str, typer.Option(help="Why, for the record.")] = "",
    actor: _Actor = None,
    history: _History = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what would be erased.")] = False,
    resume: _Resume = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    project: ProjectDir = None,
    json: AsJson = False,
) -> None:
    """Erase one subject everywhere.

    It erases from the online store, data, predictions and labels, and lists what cannot be erased.
    """
    from tidemill.privacy.erasure import erasing
    from tidemill.privacy.subject import parse_entity
    from tidemill.project import load_project

    asks = sys.stdin.isatty() and not json
    _check_options(entity, resume=resume, dry_run=dry_run, confirmed=yes or asks)
    loaded = load_project(project)
    values = parse_entity(entity) if entity else {}
    if (not resume and not yes) or dry_run:
        with _progress() as told:
            found = erasing.preview(loaded, values, told)
        emit(found, json and dry_run, lambda console: _show(console, found))
        if dry_run:
            return
        confirm("Erase this for good?")
    with _progress() as told:
        if resume:
            done = erasing.resume(loaded, SystemClock(), told)
        else:
            who = actor or loaded.settings.who
            done = erasing.erase(
                loaded, values, actor=who, reason=reason, history=history, clock=SystemClock(), tell=told
            )
    emit(done, json, lambda console: _show_all(console, done))
    if any(each.status != "done" for each in done):
        raise typer.Exit(1)


@contextmanager
def _progress() -> Iterator[Callable[[str, str], None]]:
    with progress() as tell:
        yield lambda step, message: tell(step, message, None, None)


def _check_options(entity: Sequence[str] | None, *, resume: bool, dry_run: bool, confirmed: bool) -> None:
    if resume == bool(entity):
        raise UsageError(
            "name a subject with --entity, or finish earlier erasures with --resume",
            hint="tidemill data erase --entity tailnum=N14228 --dry-run",
        )
    if resume and dry_run:
        raise UsageError("--resume and --dry-run exclude each other", hint="tidemill data privacy")
    if not (resume or dry_run or confirmed):
        raise UsageError(
            "an erasure cannot be undone: confirm it with --yes", hint="--dry-run shows what would be erased"
        )


def _show_all(console: "Console", done: "Sequence[Erased]") -> None:
    if not done:
        console.print("no erasure is waiting to be finished")
    for each in done:
        _show(console, each)


def _show(console: "Console", erased: "Erased") -> None:
    who = " + ".join(
        f"{column} {pseudonym}" for column, pseudonym in zip(erased.entity, erased.pseudonyms, strict=True)
    )
    console.print(f"{erased.status}: {who}{'  (begun earlier)' if erased.resumed else ''}")
    found, steps = erased.found, erased.steps
    table = Listing("place", "what", "removed" if steps else "found", *(() if steps else ("it is",)))

    def add(name: str, what: str, amount: str, step: str, verb: str) -> None:
        if not steps:
            table.add_row(name, what, amount, verb)
        else:
            table.add_row(name, what, amount if steps.get(step, {}).get("status") == "done" else "not yet")

    for name, keys in found["online"].items():
        add(name, "online store", counted(keys, "key"), "online", "removed")
    for place in found["places"]:
        step, verb = _PLACES.get(place["kind"], ("files", "rewritten"))
        if step is not None:
            add(place["name"], place["what"], counted(place["rows"], "row"), step, verb)
    for job in found.get("jobs", ()):  # an order of before they were looked for has none
        add(job["id"], f"slow prediction, {job['status']}", counted(job["lines"], "line"), "jobs", "erased")
    for name, count in found["texts"].items():
        add(name, "log or report", counted(count, "mention"), "texts", "masked")
    told = f"{counted(found['predictions'], 'prediction')}, {counted(found['labels'], 'label')}"
    add("predictions", "prediction log", told, "log", "blanked")
    console.print(table)
    for place in found["places"]:
        if place["kind"] == "upstream":
            print_indented(
                console,
                f"! {place['name']} is outside the project and stays as it is: remove "
                f"{counted(place['rows'], 'row')} there yourself",
            )
        if place["kind"] == "tracked" and not steps:
            print_indented(
                console,
                f"! {place['name']} is tracked by git and stays as it is: take "
                f"{counted(place['rows'], 'mention')} out yourself, and commit",
            )
    for address in found.get("upstream", ()):
        print_indented(console, f"! {address} was not searched: remove the subject's rows there yourself")
    for name, outcome in erased.steps.items():
        if outcome["status"] == "failed":
            console.print(f"FAILED {name}: {outcome['error']}")
            if outcome.get("hint"):
                console.print(f"  hint: {outcome['hint']}")
    _show_models(console, found["models"])
    if rows := erased.steps.get("runs", {}).get("rows"):
        where = counted(len(rows), "training run")
        console.print(f"{counted(sum(rows.values()), 'row')} removed from what {where} kept")
    if unknown := erased.steps.get("runs", {}).get("unknown"):
        print_indented(
            console,
            f"! {counted(len(unknown), 'training run')} may keep rows of the subject: no training set tells "
            f"any more whose they are. Delete the runs in MLflow: {', '.join(run[:8] for run in unknown)}",
        )
    _show_versions(console, found["versions"], erased.steps)
    _show_elsewhere(console, found.get("elsewhere", ()))


_PLACES: Mapping[str, tuple[str | None, str]] = {
    "output": ("check", "made again"),  # the pipeline left it out if the check found nothing
    "draft": ("files", "deleted"),
    "upstream": (None, ""),
    "tracked": (None, ""),
}
"""Kind of place → the step that empties it, and what becomes of it; all others are rewritten."""


def _show_elsewhere(console: "Console", outputs: Sequence[Mapping[str, Any]]) -> None:
    for schedule in dict.fromkeys(place["schedule"] for place in outputs):
        written = [place["output"] for place in outputs if place["schedule"] == schedule]
        what = counted(len(written), "output")
        console.print(
            f"not searched: {what} of schedule {schedule} outside the project, the latest {written[-1]}",
            soft_wrap=True,
        )


def _show_models(console: "Console", models: Sequence[Mapping[str, Any]]) -> None:
    if not models:
        return
    table = Listing("model version", "aliases", "trained on the subject", "rows kept by its run")
    for model in models:
        name = f"{model['model']} {model['version']}"
        table.add_row(name, ", ".join(model["aliases"]) or "–", model["trained_on"], model["samples"])
    console.print(table)
    if any(model["trained_on"] in ("yes", "in its data") for model in models):
        console.print("models are not changed: train a new one with `tidemill run`")


def _show_versions(
    console: "Console", versions: Sequence[Mapping[str, Any]], steps: Mapping[str, Any]
) -> None:
    holding = [version for version in versions if version["files"]]
    purged = steps.get("history", {}).get("contents")
    if purged is not None:
        console.print(f"{purged} contents of {counted(len(holding), 'earlier data version')} were purged")
    elif holding:
        which = ", ".join(version["revision"][:8] for version in holding[:8]) + (
            " …" if len(holding) > 8 else ""
        )
        one = len(holding) == 1
        tense = f"made before {'keeps' if one else 'keep'}" if steps else "holds" if one else "hold"
        console.print(
            f"{counted(len(holding), 'data version')} {tense} the subject in DVC's cache and remotes: {which}"
        )
        console.print("--history purges them there" if not steps else "purge them: the same with --history")
