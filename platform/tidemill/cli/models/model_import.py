"""``tidemill models import``: models that were trained elsewhere."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tidemill.cli.options import AsJson, AsOf, ProjectDir, moment
from tidemill.cli.output import emit, print_indented
from tidemill.cli.own_acts import own_act
from tidemill.cli.progress_lines import progress
from tidemill.plurals import counted
from tidemill.tasks.natural_metric import metric_of

if TYPE_CHECKING:
    from rich.console import Console

    from tidemill.registry.importing.model_import import ImportedVersion

__all__ = ["add_to"]


def add_to(app: typer.Typer) -> None:
    """Add the command to those about models."""
    app.command(
        "import",
        epilog="Examples: tidemill models import model.skops   ·   tidemill models import model.onnx "
        "--examples rows.parquet   ·   tidemill models import runs:/4f1d…/model --tracking-uri http://mlflow:5000",
    )(import_)


_Source = Annotated[
    str,
    typer.Argument(
        metavar="SOURCE",
        help="A file (skops, ONNX, XGBoost, LightGBM, PyTorch), a folder with MLmodel, an MLflow address "
        "(runs:/…, models:/…), or module:Class of the project.",
        show_default=False,
    ),
]
_Examples = Annotated[
    Path | None,
    typer.Option(
        help="Rows with the model's columns, in its order; needed where the file names none.",
        show_default=False,
    ),
]
_Classes = Annotated[
    str | None,
    typer.Option(
        metavar="A,B,…",
        help="The project's classes in the order of the model's outputs, names with commas in double quotes "
        "(default: what the file says).",
        show_default=False,
    ),
]
_AllowCode = Annotated[
    bool,
    typer.Option(
        "--allow-code",
        help="Let it execute code while it is loaded (pickles), if you trust its maker; recorded.",
    ),
]
_TrackingUri = Annotated[
    str | None,
    typer.Option(help="Of the MLflow that SOURCE is in (default: the project's).", show_default=False),
]


def import_(
    source: _Source,
    examples: _Examples = None,
    classes: _Classes = None,
    allow_code: _AllowCode = False,
    tracking_uri: _TrackingUri = None,
    as_of: AsOf = None,
    project: ProjectDir = None,
    json: AsJson = False,
) -> None:
    """Register a model that was trained elsewhere as a candidate.

    What will be served is compared with the original on real rows, and judged on the project's hold-out; then
    the version goes through gate, canary and monitors like any other. See docs/importing.md.
    """
    from tidemill.registry.importing.model_kinds import check_address

    check_address(source, allow_code)  # which takes no seconds of imports
    from tidemill.project import load_project
    from tidemill.registry.importing.model_import import ImportRequest, import_model
    from tidemill.registry.importing.output_classes import read_classes
    from tidemill.retraining.by_hand.moment_by_hand import moment_by_hand
    from tidemill.state import open_state

    loaded = load_project(project)
    names = read_classes(classes or "")
    at = moment_by_hand(loaded, open_state(loaded.state_url), moment(as_of) if as_of else None)
    with progress() as tell:
        tell("import", f"loading {source}, and comparing what will be served with it", None, None)
        before = own_act(loaded, "import", ("version", loaded.model), source=source, allow_code=allow_code)
        request = ImportRequest(source, at, examples, names, allow_code, tracking_uri)
        done = import_model(loaded, request, before)

    trusted = f"{done.model}/{done.version}" in loaded.config.serve.trust_pickled
    emit(done, json, lambda console: _show(console, done, loaded.task.metric, trusted))


def _show(console: "Console", done: "ImportedVersion", metric: str, trusted: bool) -> None:
    judged = done.metrics.get(f"holdout_{metric}")
    console.print(f"✓ {done.model} {done.version}: {done.kind}")
    console.print(f"  imported from {done.source}", soft_wrap=True)
    print_indented(console, f"served as the original answers: {done.parity}")
    if judged is not None:
        console.print(f"  {metric_of(metric).said(judged)} on the hold-out")
    if done.learnt_rows:
        print_indented(
            console,
            f"it has learnt from {counted(done.learnt_rows, 'row')} of the hold-out, as a version that "
            "was fitted on all rows: its figures are no measure, and the gate refuses it",
        )
    if done.compiled is not None:
        print_indented(console, f"not compiled: {done.compiled}")
    if done.runs_code and not trusted:
        print_indented(
            console,
            f"loading it executes its code: add {done.model}/{done.version} to serve.trust_pickled in "
            "params.yaml first, if you trust it",
        )
    if done.learnt_rows:
        print_indented(
            console,
            "next: import one that was fitted without these rows, or let answers to come decide: "
            f"tidemill deploy shadow {done.version}, then tidemill deploy report",
        )
        return
    console.print(f"  next: tidemill promote {done.model} {done.version}")
