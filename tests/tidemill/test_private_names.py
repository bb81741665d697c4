"""Private names of engines: each stands in a ``private_*`` module with its reason, and still exists.

A failure here names what an upgrade of an engine took away, and what it was needed for.
"""

import ast
import importlib
import inspect
import re
import tomllib
from collections.abc import Iterator
from functools import cache
from importlib.metadata import distributions as installed
from importlib.metadata import packages_distributions, requires
from pathlib import Path

import pytest

from tests.tidemill.library_source import LIBRARY, nodes

pytestmark = pytest.mark.engine  # it imports them all

ROOT = Path(__file__).parents[2]
PYTHONS_OWN = {"_replace", "_asdict", "_fields", "_exit"}  # underscores against clashes, documented


FILES = {file.name: file for file in sorted(LIBRARY.rglob("private_*.py"))}


def names_of(file: Path) -> list[tuple[str, str, str]]:
    """Import a private module, and its engine; return its name with each name that it needs, and why."""
    module = importlib.import_module(".".join(["tidemill", *file.relative_to(LIBRARY).with_suffix("").parts]))
    return [(module.__name__, path, why) for path, why in getattr(module, "NAMES", ()) if "://" not in path]


@cache
def collected() -> list[tuple[str, str, str]]:
    return [one for file in FILES.values() for one in names_of(file)]


def resolve(path: str) -> object:
    """Return what a dotted path names: a module as far as there is one, then attributes.

    For an attribute that only a class's methods set, that is the class.
    """
    parts = path.split(".")
    for end in range(len(parts), 0, -1):
        try:
            value: object = importlib.import_module(".".join(parts[:end]))
        except ModuleNotFoundError as error:
            if error.name and not path.startswith(error.name):
                raise
            continue
        for name in parts[end:]:
            value = value if _sets(value, name) else getattr(value, name)
        return value
    raise ModuleNotFoundError(path)


def _sets(value: object, name: str) -> bool:
    """Return whether methods of a class, or of one that it is derived from, set ``self.<name>``."""
    if not isinstance(value, type) or hasattr(value, name):
        return False
    sources = (inspect.getsource(one) for one in value.__mro__ if one.__module__ != "builtins")
    return any(re.search(rf"self\.{name}\b[^=\n(]*=[^=]", source) for source in sources)


@pytest.mark.filterwarnings("ignore")  # what an engine warns of when it is imported is its own affair
@pytest.mark.parametrize("file", FILES)
def test_the_private_names_that_we_need_still_exist(file: str):
    gone = []
    for module, path, why in names_of(FILES[file]):
        try:
            resolve(path)
        except (ImportError, AttributeError) as error:
            gone.append(f"{path} is gone ({error}). {module} needs it: it {why}")
    assert gone == []


def test_a_name_that_is_gone_is_noticed():
    with pytest.raises(AttributeError):
        resolve("dvc.repo.Repo.no_such_method")
    with pytest.raises(AttributeError):
        resolve("feast.no_such_module.name")
    with pytest.raises(AttributeError):
        resolve("onnxruntime.InferenceSession._no_such_attribute")


def test_every_private_module_lists_its_names_once_and_says_why():
    paths = [(module, path) for module, path, _ in collected()]
    assert len(set(paths)) == len(paths)
    assert [path for _, path, why in collected() if len(why.split()) < 3] == []


def test_no_other_module_imports_a_name_that_is_listed_as_private():
    listed = {path: module for module, path, _ in collected()}
    wrong = []
    for file, parts in nodes().items():
        if Path(file).name.startswith("private_"):
            continue
        for node in parts:
            if isinstance(node, ast.ImportFrom) and not node.level:
                wrong += [
                    f"{file}:{node.lineno}: {node.module}.{alias.name} belongs to {module}"
                    for alias in node.names
                    if (module := listed.get(f"{node.module}.{alias.name}"))
                ]
    assert wrong == []


def test_names_with_an_underscore_of_engines_are_used_in_private_modules_alone():
    wrong = [
        f"{file}:{number}: {text}"
        for file, parts in nodes().items()
        if not Path(file).name.startswith("private_")
        for number, text in _foreign_underscores(parts)
    ]
    assert wrong == []


def _foreign_underscores(parts: list[ast.AST]) -> Iterator[tuple[int, str]]:
    """Yield attributes with an underscore that the module does not define, and imports of such names."""
    own = {
        *(n.attr for n in parts if isinstance(n, ast.Attribute) and isinstance(n.ctx, ast.Store)),
        *(n.name for n in parts if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)),
        *(n.target.id for n in parts if isinstance(n, ast.AnnAssign) and isinstance(n.target, ast.Name)),
        *PYTHONS_OWN,
    }
    only_types = {
        id(inner)
        for node in parts
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"
        for inner in ast.walk(node)
    }
    for node in parts:
        if isinstance(node, ast.Attribute) and _is_private(node.attr) and node.attr not in own:
            yield node.lineno, ast.unparse(node)
        if isinstance(node, ast.ImportFrom) and not node.level and id(node) not in only_types:
            names = [*(node.module or "").split("."), *(alias.name for alias in node.names)]
            if names[0] != "tidemill" and any(_is_private(name) for name in names):
                yield node.lineno, ast.unparse(node)


def _is_private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__")


def test_every_engine_that_we_reach_into_has_an_upper_bound():
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = [
        *declared["dependencies"],
        *(one for many in declared["optional-dependencies"].values() for one in many),
    ]
    bounds = {
        _name(requirement): requirement for requirement in wanted if "<" in requirement.partition(";")[0]
    }
    for _ in range(2):  # DVC bounds dvc-data, which bounds dvc-objects
        for name in bounds.keys() & {_normal(one.name) for one in installed()}:
            bounds = {
                **{_name(one): one for one in requires(name) or [] if "<" in one.partition(";")[0]},
                **bounds,
            }
    distributions = packages_distributions()
    roots = {path.partition(".")[0] for _, path, _ in collected()}
    unbounded = {root for root in roots if not {_normal(name) for name in distributions[root]} & set(bounds)}
    assert unbounded == set()


def _name(requirement: str) -> str:
    return _normal(re.match(r"[\w.-]+", requirement)[0])


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
