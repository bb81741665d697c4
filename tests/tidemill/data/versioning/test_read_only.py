"""A project that may only be read can be looked at."""

import shutil
import subprocess
import sys

import pytest

from tidemill.project import Project

pytestmark = pytest.mark.engine

LOOK = """
import sys; from pathlib import Path
from tidemill.data.versioning.diff import diff
from tidemill.data.versioning.show import show
from tidemill.project import load_project
project = load_project(Path(sys.argv[1]))
print(len(show(project).outputs), len(diff(project, "HEAD~2").changes))
"""


@pytest.mark.skipif(shutil.which("setpriv") is None, reason="needs util-linux")
def test_versions_are_shown_and_compared_where_nothing_can_be_written(project: Project):
    for path in [project.root, *project.root.rglob("*")]:
        if not path.is_symlink():
            path.chmod(path.stat().st_mode & ~0o222)
    drop = "-dac_override,-dac_read_search,-fowner"  # else root may write everywhere
    command = ["setpriv", f"--bounding-set={drop}", f"--inh-caps={drop}", sys.executable, "-c", LOOK]
    try:
        done = subprocess.run(
            [*command, str(project.root)], cwd="/", capture_output=True, text=True, check=False
        )
    finally:
        for path in [project.root, *project.root.rglob("*")]:
            if path.is_dir():
                path.chmod(0o755)
    assert done.returncode == 0, done.stderr
    assert [int(number) for number in done.stdout.split()][1] >= 1
