"""Rules of the house that no linter knows."""

import ast
import graphlib
import subprocess
import sys
import time
from pathlib import Path

import grimp
import pytest

from tidemill import errors

ROOT = Path(__file__).parents[2]
LIBRARY = ROOT / "platform" / "tidemill"
ENGINES = {
    "dvc",
    "feast",
    "ray",
    "mlflow",
    "evidently",
    "pandera",
    "sklearn",
    "skops",
    "fastapi",
    "kubernetes",
}
LIGHT = ["errors.py", "settings.py", "clock.py", "ids.py", "version.py", "state", "project", "cli"]


def test_the_standard_librarys_platform_is_not_shadowed():
    assert not (ROOT / "platform" / "__init__.py").exists()
    assert not (ROOT / "tests" / "platform").exists()
    import platform

    assert callable(platform.python_version)


def test_every_error_of_ours_stands_in_the_tree_of_the_docstring():
    for name in errors.__all__:
        assert issubclass(getattr(errors, name), errors.TidemillError)
        assert name in errors.__doc__
    defined = {
        node.name
        for node in ast.parse(Path(errors.__file__).read_text()).body
        if isinstance(node, ast.ClassDef)
    }
    assert defined == set(errors.__all__)


def test_no_two_rooms_have_a_module_of_the_same_name():
    """Faces and tables of records may be called like the subject of the room that they belong to."""
    found: dict[str, list[Path]] = {}
    for file in LIBRARY.rglob("*.py"):
        if file.name != "__init__.py" and not {"cli", "state"} & set(file.relative_to(LIBRARY).parts):
            found.setdefault(file.stem, []).append(file.relative_to(LIBRARY))
    assert {name: files for name, files in found.items() if len(files) > 1} == {}


def test_a_folder_holds_about_fifteen_modules_and_says_what_is_in_it():
    for folder in (path.parent for path in LIBRARY.rglob("__init__.py")):
        assert len([file for file in folder.glob("*.py") if file.name != "__init__.py"]) <= 17, folder
        assert ast.get_docstring(ast.parse((folder / "__init__.py").read_text())), folder


def test_no_module_imports_itself_by_way_of_others():
    house = grimp.build_graph("tidemill", cache_dir=None)
    imports = {module: house.find_modules_directly_imported_by(module) for module in house.modules}
    try:
        graphlib.TopologicalSorter(imports).prepare()
    except graphlib.CycleError as error:
        pytest.fail(f"modules import each other: {' → '.join(error.args[1])}")


@pytest.mark.parametrize("place", LIGHT)
def test_what_must_start_fast_imports_no_engine_at_its_top(place: str):
    path = LIBRARY / place
    for file in [path] if path.is_file() else path.rglob("*.py"):
        for node in ast.parse(file.read_text()).body:
            names = (
                [alias.name for alias in node.names]
                if isinstance(node, ast.Import)
                else [node.module or ""]
                if isinstance(node, ast.ImportFrom)
                else []
            )
            assert not {name.split(".")[0] for name in names} & ENGINES, file


def test_the_help_loads_no_engine():
    heavy = sorted(ENGINES | {"pandas", "polars", "numpy", "sqlalchemy"})
    code = (
        f"import sys; from tidemill.cli import main; print(sorted(set(sys.modules).intersection({heavy!r})))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_identifiers_sort_by_time():
    from tidemill.ids import new_id

    first = new_id("x")
    time.sleep(0.002)
    assert first < new_id("x")


@pytest.mark.parametrize(
    ("text", "places"),
    [
        ("threading.Thread(", {"threads.py", "orphan_reaper.py"}),  # a script alone
        ("fcntl", {"files/locks.py"}),
        ("FileLock(", set()),
        ("mkstemp(", set()),
        ("os.replace(", set()),
    ],
)
def test_threads_locks_and_replaced_files_are_made_in_one_way(text: str, places: set[str]):
    """See `tidemill.threads`, `tidemill.files.locks` and `tidemill.files.atomic`."""
    found = {
        file.relative_to(LIBRARY).as_posix() for file in LIBRARY.rglob("*.py") if text in file.read_text()
    }
    assert found <= places


def test_the_migrations_follow_each_other_in_one_line():
    """Two that were written at the same time have one number, and no records can be opened."""
    folder = LIBRARY / "state" / "migrations" / "versions"
    names = sorted(file.name[:4] for file in folder.glob("[0-9]*.py"))
    assert names == [f"{number:04}" for number in range(1, len(names) + 1)]
    for before, file in zip([None, *names], sorted(folder.glob("[0-9]*.py")), strict=False):
        text = file.read_text()
        assert f'revision = "{file.name[:4]}"' in text
        assert f"down_revision = {before!r}".replace("'", '"') in text
