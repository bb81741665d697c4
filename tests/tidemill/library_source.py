"""The library's source, parsed once: `tests/conftest.py` gives all tests that read it to one worker."""

import ast
from functools import cache
from pathlib import Path

LIBRARY = Path(__file__).parents[2] / "platform" / "tidemill"


@cache
def trees() -> dict[str, ast.Module]:
    """Return the tree of each module, by its place in the library."""
    return {
        file.relative_to(LIBRARY).as_posix(): ast.parse(file.read_text())
        for file in sorted(LIBRARY.rglob("*.py"))
    }


@cache
def nodes() -> dict[str, list[ast.AST]]:
    """Return all nodes of each module, by its place in the library."""
    return {place: list(ast.walk(tree)) for place, tree in trees().items()}
