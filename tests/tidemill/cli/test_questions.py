"""Questions on a terminal."""

import os
import pty
import subprocess
import sys

import pytest

ASKING = """
import polars
from tidemill.cli.questions import ask, confirm
polars.LazyFrame(dict(a=[1])).collect()
{question}
"""


@pytest.mark.parametrize("question", ["ask('which?', ('a', 'b'), 'a')", "confirm('sure?')"])
def test_ctrl_c_ends_a_question_at_once(question: str):
    terminal, other = pty.openpty()
    line = [sys.executable, "-c", ASKING.format(question=question)]
    asking = subprocess.Popen(line, stdin=other, stdout=other, stderr=other, start_new_session=True)
    try:
        shown = b""
        while not shown.rstrip().endswith(b":"):
            shown += os.read(terminal, 100)
        asking.send_signal(2)
        assert asking.wait(timeout=20) == 1
    finally:
        asking.kill()
        os.close(terminal)
        os.close(other)
