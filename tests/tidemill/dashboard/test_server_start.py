import subprocess
import sys

GIVEN_WAY = """
import importlib.util, os
from tidemill.dashboard.server_start import READ_AHEAD, give_way
give_way()
give_way()
print(os.nice(0), all(importlib.util.find_spec(name) for name in READ_AHEAD))
"""


def test_the_dashboard_gives_way_once_and_reads_ahead_what_there_is():
    done = subprocess.run([sys.executable, "-c", GIVEN_WAY], capture_output=True, text=True, check=True)
    niceness, there = done.stdout.split()
    assert int(niceness) >= 10
    assert there == "True"
