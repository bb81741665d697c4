"""How long ``tidemill --help`` takes, beside a bare ``python -c pass`` and ``import typer``."""

import statistics
import subprocess
import sys
import time

from benchmarks.children import clean_up_after

RUNS = 15
COMMANDS = {
    "python -c pass": [sys.executable, "-c", "pass"],
    "python -c 'import typer'": [sys.executable, "-c", "import typer"],
    "tidemill --help": [sys.executable, "-m", "tidemill.cli.main", "--help"],
}


def main() -> None:
    """Run each command in turn, RUNS times, and print medians."""
    seconds: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for _ in range(RUNS):
        for name, command in COMMANDS.items():
            began = time.perf_counter()
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
            seconds[name].append(time.perf_counter() - began)
    bare = statistics.median(seconds["python -c pass"])
    print(f"{'command':<28}{'median s':>10}{'ratio':>8}")
    for name, spent in seconds.items():
        median = statistics.median(spent)
        print(f"{name:<28}{median:>10.3f}{median / bare:>8.1f}")


if __name__ == "__main__":
    clean_up_after(main)
