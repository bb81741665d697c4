"""What Git says of the aliases, beside what the registry has."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tidemill.errors import ConfigError
from tidemill.registry.declared_aliases import read_declared


def test_a_file_is_read_and_a_wrong_one_refused(tmp_path: Path):
    assert read_declared(tmp_path) is None
    file = tmp_path / "deployments.yaml"
    file.write_text("champion: 3\ncanary: null\n")
    assert read_declared(tmp_path) == {"champion": "3", "canary": None}
    for wrong in ("champion: three", "[champion]", "champion: true", "champion: 0"):
        file.write_text(wrong)
        with pytest.raises(ConfigError, match="which version has which alias"):
            read_declared(tmp_path)


def test_status_says_where_the_registry_differs(tmp_path: Path):
    (tmp_path / "params.yaml").write_text("project: {name: wine, model: wine}\n")
    command = [sys.executable, "-m", "tidemill.cli.main", "status", "--project", str(tmp_path), "--json"]

    def drift() -> list[str] | None:
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        return json.loads(done.stdout)["drift"]

    assert drift() is None
    (tmp_path / "deployments.yaml").write_text("champion: 3\ncanary: null\n")
    assert drift() == ["champion is nowhere, deployments.yaml says 3"]
