"""A closed pipe ends no command, and a full disk is one line."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

MAIN = "from tidemill.cli import main; main.app = {}; main.main()"
MUCH = "lambda: [print('x' * 70) for _ in range(20_000)]"
WITH_RICH = (
    "lambda: [__import__('tidemill.cli.output', fromlist=['x']).out_console().print('x' * 70) "
    "for _ in range(3_000)]"
)


@pytest.mark.slow
@pytest.mark.parametrize(
    "arguments",
    [
        ["--version"],
        ["--help"],
        ["models", "--help"],
        ["init", "new", "--json"],
        ["status", "--json"],
        ["status"],
    ],
    ids=" ".join,
)
def test_output_to_a_full_disk_is_one_line_and_a_failure(tmp_path: Path, arguments: list[str]):
    (tmp_path / "params.yaml").write_text(
        "project: {name: toys, model: toy, training: 'm:s', application: 'm:a'}\n"
        "dataset: {path: data/set.parquet, label: y}\nfeatures: {service: toy}\n"
    )
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "tidemill.cli.main", *arguments],
            stdout=full, stderr=subprocess.PIPE, text=True, cwd=tmp_path,
        )  # fmt: skip
    assert done.returncode == 1, done.stderr
    assert "the output cannot be written: No space left on device" in done.stderr
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr


@pytest.mark.parametrize("said", [MUCH, WITH_RICH])
def test_a_pipe_that_is_closed_ends_no_command(said: str):
    process = subprocess.Popen(
        [sys.executable, "-c", MAIN.format(said)], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout is not None
    process.stdout.readline()
    process.stdout.close()
    _, told = process.communicate(timeout=60)
    assert (process.returncode, told) == (0, b"")


def test_the_exit_code_counts_although_nobody_reads(tmp_path: Path):
    process = subprocess.run(
        f"{sys.executable} -m tidemill.cli.main status | true; exit ${{PIPESTATUS[0]}}",
        shell=True, executable="/bin/bash", cwd=tmp_path, stderr=subprocess.PIPE,
    )  # fmt: skip
    assert process.returncode == 2


@pytest.mark.parametrize("closed", ["1", "2", "0"])
def test_a_closed_stream_is_no_failure(closed: str):
    done = subprocess.run(
        f"{sys.executable} -m tidemill.cli.main --version {closed}>&-",
        shell=True, executable="/bin/bash", capture_output=True, env={**os.environ},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
