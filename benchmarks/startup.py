"""Measures ``tidemill --help`` and the reading commands, as multiples of ``python -c "import typer"``.

The baseline and the commands run in turn in one run, on a small project that the benchmark makes and removes.
Give ``--project DIR`` to measure on another one, ``--runs N`` for more than 9 rounds.
"""

import argparse
import contextlib
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.children import clean_up_after

BASELINE = "python -c 'import typer'"
HELP, READING = 1.5, 3.0
COMMANDS = {
    "--help": HELP,
    "status": READING,
    "alerts list": READING,
    "models list": READING,
    "models show MODEL champion": READING,
    "models history MODEL": READING,
    "monitor list": READING,
    "monitor explain": READING,
    "jobs list": READING,
    "keys list": READING,
    "users list": READING,
    "approvals list": READING,
    "audit list": READING,
    "audit verify": READING,
    "deploy show": READING,
    "score schedule list": READING,
    "data log": READING,
    "data show": READING,
    "features status": READING,
}


def main() -> None:
    """Run each command in turn, and print medians and their ratios to the baseline."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--project", type=Path)
    parser.add_argument("--runs", type=int, default=9)
    given = parser.parse_args()
    with contextlib.nullcontext(given.project) if given.project else small_project() as root:
        measure(root, given.runs)


def measure(root: Path, runs: int) -> None:
    """Print the table for the project at ``root``."""
    from tidemill.project import load_project

    model = load_project(root).model
    lines = {BASELINE: [sys.executable, "-c", "import typer"]}
    for name in COMMANDS:
        words = [model if word == "MODEL" else word for word in name.split()]
        lines[name] = [sys.executable, "-m", "tidemill.cli.main", *words]
    # The first round writes bytecode, as for anybody who calls a command twice.
    compiled = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    seconds: dict[str, list[float]] = {name: [] for name in lines}
    for _ in range(runs + 1):
        for name, line in lines.items():
            began = time.perf_counter()
            done = subprocess.run(line, cwd=root, capture_output=True, text=True, env=compiled)
            seconds[name].append(time.perf_counter() - began)
            if done.returncode:
                raise SystemExit(f"{name}: {done.stderr}")
    medians = {
        name: statistics.median(spent[1:]) for name, spent in seconds.items()
    }  # the first one warms up
    print(f"{'command':<30}{'median s':>10}{'ratio':>8}{'mark':>8}")
    for name, median in medians.items():
        mark = f"{COMMANDS[name]:.1f}" if name in COMMANDS else ""
        print(f"{name:<30}{median:>10.3f}{median / medians[BASELINE]:>8.2f}{mark:>8}")


@contextlib.contextmanager
def small_project() -> Iterator[Path]:
    """Make a project with data, a turn of the loop and an alert, and remove it in the end."""
    sys.path.insert(0, str(Path(__file__).parent.parent))
    from tests.tidemill.lineage.small_world import turn_once, watch, write_project

    with tempfile.TemporaryDirectory(prefix="startup-", ignore_cleanup_errors=True) as folder:
        project = write_project(Path(folder) / "project")
        turn = turn_once(project)
        watch(project, str(turn.version))
        yield project.root


if __name__ == "__main__":
    clean_up_after(main)
