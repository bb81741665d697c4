"""Commands one after the other in one process, which is forked from one that has imported the engines."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path

from tests.warm_python import run_warm

EACH = """
import os, sys
from pathlib import Path
from tidemill.cli.main import main
folder, commands = Path(sys.argv[1]), sys.argv[2:]
for number, command in enumerate(commands):
    for stream in (1, 2):
        file = os.open(folder / f"{number}.{stream}", os.O_CREAT | os.O_WRONLY)
        os.dup2(file, stream)
        os.close(file)
    sys.argv = ["tidemill", *command.split()]
    try:
        main()
    except SystemExit as end:
        (folder / f"{number}.0").write_text(str(end.code or 0))
"""


def run_each(
    root: Path, commands: Iterable[str], columns: int = 80, before: Sequence[str] = ()
) -> list[subprocess.CompletedProcess[str]]:
    """Run commands in ``root`` and return what each showed; ``before`` starts another program with them."""
    env = {**os.environ, "COLUMNS": str(columns)}
    with tempfile.TemporaryDirectory() as folder:
        if before:
            line = [*before, sys.executable, "-c", EACH, folder, *commands]
            subprocess.run(line, cwd=root, env=env, check=True)
        else:
            ended = run_warm(EACH, folder, *commands, cwd=root, env=env)
            assert ended.returncode == 0, ended.stderr
        done = []
        for number, command in enumerate(commands):
            code, out, error = ((Path(folder) / f"{number}.{stream}").read_text() for stream in range(3))
            done.append(subprocess.CompletedProcess(command, int(code), out, error))
        return done
