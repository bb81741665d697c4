"""The page on a project of one's own, by the letter: its files are written, its commands run."""

import json
import os
import re
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.warm_path import warm_path

PAGE = (Path(__file__).parents[3] / "docs" / "own-project.md").read_text()
FILES = dict(re.findall(r"^`([\w/]+\.(?:py|yaml))`(?:(?!```).)*```\w+\n(.*?)^```$", PAGE, re.M | re.S))
CALL = """
import json
from datetime import UTC, datetime, UTC
from tidemill import SystemClock, load_project
from tidemill.prediction_log.prediction_log import PredictionLog
from tidemill.serving.inference.predictor import Predictor
from tidemill.serving.routing.traffic_split import ServingVersions
from tidemill.serving.runtime.replica.version_loading import load_model
project = load_project()
application = project.load(project.config.project.application)
log = PredictionLog(project.predictions, project.model)
versions = ServingVersions(load_model(project, application, "1", datetime.now(UTC)))
predictor = Predictor(application, project.model, lambda: versions, log, "replica", SystemClock())
answer = predictor.predict([application.request(customer="c7")], None, False).predictions[0]
log.close()
print(json.dumps({"advice": answer.decision["advice"], "flags": answer.flags}))
"""


def orders() -> str:
    """Write orders of 40 customers, of whom every fourth sends most of them back."""
    lines = ["customer,ordered_at,amount,returned"]
    for number in range(3000):
        who = number * 7 % 40
        at = datetime(2024, 1, 1, 8, tzinfo=UTC) + timedelta(hours=number)
        lines.append(
            f"c{who},{at:%Y-%m-%dT%H:%M:%S},{5 + number % 50},{int((number % 5 != 0) == (who % 4 == 0))}"
        )
    return "\n".join(lines) + "\n"


def test_the_page_is_short():
    assert len(FILES) == 6
    assert sum(len([line for line in text.splitlines() if line]) for text in FILES.values()) < 90


@pytest.mark.engine
@pytest.mark.slow
def test_the_project_of_the_page_makes_a_turn(tmp_path: Path):
    path = os.pathsep.join([warm_path(), str(Path(sys.executable).parent), os.environ["PATH"]])
    environment = {**os.environ, "PATH": path, "TIDEMILL_NUM_CPUS": "1"}

    def shell(command: str, cwd: Path) -> str:
        done = subprocess.run(
            ["bash", "-ec", command], cwd=cwd, env=environment, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    commands = [block.strip() for block in re.findall(r"((?:^    .*\n)+)", PAGE, re.M)]
    begin, first, *_ = [line.strip() for line in commands[0].splitlines()]
    shell(begin, tmp_path)
    root = tmp_path / "my-shop"
    shell(first, root)
    (root / "orders.csv").write_text(orders())
    for name, text in FILES.items():
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_text(text)
    commit, run, *_ = [line.strip() for line in commands[-1].splitlines()]
    shell(commit, root)
    told = json.loads(shell(f"{run} --json", root))
    assert (told["status"], told["version"]) == ("promoted", "1")
    assert json.loads(shell(f"python - <<'END'\n{CALL}\nEND", root)) == {
        "advice": "send",
        "flags": [],
    }
    refused = subprocess.run(
        ["tidemill", "run", "--as-of", "2024-04-01"],
        cwd=root,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert refused.returncode == 2
    assert "no parameter data.as_of" in refused.stderr
