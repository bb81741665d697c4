"""The stores of Polars and SQLite work in a folder with letters of other languages, in locale C."""

import os
import subprocess
import sys

import pytest

pytestmark = pytest.mark.engine

CODE = """
import sys
from datetime import UTC, datetime
from tidemill.cli import main

def work():
    import polars as pl
    from tidemill.features.feature_store import apply, materialise, open_store, training_frame
    from tidemill.project import load_project
    project = load_project()
    apply(project)
    print(materialise(project, datetime(2013, 1, 1, 3, tzinfo=UTC)))
    keys = {"origin": ["JFK"], "carrier": ["AA"], "departure": [datetime(2013, 1, 1, 5, tzinfo=UTC)]}
    row = pl.DataFrame(keys | {"event_timestamp": [datetime(2013, 1, 1, 1, tzinfo=UTC)]})
    print(training_frame(project, row)["rain"].to_list())
    found = open_store(project).get_online_features(["weather:rain"], [{"origin": "JFK"}]).to_dict()
    print(found["rain"], sys.flags.utf8_mode)

main.app = work
main.main()
"""


def test_a_store_works_in_a_folder_of_any_name_in_locale_c(make_project, tmp_path):
    project = make_project(tmp_path / "Verspätungen ✈ 遅延")
    environment = os.environ | {"LC_ALL": "C", "PYTHONUTF8": "0"}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", CODE],
        cwd=project.root,
        env=environment,
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()
    assert done.stdout.decode().splitlines() == ["{'weather': 2, 'lateness': 2}", "[0.0]", "[0.5] 1"]
    assert (project.root / ".tidemill" / "online.db").is_file()
