"""``import tidemill`` is all that a project's files import of Tidemill."""

import ast
import inspect
import re
import subprocess
import sys
from collections.abc import Iterable, Iterator
from importlib import import_module
from pathlib import Path

import pytest

import tidemill
from tests.tidemill.library_source import LIBRARY, nodes
from tidemill import errors

ROOT = Path(__file__).parents[2]
PROJECT = ["pipelines", "feature_repo", "serving", "monitoring", "examples"]
GUIDES = [*sorted((ROOT / "docs").rglob("*.md")), ROOT / "README.md"]


def imports(parts: Iterable[ast.AST]) -> Iterator[str]:
    """What a module imports, names included: ``tidemill.clock.utc``."""
    for node in parts:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def is_deep(name: str) -> bool:
    parts = name.split(".")
    return parts[0] == "tidemill" and (
        len(parts) > 2 or (len(parts) == 2 and parts[1] not in tidemill.__all__)
    )


@pytest.mark.parametrize("name", sorted(set(tidemill.__all__) - {"__version__"}))
def test_a_name_is_what_its_module_defines_and_is_documented(name: str):
    module, _, attribute = tidemill._PLACES[name].partition(":")
    home = import_module(f"tidemill.{module}")
    value = getattr(tidemill, name)
    assert value is getattr(home, attribute)
    assert attribute in home.__all__
    if inspect.isclass(value) or inspect.isfunction(value):
        assert value.__doc__, name
    else:  # an alias of a type: its text stands below it
        assert re.search(rf'^{attribute} = .*\n"""\S', Path(home.__file__).read_text(), re.MULTILINE), name


def test_type_checkers_and_the_interpreter_see_the_same_names():
    tree = ast.parse((LIBRARY / "__init__.py").read_text())
    block = next(node for node in tree.body if isinstance(node, ast.If))
    seen = {
        alias.asname or alias.name: f"{node.module.removeprefix('tidemill.')}:{alias.name}"
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert seen == tidemill._PLACES
    assert sorted(tidemill.__all__) == sorted({*seen, "__version__"})


def test_every_error_can_be_caught():
    assert set(errors.__all__) <= set(tidemill.__all__)


def test_no_name_hides_a_module():
    assert not {path.stem for path in LIBRARY.iterdir()} & set(tidemill.__all__)


def test_dir_lists_every_name():
    assert set(tidemill.__all__) <= set(dir(tidemill))


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="'tidemill' has no attribute 'Aplication'"):
        tidemill.Aplication  # noqa: B018
    with pytest.raises(ImportError):
        exec("from tidemill import Aplication")


def test_importing_it_loads_nothing_of_ours_and_no_package():
    code = "import sys; before = set(sys.modules); import tidemill; print(*sorted(set(sys.modules) - before))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = {name for name in done.stdout.split() if name.partition(".")[0] not in sys.stdlib_module_names}
    assert loaded == {"tidemill", "tidemill.version"}


def test_the_library_does_not_import_its_own_facade():
    for place, parts in nodes().items():
        if place != "__init__.py":
            names = {name for name in imports(parts) if name.count(".") == 1}
            assert not {name.removeprefix("tidemill.") for name in names} & set(tidemill.__all__), place


@pytest.mark.parametrize("folder", PROJECT)
def test_a_project_imports_from_nowhere_deeper(folder: str):
    for file in (ROOT / folder).rglob("*.py"):
        assert not [name for name in imports(ast.walk(ast.parse(file.read_text()))) if is_deep(name)], file


@pytest.mark.parametrize("guide", GUIDES, ids=lambda path: path.name)
def test_a_guide_imports_from_nowhere_deeper(guide: Path):
    for line in re.findall(r"^\s*((?:from|import) tidemill\b.*)$", guide.read_text(), re.MULTILINE):
        assert not [name for name in imports(ast.walk(ast.parse(line))) if is_deep(name)], line
