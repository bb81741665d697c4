"""A version that is given out runs without Tidemill."""

import json
import os
import shutil
import subprocess
import sys
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from tests.headless_chromium import LEAN
from tidemill.cli.main import app
from tidemill.registry.versions.model_versions import load_scorer
from tidemill.registry.versions.new_versions import register

pytestmark = pytest.mark.engine


@pytest.fixture
def tidemill(project, runs):
    register(project, runs[1])

    def run(*arguments, refused=False):
        done = CliRunner().invoke(
            app, ["models", *arguments, "-p", str(project.root)], env={"COLUMNS": "200"}
        )
        assert (done.exception is not None) == refused, done.output
        return str(done.exception) if refused else done.stdout

    return run


def predict(folder, *arguments):
    return subprocess.run(
        [sys.executable, "-I", str(folder / "predict.py"), *arguments],
        capture_output=True,
        text=True,
        check=False,
    )


def test_an_exported_model_runs_alone(tidemill, project, tmp_path):
    folder = tmp_path / "edge"
    done = json.loads(tidemill("export", "small-model", "1", "--output", str(folder), "--json"))
    assert done["files"] == sorted(file.name for file in folder.iterdir())
    described = json.loads((folder / "model.json").read_text())
    assert [one["name"] for one in described["features"]] == ["wind", "delay", "hour"]
    assert described["opset"] == {"ai.onnx": 19, "ai.onnx.ml": 5}
    assert len(described["checks"]) == 5

    checked = predict(folder)
    assert checked.returncode == 0, checked.stderr
    assert "5 known answers, largest difference 0" in checked.stdout
    one = predict(folder, "wind=1.5", "hour=7")
    row = pd.DataFrame({"wind": [1.5], "delay": [np.nan], "hour": [7.0]})
    assert json.loads(one.stdout)["probability"] == load_scorer(project, "1").predict(row)[0]
    assert "no such feature: speed; there are wind, delay, hour" in predict(folder, "speed=1").stderr
    shown = "".join((folder / name).read_text() for name in ("index.html", "page.js", "predict.js"))
    assert "http" not in shown  # the page loads nothing from elsewhere

    assert "is not empty" in tidemill("export", "small-model", "1", "--output", str(folder), refused=True)


def test_examples_say_what_they_could_not_compare(tidemill, tmp_path):
    folder = tmp_path / "edge"
    tidemill("export", "small-model", "1", "--output", str(folder))
    described = json.loads((folder / "model.json").read_text())
    (folder / "model.json").write_text(json.dumps(described | {"checks": []}))
    nothing = predict(folder)
    assert (nothing.returncode, nothing.stdout[:19]) == (0, "no known answers to")
    described["checks"][0]["probability"] = float("nan")
    (folder / "model.json").write_text(json.dumps(described))
    assert predict(folder).returncode == 1


def test_an_empty_folder_keeps_its_place(tidemill, tmp_path, monkeypatch):
    (tmp_path / "edge").mkdir()
    monkeypatch.chdir(tmp_path / "edge")
    tidemill("export", "small-model", "1", "--output", ".")
    assert Path("predict.py").exists()
    assert list(tmp_path.glob(".edge*")) == []


WEB = os.environ.get("ONNXRUNTIME_WEB")  # …/node_modules/onnxruntime-web
CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


def shown(folder, profile):
    """Return the page as Chromium shows it once nothing is left to do."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=folder))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-sync"]
    flags += [
        "--disable-background-networking",
        "--disable-component-update",
        LEAN,
        f"--user-data-dir={profile}",
    ]
    page = ["--virtual-time-budget=20000", "--dump-dom", f"http://127.0.0.1:{server.server_port}/index.html"]
    try:
        done = subprocess.run([CHROMIUM, *flags, *page], capture_output=True, text=True, timeout=120)
        return done.stdout
    finally:
        server.shutdown()
        server.server_close()


@pytest.mark.skipif(
    not (WEB and CHROMIUM), reason="ONNXRUNTIME_WEB names no package, or no Chromium is there"
)
def test_the_page_runs_the_model_in_a_browser(tidemill, project, tmp_path):
    folder = tmp_path / "edge"
    tidemill("export", "small-model", "1", "--output", str(folder))
    assert "The model cannot be loaded" in shown(folder, tmp_path / "profile")
    (folder / "ort").mkdir()
    for line in (folder / "README.md").read_text().splitlines():
        if line.startswith("    cp node_modules/onnxruntime-web/"):
            file = line.split()[1].removeprefix("node_modules/onnxruntime-web/")
            shutil.copy(Path(WEB) / file, folder / "ort")
    page = shown(folder, tmp_path / "profile")
    assert "5 known answers come out the same here" in page
    unknown = pd.DataFrame({"wind": [np.nan], "delay": [np.nan], "hour": [np.nan]})
    assert f"{100 * load_scorer(project, '1').predict(unknown)[0]:.2f} %" in page

    described = json.loads((folder / "model.json").read_text())
    (folder / "model.json").write_text(json.dumps(described | {"checks": []}))
    assert "There are no known answers to compare" in shown(folder, tmp_path / "profile")


def test_what_is_not_compiled_is_not_exported_and_says_so(tidemill, project, tmp_path):
    from tidemill.registry.versions.compiled_versions import TAG, CompiledRecord
    from tidemill.training.tracking.mlflow_tracking import connect

    assert "compiled: yes, " in tidemill("show", "small-model", "1")
    assert json.loads(tidemill("show", "small-model", "1", "--json"))["compiled"]["status"] == "compiled"
    refused = CompiledRecord("refused", "SVC: too large").tags()[TAG]
    connect(project).set_model_version_tag("small-model", "1", TAG, refused)
    assert "compiled: no: SVC: too large" in tidemill("show", "small-model", "1")
    said = tidemill("export", "small-model", "1", "--output", str(tmp_path / "x"), refused=True)
    assert "has no compiled model: SVC: too large" in said
    assert not (tmp_path / "x").exists()
    assert list(tmp_path.glob(".x*")) == []
    assert "compiled: yes" in tidemill("compile", "small-model", "1")
    tidemill("export", "small-model", "1", "--output", str(tmp_path / "x"))
