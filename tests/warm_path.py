"""A folder for PATH with a ``python`` and a ``tidemill`` that are forked from a process with the engines.

The stages of a pipeline are a process each, and most of what one takes is its imports.
"""

import functools
import os
import shlex
import sys
from pathlib import Path
from typing import Any

from tests.warm_commands import FOLDER, command, listening_at

_PYTHON = """\
#!/bin/sh
if [ -n "$PYTHONPATH" ]; then exec {real} "$@"; fi
case "$1" in
-m | -c | - | [!-]*) exec {forked} "$@" ;;
*) exec {real} "$@" ;;
esac
"""
_TIDEMILL = '#!/bin/sh\nexec {forked} "$@"\n'
_CODE = "from tests.warm_path import run_tidemill; run_tidemill()"
_SUPERVISOR = "tidemill.serving.runtime.stack_supervisor"


@functools.cache
def warm_path() -> str:
    """Return the folder; a ``python`` with other options than ``-m`` and ``-c`` is the real one."""
    listening_at()
    folder = Path(os.environ[FOLDER], "bin")
    folder.mkdir(exist_ok=True)
    real = shlex.quote(sys.executable)
    _write(folder / "python", _PYTHON.format(real=real, forked=shlex.join(command())))
    _write(folder / "tidemill", _TIDEMILL.format(forked=shlex.join(command("-c", _CODE))))
    return str(folder)


def _write(path: Path, text: str) -> None:
    draft = path.with_suffix(f".{os.getpid()}")
    draft.write_text(text)
    draft.chmod(0o755)
    draft.replace(path)  # whole, as another worker of the tests writes the same


def run_tidemill() -> None:
    """Do what the script ``tidemill`` does; workers of its Ray are forked, and so are those of its stack."""
    from tests.warm_ray_workers import SERVING_AND_TRIALS, warm_workers, with_warm_workers
    from tidemill.cli.main import main

    spawn = os.posix_spawn

    def spawn_warm(program: str, arguments: list[str], *more: Any, **options: Any) -> int:
        if _SUPERVISOR in arguments:
            arguments = [*with_warm_workers(_SUPERVISOR), *arguments[3:]]
        return spawn(program, arguments, *more, **options)

    os.posix_spawn = spawn_warm
    with warm_workers(SERVING_AND_TRIALS):
        main()
