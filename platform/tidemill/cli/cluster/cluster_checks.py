"""``tidemill cluster check``: whether a cluster has what an installation needs."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tidemill.cli.options import AsJson
from tidemill.cli.output import emit, print_indented

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["add_to"]

_SIGNS = {"ok": "✓", "missing": "✗", "unknown": "?"}
_Values = Annotated[
    list[Path], typer.Option("--values", "-f", help="File with values; repeat it, the later ones win.")
]
_Release = Annotated[str, typer.Option(metavar="NAME", help="Name of the release.")]
_Namespace = Annotated[
    str | None,
    typer.Option(
        "--namespace", "-n", metavar="NAME", help="Where (default: the context's).", show_default=False
    ),
]
_Kubeconfig = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="Default: of KUBECONFIG, or ~/.kube/config.", show_default=False),
]
_Context = Annotated[
    str | None, typer.Option(metavar="NAME", help="Context (default: the current one).", show_default=False)
]
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
        epilog="Examples: tidemill cluster check --values values.yaml --namespace models · "
        "tidemill cluster check --values values.yaml --context staging --json"
    )(check)


def check(
    values: _Values,
    release: _Release = "tidemill",
    namespace: _Namespace = None,
    kubeconfig: _Kubeconfig = None,
    context: _Context = None,
    chart: _Chart = None,
    helm: _Helm = "helm",
    json: AsJson = False,
) -> None:
    """Say what is missing before an installation, and what to do.

    Renders the chart with the values, and asks the cluster for what that needs: its version and clock, kinds
    of objects, permissions, storage classes, Secrets, and whether stores answer. Nothing is changed. The exit
    code is 1 if something is missing.
    """
    from contextlib import closing

    from tidemill.clock import SystemClock
    from tidemill.kubernetes.cluster_check import check_cluster
    from tidemill.kubernetes.kubeconfig import open_access
    from tidemill.kubernetes.rendered_manifests import find_chart, find_helm, render_chart

    api = open_access(kubeconfig, context)
    place = namespace or api.namespace
    made = render_chart(find_helm(helm), find_chart(chart), release, place, values)
    with closing(api):
        found = list(check_cluster(api, made, place, SystemClock().now))

    def render(console: "Console") -> None:
        for one in found:
            console.print(f"{_SIGNS[one.verdict]} {one.check}: {one.said}", soft_wrap=True)
            if one.to_do:
                print_indented(console, one.to_do)

    emit([one._asdict() for one in found], json, render)
    if any(one.verdict == "missing" for one in found):
        raise typer.Exit(1)
