"""Questions on a terminal."""

import contextlib
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

ASKING = """
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)  # whoever runs these tests may ignore it
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
        # Again and again: one that comes between the prompt and the reading of the answer is only noted.
        for _ in range(8):
            asking.send_signal(2)
            with contextlib.suppress(subprocess.TimeoutExpired):
                asking.wait(timeout=3)
                break
        os.set_blocking(terminal, False)
        with contextlib.suppress(OSError):  # nothing more was said, or it has ended
            shown += os.read(terminal, 10_000)
        status = Path(f"/proc/{asking.pid}/status").read_text() if asking.poll() is None else ""
        assert asking.poll() == 1, [shown, *(line for line in status.splitlines() if line.startswith("Sig"))]
    finally:
        asking.kill()
        asking.wait()
        os.close(terminal)
        os.close(other)
