"""How the environment is installed, which is most of a newcomer's first minutes."""

import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_the_lock_is_installed_by_uv_and_by_pip_only_if_that_fails(tmp_path: Path):
    """uv takes less than a minute, pip six."""
    command = ["make", "--dry-run", "venv", f"VENV={tmp_path / 'venv'}"]
    said = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    steps = said.replace("\\\n", "").splitlines()
    (whole,) = [step for step in steps if step.endswith("-r requirements.lock; }")]
    first, otherwise = whole.split(" || ")
    assert first.startswith(".ci/uv pip install ")
    assert "--compile-bytecode" in first  # pip does so by itself; without it each first import takes longer
    assert "-m pip" not in first
    assert "-m pip" in otherwise
    for installer in (first, otherwise):
        assert "--no-deps --require-hashes -r requirements.lock" in installer
    others = [step for step in steps if "-m pip" in step and step != whole]
    assert [step.split()[-1] for step in others] == [
        f"{tmp_path}/venv/uv.lock",
        ".",
    ]  # uv itself, and Tidemill
