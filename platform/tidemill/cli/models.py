"""``tidemill models``: the versions in the registry."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tidemill.cli.listing import Listing
from tidemill.cli.options import AsJson, ProjectDir
from tidemill.cli.output import emit, when
from tidemill.cli.progress_lines import progress

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["add_to"]

models_app = typer.Typer(no_args_is_help=True, help="See the versions of a model, and which one served when.")

Model = Annotated[str, typer.Argument(help="Name of the model.", show_default=False)]


def add_to(app: typer.Typer) -> None:
    """Add the commands."""
    app.add_typer(models_app, name="models")


@models_app.command("list", epilog="Example: tidemill models list flight-delay")
def models_list(
    model: Annotated[
        str | None, typer.Argument(help="Default: the project's model.", show_default=False)
    ] = None,
    project: ProjectDir = None,
    json: AsJson = False,
) -> None:
    """Show the versions of a model."""
    from tidemill.project import load_project
    from tidemill.registry.versions.model_versions import list_versions

    loaded = load_project(project)
    versions = list_versions(loaded, model or loaded.model)
    facts = [
        {
            "model": v.model,
            "version": v.version,
            "aliases": v.aliases,
            "run_id": v.run_id,
            "metrics": v.metrics,
            "data_revision": v.lineage.git_commit if v.lineage else None,
            "registered_at": v.registered_at,
        }
        for v in versions
    ]

    def render(console: "Console") -> None:
        table = Listing("version", "aliases", "hold-out", "data", "registered", "run")
        for v in versions:
            metric = v.metrics.get(f"holdout_{loaded.config.gate.metric}")
            table.add_row(
                v.version,
                ", ".join(v.aliases) or "–",
                "–" if metric is None else f"{loaded.config.gate.metric} {metric:.4f}",
                v.lineage.git_commit[:10] if v.lineage else "–",
                when(v.registered_at),
                v.run_id,
            )
        console.print(table if versions else "no version yet: tidemill run")

    emit(facts, json, render)


@models_app.command("show", epilog="Example: tidemill models show flight-delay champion --json")
def models_show(
    model: Model,
    version: Annotated[str, typer.Argument(help="A version number or an alias.", show_default=False)],
    project: ProjectDir = None,
    json: AsJson = False,
) -> None:
    """Show one version: metrics, lineage, gate decisions."""
    from tidemill.project import load_project
    from tidemill.registry.history.serving_history import decisions_for
    from tidemill.registry.versions.model_versions import compiled_record, get_version
    from tidemill.state import open_state

    loaded = load_project(project)
    found = get_version(loaded, version, model)
    lineage = found.lineage.as_dict() if found.lineage else {}
    decisions = decisions_for(open_state(loaded.state_url), model, found.version)
    compiled = compiled_record(loaded, found)
    facts = {
        "model": found.model,
        "version": found.version,
        "aliases": found.aliases,
        "run_id": found.run_id,
        "metrics": found.metrics,
        "lineage": lineage,
        "compiled": compiled and compiled.facts(),
        "gate": [
            {
                "passed": d.passed,
                "mode": d.mode,
                "champion": d.champion,
                "reasons": d.reasons,
                "at": d.decided_at,
            }
            for d in decisions
        ],
    }

    def render(console: "Console") -> None:
        console.print(f"{found.model} {found.version} {', '.join(found.aliases)}  · run {found.run_id}")
        for section, values in (("metrics", found.metrics), ("lineage", lineage)):
            table = Listing(section, "")
            for name, value in sorted(values.items()):
                table.add_row(name, f"{value:.5g}" if isinstance(value, float) else str(value))
            console.print(table)
        console.print(f"compiled: {compiled or 'no: it was registered without'}")
        for d in decisions:
            verdict = "passed" if d.passed else "refused"
            console.print(f"gate {when(d.decided_at)}: {verdict}")
            for sentence in d.reasons:
                console.print(f"  {sentence}")

    emit(facts, json, render)


@models_app.command("compile", epilog="Example: tidemill models compile flight-delay 2")
def models_compile(
    model: Model,
    version: Annotated[str, typer.Argument(help="A version number or an alias.", show_default=False)],
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
    found = get_version(loaded, version, model)
    with progress() as tell:
        tell("compile", "and compare with the original", None, None)
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
    model: Model,
    version: Annotated[str, typer.Argument(help="A version number or an alias.", show_default=False)],
    output: Annotated[Path, typer.Option(help="Folder to make.", show_default=False)],
    project: ProjectDir = None,
    json: AsJson = False,
) -> None:
    """Export a compiled model, for edge and browser.

    The folder holds the ONNX file and examples that run it in Python and in a browser.
    """
    from tidemill.project import load_project
    from tidemill.registry.versions.export import export_version

    done = export_version(load_project(project), model, version, output)

    def render(console: "Console") -> None:
        console.print(f"✓ {done.model} {done.version} in {done.folder}: {', '.join(done.files)}")
        console.print(f"  {done.size:,} bytes of ONNX, SHA-256 {done.sha256}")
        console.print(f"  try it: pip install onnxruntime numpy && python {done.folder / 'predict.py'}")

    emit(done, json, render)


@models_app.command("history", epilog="Example: tidemill models history flight-delay")
def models_history(model: Model, project: ProjectDir = None, json: AsJson = False) -> None:
    """Show which version served when, and who decided it."""
    from tidemill.project import load_project
    from tidemill.registry.history.serving_history import history
    from tidemill.registry.versions.model_versions import list_versions
    from tidemill.state import open_state

    loaded = load_project(project)
    list_versions(loaded, model)  # an unknown model is an error, not an empty history
    services = history(open_state(loaded.state_url), model)

    def render(console: "Console") -> None:
        table = Listing("version", "since", "until", "how", "by", "gain", "why")
        for s in services:
            gain = "–" if s.gain is None else f"{s.gain:+.4f}"
            table.add_row(s.version, when(s.since), when(s.until), s.kind, s.actor, gain, s.reason)
        console.print(table if services else f"{model} has had no champion yet")

    emit(services, json, render)
