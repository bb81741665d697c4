import subprocess
import sys
from importlib import import_module
from pathlib import Path
from typing import Annotated

import pytest
import typer
from typer.testing import CliRunner

from tidemill.cli.private_typer import NAMES, convert_late

app = typer.Typer()
seen: list[object] = []


@app.command()
def command(
    name: str,
    number: Annotated[int, typer.Option(min=1, max=9)] = 5,
    share: float = 0.5,
    folder: Path | None = None,
    there: Annotated[Path | None, typer.Option(exists=True)] = None,
    words: list[str] | None = None,
    flag: bool = False,
) -> None:
    seen[:] = [name, number, share, folder, there, words, flag]


@pytest.mark.parametrize("name", [name for name, _ in NAMES])
def test_the_name_is_still_there(name: str):
    module, kind, attribute = name.rsplit(".", 2)
    assert callable(getattr(getattr(import_module(module), kind), attribute))


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["a"], ["a", 5, 0.5, None, None, None, False]),
        (["a", "--number", "7", "--share", "1", "--flag"], ["a", 7, 1.0, None, None, None, True]),
        (["a", "--folder", "no/such", "--there", "."], ["a", 5, 0.5, Path("no/such"), Path(), None, False]),
        (["a", "--words", "x", "--words", "y"], ["a", 5, 0.5, None, None, ["x", "y"], False]),
    ],
)
def test_values_are_converted(arguments: list[str], expected: list[object]):
    convert_late()
    assert CliRunner().invoke(app, arguments).exit_code == 0
    assert seen == expected


@pytest.mark.parametrize(
    "arguments",
    [["a", "--number", "10"], ["a", "--number", "x"], ["a", "--there", "no/such"], [], ["a", "--folder", ""]],
)
def test_wrong_values_are_refused(arguments: list[str]):
    convert_late()
    assert CliRunner().invoke(app, arguments).exit_code == 2


def test_plain_values_import_no_pydantic():
    code = (
        "import sys, typer; from tidemill.cli.private_typer import convert_late; convert_late();"
        "app = typer.Typer(rich_markup_mode=None); app.command()(eval('lambda: None'));"
        "app([], standalone_mode=False); print('pydantic' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
