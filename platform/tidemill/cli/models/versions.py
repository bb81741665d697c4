"""``tidemill models``: the versions in the registry."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tidemill.cli.listing import Listing
from tidemill.cli.models import model_card, model_import, version_comparison, version_removal
from tidemill.cli.models.version_arguments import AnyVersion, Model, Version, is_version, meant_version
from tidemill.cli.models.version_list import render_versions, version_facts
from tidemill.cli.models.version_stages import said_moves, stage_facts
from tidemill.cli.options import AsJson, ProjectDir
from tidemill.cli.output import emit, format_moment
from tidemill.cli.own_acts import own_act
from tidemill.cli.progress_lines import progress
from tidemill.errors import UsageError
from tidemill.plurals import counted
from tidemill.tasks.natural_metric import natural_values

if TYPE_CHECKING:
    from rich.console import Console

    from tidemill.state.record_reader import Row

__all__ = ["add_to"]

models_app = typer.Typer(no_args_is_help=True, help="See the versions of a model, and which one served when.")


def add_to(app: typer.Typer) -> None:
    """Add the commands."""
    model_import.add_to(models_app)
    model_card.add_to(models_app)
    version_comparison.add_to(models_app)
    version_removal.add_to(models_app)
    app.add_typer(models_app, name="models")


@models_app.command("list", epilog="Example: tidemill models list flight-delay")
def models_list(
    model: Annotated[
        str | None, typer.Argument(help="Default: the project's model.", show_default=False)
    ] = None,
    all_of: Annotated[bool, typer.Option("--all", help="Also those that are archived.")] = False,
    project: ProjectDir = None,
    json: AsJson = False,
) -> None:
    """Show the versions of a model."""
    from tidemill.cli.reading import open_reading
    from tidemill.registry.versions.registry_reader import read_registered
    from tidemill.tasks.task_names import declared_metric

    folder, _ = open_reading(project)
    if model is not None and is_version(folder, model):
        raise UsageError(
            f"models list shows all versions of a model, and {model} is a version of {folder.model}",
            hint=f"tidemill models show {model}",
        )
    known = read_registered(folder, model)
    versions = [one for one in known if all_of or one.aliases or not one.archived]
    away = counted(len(known) - len(versions), "archived version")

    def render(console: "Console") -> None:
        metric = declared_metric(folder.params)
        render_versions(console, versions, metric, "no version yet: tidemill run" if not known else "none")
        if len(known) > len(versions):
            console.print(f"{away}: --all shows them, too")

    emit([version_facts(one) for one in versions], json, render)


@models_app.command(
    "show",
    epilog="Examples: tidemill models show   ·   tidemill models show 3   ·   "
    "tidemill models show flight-delay champion --json",
)
def models_show(
    model: Model = None,
    version: Version = None,
    project: ProjectDir = None,
    json: AsJson = False,
) -> None:
    """Show one version: metrics, lineage, gate decisions."""
    from tidemill.cli.reading import open_reading
    from tidemill.registry.versions.registry_reader import read_version
    from tidemill.state.record_queries import gate_decisions, kpis_of, stage_moves

    folder, records = open_reading(project)
    model, version = meant_version(folder, model, version)
    found = read_version(folder, version, model)
    decisions = gate_decisions(records, model, found.version)
    names = ("model", "version", "aliases", "run_id", "metrics", "lineage", "compiled")
    kpis = kpis_of(records, model, found.version)
    gate = [_decided(one) for one in decisions]
    stages = stage_moves(records, model, found.version)
    facts = {name: getattr(found, name) for name in names} | {"gate": gate, "kpis": kpis}
    facts |= {"stages": [stage_facts(one) for one in stages]}

    def render(console: "Console") -> None:
        named = " ".join(filter(None, (found.model, found.version, ", ".join(found.aliases))))
        console.print(f"{named} · run {found.run_id}")
        changed = found.lineage.get("uncommitted")
        said = "unknown" if changed is None else ", ".join(changed) or "none"
        lineage = {**found.lineage, "uncommitted": said} if found.lineage else {}
        if "by" in (split := lineage.get("split") or {}):
            lineage["split"] = _shares(split)
        if beside := lineage.pop("beside", None):
            lineage["untracked texts"] = beside
        if packages := (lineage.get("environment") or {}).get("packages"):
            lineage["environment"] = {**lineage["environment"], "packages": f"{len(packages)} in all: --json"}
        for section, values in (("metrics", natural_values(found.metrics)), ("lineage", lineage)):
            table = Listing(section, "")
            for name, value in sorted(values.items()):
                table.add_row(name, _plain(value))
            console.print(table)
        console.print(f"compiled: {_compiled(found.compiled)}")
        for kpi in kpis:
            rows, until = counted(kpi["rows"], "row"), format_moment(kpi["to"])
            console.print(
                f"{kpi['name']}: {kpi['value']:.4g} (± {kpi['standard_error']:.2g}), {rows} to {until}"
            )
        for d in decisions:
            verdict = "passed" if d.passed else "refused"
            console.print(f"gate {format_moment(d.decided_at)}: {verdict}")
            for sentence in d.reasons:
                console.print(f"  {sentence}")
        said_moves(console, stages, found.version)

    emit(facts, json, render)


def _decided(decision: "Row") -> dict[str, Any]:
    names = ("passed", "mode", "champion", "reasons", "numbers")
    return {**{name: getattr(decision, name) for name in names}, "at": decision.decided_at}


@models_app.command("compile", epilog="Example: tidemill models compile flight-delay 2")
def models_compile(
    model: Model = None,
    version: Version = None,
    project: ProjectDir = None,
    json: AsJson = False,
) -> None:
    """Compile a registered version to ONNX.

    New versions are compiled when they are registered.
    """
    from tidemill.project import load_project
    from tidemill.registry.versions.model_versions import get_version
    from tidemill.registry.versions.new_versions import compile_version

    loaded = load_project(project)
    model, version = meant_version(loaded, model, version)
    found = get_version(loaded, version, model)
    with progress() as tell:
        tell("compile", "compiling, and comparing with the original", None, None)
        own_act(loaded, "compile", ("version", found.version))()
        record = compile_version(loaded, found.version, model)
    emit(
        {"model": model, "version": found.version, **record.facts()},
        json,
        lambda console: console.print(f"{model} {found.version}, compiled: {record}"),
    )


@models_app.command(
    "export", epilog="Example: tidemill models export flight-delay champion --output flight-delay-edge"
)
def models_export(
    output: Annotated[Path, typer.Option(help="Folder to make.", show_default=False)],
    model: Model = None,
    version: Version = None,
    project: ProjectDir = None,
    json: AsJson = False,
) -> None:
    """Export a compiled model, for edge and browser.

    The folder holds the ONNX file and examples that run it in Python and in a browser.
    """
    from tidemill.project import load_project
    from tidemill.registry.versions.export import export_version

    loaded = load_project(project)
    done = export_version(loaded, *meant_version(loaded, model, version), output)

    def render(console: "Console") -> None:
        console.print(f"✓ {done.model} {done.version} in {done.folder}: {', '.join(done.files)}")
        console.print(f"  {counted(done.size, 'byte')} of ONNX, SHA-256 {done.sha256}")
        console.print(f"  try it: pip install onnxruntime numpy && python {done.folder / 'predict.py'}")

    emit(done, json, render)


@models_app.command(
    "history",
    epilog="Examples: tidemill models history   ·   tidemill models history 2   ·   "
    "tidemill models history flight-delay",
)
def models_history(
    model: Model = None, version: AnyVersion = None, project: ProjectDir = None, json: AsJson = False
) -> None:
    """Show which version served when, who decided it, and which versions the gate refused.

    Stages before production are shown with their names: which version was there when.
    """
    from tidemill.cli.reading import open_reading
    from tidemill.registry.history.service_periods import refusals, service_periods, stage_periods
    from tidemill.registry.versions.registry_reader import read_registered, read_version
    from tidemill.state.record_queries import moves, refused_decisions, stage_moves

    folder, records = open_reading(project)
    if version is None and model is not None and is_version(folder, model):
        model, version = None, model
    model = model or folder.model
    read_registered(folder, model)  # an unknown model is an error, not an empty history
    number = version and read_version(folder, version, model).version
    served = [each for each in service_periods(moves(records, model)) if number in (None, each.version)]
    others = [*refusals(refused_decisions(records, model)), *stage_periods(stage_moves(records, model))]
    beside = [each for each in others if number in (None, each.version)]
    services = sorted([*served, *beside], key=lambda each: each.since)

    def render(console: "Console") -> None:
        if not served:
            never = f"version {number} of {model} has never been the champion"
            console.print(never if number else f"{model} has had no champion yet")
        table = Listing("version", "since", "until", "how", "by", "gain", "why")
        for s in services:
            gain = "–" if s.gain is None else f"{s.gain:+.4f}"
            until = "–" if s.until == s.since else format_moment(s.until)
            table.add_row(s.version, format_moment(s.since), until, s.kind, s.actor, gain, s.reason)
        if services:
            console.print(table)

    emit(services, json, render)


def _plain(value: Any) -> str:
    """Return a value as people read it: what holds several, a line each.

    >>> print(_plain({"train": {"start": "2013-03-01", "end": "2013-04-01"}, "rows": 5, "lock": None}))
    train start 2013-03-01
    train end 2013-04-01
    rows 5
    lock none
    """
    match value:
        case float():
            return f"{value:.5g}"
        case Mapping():
            lines = [(name, line) for name, inner in value.items() for line in _plain(inner).splitlines()]
            return "\n".join(f"{name} {line}" for name, line in lines) or "–"
        case list() | tuple():
            return ", ".join(map(_plain, value)) or "–"
        case None:
            return "none"
        case _:
            return str(value)


def _shares(split: Mapping[str, Any]) -> dict[str, Any]:
    """Return a split by hash with the rows of each side, in place of the hashes where sides begin.

    >>> sizes = {"train": 70, "validation": 15, "holdout": 15}
    >>> split = {"by": "random", "holdout": {"": 0.14}, "validation": {"": 0.3}, "rows": 100}
    >>> _shares({**split, "sizes": sizes})["holdout"], _shares(split)
    ('15 rows, 15.0 %', {'by': 'random', 'rows': 100})
    """
    plain = {name: value for name, value in split.items() if name not in ("holdout", "validation", "sizes")}
    sizes = split.get("sizes") or {}  # versions of earlier releases have none
    said = {name: f"{size:,} rows, {100 * size / split['rows']:.1f} %" for name, size in sizes.items()}
    return plain | said


def _compiled(facts: Mapping[str, Any] | None) -> str:
    """Say what came of compiling a version.

    >>> _compiled({"status": "refused", "reason": "SVC: too large"})
    'no: SVC: too large'
    """
    if facts is None:
        return "no: it was registered without"
    if facts["status"] == "refused":
        return f"no: {facts['reason']}"
    said = f"yes, {facts['size']:,} bytes of ONNX"
    if parity := facts["parity"]:
        largest = parity["max_difference"]
        said += f", compared on {counted(parity['rows'], 'row')}" + (
            "" if largest is None else f": the largest difference is {largest:.2g}"
        )
    return f"{said}; in {facts['seconds']:.1f} s"
