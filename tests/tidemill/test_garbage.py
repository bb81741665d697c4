import subprocess
import sys


def test_a_process_that_has_loaded_duckdb_ends_without_a_word():
    code = "from tidemill.garbage import collect_rarely; collect_rarely(); import duckdb"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr == ""
