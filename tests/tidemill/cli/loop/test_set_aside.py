"""What is said of rows that a turn's validation set aside."""

import subprocess
from pathlib import Path

import polars as pl

from tidemill.cli.loop.set_aside import read_set_aside, said_set_aside
from tidemill.project import load_project
from tidemill.quickstart.init_options import InitOptions
from tidemill.quickstart.new_project import RAW, draft_project, write_draft
from tidemill.stages.validate import validate_table


def commit(folder: Path) -> str:
    git = ["git", "-C", str(folder), "-c", "user.name=a", "-c", "user.email=a@example.org"]
    for words in (["init", "-q"], ["add", "-f", "data/validation.json"], ["commit", "-qm", "data"]):
        subprocess.run([*git, *words], check=True)
    return subprocess.run(
        [*git, "rev-parse", "HEAD"], check=True, capture_output=True, text=True
    ).stdout.strip()


def test_a_turn_says_which_rows_were_set_aside_and_why(tmp_path: Path):
    table = pl.DataFrame({"size": [float(n) for n in range(100)], "left": ["yes", "no"] * 50})
    table.write_parquet(tmp_path / "t.parquet")
    write_draft(draft_project("p", "t.parquet", tmp_path, InitOptions("left")), tmp_path / "p")
    project = load_project(tmp_path / "p")
    (project.root / RAW).parent.mkdir(parents=True)
    wrong = [-1.0, -2.0, 3.0, 4.0]
    later = pl.concat([table, pl.DataFrame({"size": wrong, "left": ["yes", "no", "maybe", "yes"]})])
    later.write_parquet(project.root / RAW)
    validate_table(project)
    found = read_set_aside(project, commit(project.root))
    assert said_set_aside("table", found["table"]) == (
        "! table: 3 of 104 rows set aside: size: in_range(0.0, 1089.0) (2), left: isin('no', 'yes') (1)"
        " · data/rejected/table.parquet"
    )
    table.write_parquet(project.root / RAW)
    validate_table(project)
    assert read_set_aside(project, commit(project.root)) == read_set_aside(project, None) == {}
