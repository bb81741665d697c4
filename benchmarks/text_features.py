"""Measures what text costs in requests: two projects on one table, one of them with its categories as text.

Both are made by ``tidemill init`` from 20,000 made-up rows with ten features and are trained alike. Three
features of the one are text; in the other the same categories are numbers. Both stacks are up and are asked
in turn with the same rows; each validates, encodes, answers and logs. The shares are of rates within a pair.

    python -m benchmarks.text_features [--seconds 4]

Needs no root; takes about six minutes, most of it to train two champions and to start the stacks.
"""

import argparse
import contextlib
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import polars as pl

from benchmarks.children import clean_up_after
from benchmarks.load import run_apart
from benchmarks.serving import CACHED, serving, wait_for
from benchmarks.serving_fast_lane import CLIENTS, WARM_SECONDS, pairs, show
from tidemill.project import Project, load_project

ROWS, NUMBERS, CATEGORIES = 20_000, 7, (4, 12, 60)
_NAMES = ["Zürich", "New York", "São Paulo", "Kyoto", "Nairobi"]


def tables() -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return the table with text, and the same with the categories as numbers."""
    random = np.random.default_rng(7)
    numbers = {f"number_{n}": random.normal(size=ROWS) for n in range(NUMBERS)}
    codes = {f"category_{n}": random.integers(0, many, ROWS) for n, many in enumerate(CATEGORIES)}
    odds = sum(numbers.values()) / 2 + sum(np.sin(code * 1.7) for code in codes.values())
    target = {"bought": (odds + random.logistic(size=ROWS) > 0).astype(int)}
    texts = {
        name: [f"{_NAMES[code % len(_NAMES)]} {code}" for code in values] for name, values in codes.items()
    }
    return pl.DataFrame(numbers | texts | target), pl.DataFrame(numbers | codes | target)


def prepare(table: pl.DataFrame, folder: Path, name: str) -> tuple[Project, Path]:
    """Make and train a project, and write 500 requests from its rows."""
    source = folder / f"{name}.parquet"
    table.write_parquet(source)
    project = folder / name
    _tidemill("init", str(project), "--data", str(source), "--target", "bought", "--task", "binary")
    _set_families(project)
    _tidemill("run", "--promote", "-p", str(project))
    rows = table.drop("bought").head(500).to_dicts()
    requests = folder / f"{name}.json"
    requests.write_text(json.dumps([{"path": "/predict", "body": {"instances": [row]}} for row in rows]))
    return load_project(project), requests


def _set_families(project: Path) -> None:
    from tidemill.data.versioning.params_file import set_values

    path = project / "params.yaml"
    path.write_text(set_values(path.read_text(), {"train.families": ["hist_gradient_boosting"]}))
    identity = ["-c", "user.name=benchmark", "-c", "user.email=benchmark@localhost"]
    subprocess.run(["git", *identity, "commit", "-qam", "Try one family"], cwd=project, check=True)


def _tidemill(*arguments: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tidemill.cli.main", *arguments], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise SystemExit(f"tidemill {' '.join(arguments)} failed:\n{done.stdout}{done.stderr[-3000:]}")


def main() -> None:
    """Make both projects, and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=4.0, help="of each run")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="tidemill-bench-") as scratch, contextlib.ExitStack() as stack:
        made = [
            prepare(table, Path(scratch), name)
            for table, name in zip(tables(), ("texts", "numbers"), strict=True)
        ]
        ports = []
        for project, requests in made:
            process, port = stack.enter_context(serving(CACHED, project, None))
            wait_for(process, port, requests, project.root / "server.log")
            run_apart("127.0.0.1", port, requests, 32, WARM_SECONDS)
            ports.append((port, requests))
        print(
            f"{'3 of 10 features':24} {'c':>4} {'rps':>9} {'numbers':>9} {'p50 ms':>8} {'numbers':>8} "
            f"{'rate, as a share of numbers':>27}"
        )
        for clients in CLIENTS:
            show("as text", clients, pairs((ports[0], ports[1]), clients, given.seconds))


if __name__ == "__main__":
    clean_up_after(main)
