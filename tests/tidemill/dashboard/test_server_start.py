import os
import subprocess
import sys

GIVEN_WAY = """
import importlib.util, os
from tidemill.dashboard.server_start import READ_AHEAD, give_way
give_way()
give_way()
print(os.nice(0), all(importlib.util.find_spec(name) for name in READ_AHEAD))
"""


SOON = """
import os
from tidemill.dashboard.server_start import fail_soon, patient_environment
fail_soon()
names = sorted(name for name in os.environ if name.startswith("MLFLOW_HTTP"))
kept = patient_environment()
print(*(f"{name}={os.environ[name]}" for name in names), "|", *(name for name in names if name in kept))
"""


def test_readings_of_mlflow_fail_soon_and_acts_have_the_patience_that_was_set():
    given = {**os.environ, "MLFLOW_HTTP_REQUEST_TIMEOUT": "99"}
    done = subprocess.run([sys.executable, "-c", SOON], capture_output=True, text=True, check=True, env=given)
    soon = "MLFLOW_HTTP_REQUEST_MAX_RETRIES=1 MLFLOW_HTTP_REQUEST_TIMEOUT=99"
    assert done.stdout.strip() == f"{soon} | MLFLOW_HTTP_REQUEST_TIMEOUT"


def test_the_dashboard_gives_way_once_and_reads_ahead_what_there_is():
    done = subprocess.run([sys.executable, "-c", GIVEN_WAY], capture_output=True, text=True, check=True)
    niceness, there = done.stdout.split()
    assert int(niceness) >= 10
    assert there == "True"
