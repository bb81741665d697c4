"""HTTP ends in `serving.http`: what is below knows no transport."""

import ast
from pathlib import Path

import pytest

from tidemill import serving

ROOT = Path(serving.__file__).parent
TRANSPORTS = {"fastapi", "starlette", "uvicorn", "http"}


@pytest.mark.parametrize("folder", ["jobs", "protocols", "inference", "routing", "observability"])
def test_below_http_no_module_imports_a_transport(folder):
    for file in (ROOT / folder).rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert not {name.split(".")[0] for name in names} & TRANSPORTS, file
