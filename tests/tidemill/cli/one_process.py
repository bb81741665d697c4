"""Commands one after the other in one process, which takes a third of the time."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path

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
    with tempfile.TemporaryDirectory() as folder:
        line = [*before, sys.executable, "-c", EACH, folder, *commands]
        subprocess.run(line, cwd=root, env={**os.environ, "COLUMNS": str(columns)}, check=True)
        done = []
        for number, command in enumerate(commands):
            code, out, error = ((Path(folder) / f"{number}.{stream}").read_text() for stream in range(3))
            done.append(subprocess.CompletedProcess(command, int(code), out, error))
        return done
