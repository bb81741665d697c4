"""The tutorial on a table of one's own, by the letter: every command of the page, in its order."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.warm_path import warm_path

pytestmark = pytest.mark.e2e
PAGE = Path(__file__).parents[2] / "docs" / "your-own-data.md"


def test_every_command_of_the_page(tmp_path: Path):
    commands = re.findall(r"^    ((?:python|tidemill|cd) .*)", PAGE.read_text(), re.MULTILINE)
    assert len(commands) == 9
    path = os.pathsep.join([warm_path(), str(Path(sys.executable).parent), os.environ["PATH"]])
    try:
        done = subprocess.run(
            ["bash", "-e", "-c", "\n".join(commands)],
            cwd=tmp_path,
            env={**os.environ, "PATH": path, "COLUMNS": "100"},
            capture_output=True,
            text=True,
            timeout=580,
        )
    finally:
        subprocess.run(["tidemill", "down"], cwd=tmp_path / "tumours", env={**os.environ, "PATH": path})
    assert done.returncode == 0, done.stdout + done.stderr
    lines = [line.strip() for line in PAGE.read_text().splitlines() if line.startswith("      data  ")]
    assert [line for line in lines if line not in done.stdout] == []
    assert "tumours version 1 · promoted" in done.stdout
    assert re.search(r"^[01]\.\d{4} +– +– +pred_", done.stdout, re.MULTILINE)
    assert "too_few" in done.stdout
