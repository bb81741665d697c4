"""The example with a model from elsewhere, by the letter of its README: import, gate, serve, watch."""

import json
import re
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
import skops.io

from tests.examples.example_turn import Example, served
from tests.warm_commands import command
from tidemill.project.feature_columns import read_columns
from tidemill.registry.versions.model_versions import champion_version, get_version, load_scorer

pytestmark = pytest.mark.engine

README = Path(__file__).parents[2] / "examples" / "imported" / "README.md"


def test_a_model_from_elsewhere_takes_the_place_of_ones_own(tmp_path, ray_of_the_session):
    commands = re.findall(r"^    (?!tidemill init)((?:tidemill|python) .*)", README.read_text(), re.MULTILINE)
    assert commands[1:4] == [
        "python elsewhere/make_model.py",
        "tidemill models import model.skops",
        "tidemill promote diabetes 2",
    ]
    example = Example("imported", tmp_path / "diabetes")
    folder = example.project.root
    assert champion_version(example.project) == "1"
    subprocess.run(command(*commands[1].split()[1:]), cwd=folder, check=True)
    at = ["-p", str(folder), "--json"]
    done = json.loads(Example.tidemill("models", "import", str(folder / "model.skops"), *at))
    assert (done["version"], done["runs_code"], done["compiled"]) == ("2", False, None)
    assert champion_version(example.project) == "1"
    Example.tidemill(*commands[3].split()[1:], *at)
    assert champion_version(example.project) == "2"
    shown = Example.tidemill("models", "show", "diabetes", "2", "-p", str(folder))
    assert done["sha256"][:12] in re.sub(r"\s", "", shown)
    assert "was imported from" in shown
    version = get_version(example.project, "2")
    assert version.lineage.imported["from"] == str(folder / "model.skops")
    chain = Example.tidemill("lineage", "version:diabetes/2", "-p", str(folder))
    assert "judged on" in chain
    assert "trained on training-set" not in chain

    rows = example.rows()
    answers = np.array([one["value"] for one in served(example.project, rows)])
    model = skops.io.load(folder / "model.skops", trusted=["numpy.dtype"])
    names = [column.name for column in read_columns(example.project)]
    assert answers == pytest.approx(model.predict(rows.select(names).to_pandas()), abs=1e-6)
    assert load_scorer(example.project, "2").kind == "onnx"
    run = example.monitor(datetime.now(UTC) + timedelta(minutes=5))
    assert (run["version"], run["labelled"]) == ("2", len(rows))
    assert run["verdict"] == "ok", run
