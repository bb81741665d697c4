"""A copy of an example that has made one turn, and what it answers."""

import json
from datetime import datetime
from pathlib import Path

import polars as pl
from fastapi.testclient import TestClient
from typer.testing import CliRunner

from tidemill.cli.main import app
from tidemill.project import load_project
from tidemill.project.feature_columns import read_columns
from tidemill.serving.runtime.replica.wiring import build_api
from tidemill.settings import Settings

ROWS = 300
MORE = {"digits": ("train.workers=2", "train.fit_resources={cpus: 0.5}")}
"""What is otherwise than in the example: two workers fit the network, on the one CPU that tests have."""


class Example:
    """An example that has made one turn."""

    def __init__(self, name: str, folder: Path):
        self.name = name
        self.tidemill("init", str(folder), "--example", name)
        self.project = load_project(folder, Settings(num_cpus=2))
        params = folder / "params.yaml"  # one process of Ray is enough: each takes 3 s of CPU
        params.write_text(params.read_text().replace("\ntrain:\n", "\ntrain:\n  max_concurrent: 1\n"))
        given = ["train.trials=3", *MORE.get(name, ())]
        changed = [part for one in given for part in ("--set", one)]
        self.turn = json.loads(self.tidemill("run", "--promote", *changed, "-p", str(folder), "--json"))

    @staticmethod
    def tidemill(*arguments: str) -> str:
        done = CliRunner().invoke(app, list(arguments), env={"COLUMNS": "200"})
        assert done.exit_code == 0, (done.output, done.exception)
        return done.stdout

    def rows(self) -> pl.DataFrame:
        """Rows of the table with their labels: the last ones, or any where there is no time."""
        table = pl.read_parquet(self.project.root / "data/raw/table.parquet")
        timed = self.project.config.dataset.time is not None
        return table.tail(ROWS) if timed else table.sample(min(ROWS, len(table)), seed=0)

    def monitor(self, at: datetime) -> dict:
        found = self.tidemill(
            "monitor", "run", "--as-of", at.isoformat(), "-p", str(self.project.root), "--json"
        )
        [run] = json.loads(found)
        return run


def served(project, rows) -> list[dict]:
    """Answers to the rows as a client sends them; their labels are sent after them."""
    names = [column.name for column in read_columns(project)]
    label = project.config.dataset.label
    answers = []
    with TestClient(build_api(project, "r1"), raise_server_exceptions=False) as api:
        for part in rows.iter_slices(100):
            answered = api.post("/predict", json={"instances": part.select(names).to_dicts()})
            assert answered.status_code == 200, answered.text
            made = answered.json()["predictions"]
            labels = [
                {"prediction_id": one["prediction_id"], "label": truth}
                for one, truth in zip(made, part[label], strict=True)
            ]
            assert api.post("/feedback", json={"labels": labels}).json() == {"accepted": len(part)}
            answers += made
    return answers
