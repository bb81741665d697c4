import io
import json
import re
import subprocess
import sys
import time

import pytest

from tidemill.cli.progress_lines import Lines, progress


def test_a_line_when_a_step_begins_and_when_it_ends():
    stream = io.StringIO()
    with Lines(stream, quiet=0) as lines:
        lines.tell("data", "a line with [/brackets]", None, None)
        lines.tell("data", "another", 1, 2)
        lines.tell("train", "", 1200, 2400)
    said = re.sub(r"\d+\.\d s", "N s", stream.getvalue()).splitlines()
    assert said == [
        "data: begins: a line with [/brackets]",
        "data: done after N s",
        "train: begins: 1,200 of 2,400",
        "train: done after N s",
    ]


def test_a_failed_step_says_so():
    stream = io.StringIO()

    def fail() -> None:
        with Lines(stream, quiet=0) as lines:
            lines.tell("train", "", None, None)
            raise ValueError

    with pytest.raises(ValueError):
        fail()
    assert stream.getvalue().splitlines()[-1].startswith("train: failed after ")


def test_a_long_step_is_told_again_and_again():
    stream = io.StringIO()
    with Lines(stream, quiet=0, every=0.01) as lines:
        lines.tell("train", "trial", 3, 24)
        end = time.monotonic() + 10
        while stream.getvalue().count("so far") < 3 and time.monotonic() < end:
            time.sleep(0.01)
    assert stream.getvalue().count("train: 0 s so far: trial, 3 of 24\n") >= 3


def test_quick_work_says_nothing():
    stream = io.StringIO()
    with Lines(stream, quiet=60) as lines:
        lines.tell("reading", "git", None, None)
    assert stream.getvalue() == ""


def test_what_is_under_way_when_the_quiet_ends_is_told():
    stream = io.StringIO()
    with Lines(stream, quiet=0.05, every=60) as lines:
        lines.tell("reading", "git", None, None)
        end = time.monotonic() + 10
        while not stream.getvalue() and time.monotonic() < end:
            time.sleep(0.01)
    assert stream.getvalue().startswith("reading: 0 s so far: git\n")


def test_lines_go_to_stderr_and_json_alone_to_stdout():
    code = """
import sys
from tidemill.cli import progress_lines
from tidemill.cli.output import emit
with progress_lines.Lines(sys.stderr, quiet=0) as lines:
    lines.tell("train", "", None, None)
emit({"done": True}, True, print)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert json.loads(done.stdout) == {"done": True}
    assert done.stderr.startswith("train: begins\n")


def test_progress_takes_any_text(capsys: pytest.CaptureFixture[str]):
    with progress() as tell:
        tell("data", "a line with [/brackets]", None, None)
        tell("train", "more [/]", 1, 2)
    assert capsys.readouterr().out == ""
