"""Has each worker of pytest-xdist compile a part of the files that all of them import.

In a fresh checkout nothing is compiled: workers that begin at the same time would each compile everything.
"""

import compileall
import sys
from contextlib import suppress
from importlib.util import cache_from_source
from pathlib import Path

import pytest
from _pytest.assertion import rewrite


def compile_part(config: pytest.Config, root: Path, number: int, workers: int) -> None:
    """Compile every file of which it is this worker's turn as Python and pytest do, unless that was done."""
    if sys.dont_write_bytecode:
        return
    for path in sorted((root / "platform").rglob("*.py"))[number::workers]:
        if not Path(cache_from_source(str(path))).exists():
            compileall.compile_file(path, quiet=2)
    for path in sorted((root / "tests").rglob("test_*.py"))[number::workers]:
        rewritten = rewrite.get_cache_dir(path) / (path.stem + rewrite.PYC_TAIL)
        if not rewritten.exists():
            rewritten.parent.mkdir(exist_ok=True)
            with suppress(SyntaxError):  # its collection will say so
                digest, code = rewrite._rewrite_test(path, config)
                rewrite._write_pyc(config.stash[rewrite.assertstate_key], code, digest, rewritten)
