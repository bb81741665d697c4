"""``tidemill manifests``: the chart as plain manifests, for Git."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tidemill.cli.options import AsJson
from tidemill.cli.output import emit
from tidemill.plurals import counted

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["add_to"]

_Values = Annotated[
    list[Path], typer.Option("--values", "-f", help="File with values; repeat it, the later ones win.")
]
_Out = Annotated[Path, typer.Option(metavar="FOLDER", help="Where the manifests are written.")]
_For = Annotated[str, typer.Option("--for", metavar="TOOL", help="Who applies them: argocd or flux.")]
_Release = Annotated[str, typer.Option(metavar="NAME", help="Name of the release.")]
_Namespace = Annotated[str, typer.Option("--namespace", "-n", metavar="NAME", help="Its namespace.")]
_Chart = Annotated[
    str | None,
    typer.Option(
        metavar="CHART", help="Folder, archive or address (default: of this checkout).", show_default=False
    ),
]
_Helm = Annotated[str, typer.Option(metavar="PROGRAM", help="The helm to use.")]


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    app.command(
        epilog="Examples: tidemill manifests --values values.yaml --for argocd --out deploy/shop · "
        "tidemill manifests --values values.yaml --for flux --out deploy/shop"
    )(manifests)


def manifests(
    values: _Values,
    out: _Out,
    tool: _For = "argocd",
    release: _Release = "tidemill",
    namespace: _Namespace = "tidemill",
    chart: _Chart = None,
    helm: _Helm = "helm",
    json: AsJson = False,
) -> None:
    """Render the chart to plain manifests, for Argo CD or Flux.

    Commit the folder. Rendering again changes only what the values change, and deletes what is not there any
    more. Helm's hooks become phases of Argo CD, or folders for Flux.
    """
    from tidemill.errors import UsageError
    from tidemill.kubernetes.rendered_manifests import (
        TOOLS,
        arrange,
        find_chart,
        find_helm,
        refuse_secrets,
        render_chart,
        write_manifests,
    )

    if tool not in TOOLS:
        raise UsageError(f"--for {tool} is not known", hint=f"name one of {', '.join(TOOLS)}")
    made = render_chart(find_helm(helm), find_chart(chart), release, namespace, values)
    refuse_secrets(made)
    files = arrange(made, tool)
    deleted = write_manifests(out, files)

    def render(console: "Console") -> None:
        console.print(f"{counted(len(files), 'file')} written to {out}, {len(deleted)} deleted")

    emit({"out": out, "files": sorted(files), "deleted": deleted}, json, render)
