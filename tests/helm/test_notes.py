"""What helm says after an installation: what to do next, by commands that exist."""

import json
import re
import shlex
import subprocess
from pathlib import Path
from typing import Any

import pytest
import typer

from tests.helm.conftest import CHART, NAMESPACE, RELEASE
from tests.helm.values_matrix import SECRETS, TRIAL_PASSWORD
from tidemill.cli.main import app

pytestmark = pytest.mark.slow

ADDRESSES = {name: SECRETS[name] for name in ("recordsUrl", "trackingUrl")}


def notes(programs: Path, values: dict[str, Any]) -> str:
    command = [str(programs / "helm"), "install", RELEASE, str(CHART), "--namespace", NAMESPACE]
    options = ["--dry-run=client", "--values", "-"]
    done = subprocess.run([*command, *options], input=json.dumps(values), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.partition("\nNOTES:\n")[2]


def test_what_is_missing_is_made_by_commands_that_exist(programs: Path):
    said = notes(programs, {"secrets": ADDRESSES, "networkPolicy": {"enabled": False}})
    tree: Any = typer.main.get_command(app)
    found = re.findall(r"^ +tidemill (.*)$", said, re.MULTILINE)
    assert len(found) == 2
    for line in found:
        words = shlex.split(line)
        command = tree
        while words and words[0] in getattr(command, "commands", {}):
            command = command.commands[words.pop(0)]
        known = {option for parameter in command.params for option in parameter.opts}
        assert {word for word in words if word.startswith("--")} <= known
    assert "port-forward service/shop-tidemill-dashboard 4300:80" in said
    assert "every pod of the cluster reaches MLflow" in said


def test_what_is_there_is_not_asked_for_again(programs: Path):
    door = {"enabled": True, "dashboard": {"host": "mill.example.com"}}
    said = notes(programs, {"secrets": SECRETS, "ingress": door})
    assert "http://mill.example.com" in said
    assert "passwords can be read on the way" in said
    assert "Log in as ada" in said
    assert "keys create" not in said


def test_a_trial_says_so_and_tells_no_password(programs: Path):
    said = notes(programs, {"trial": {"enabled": True, "password": TRIAL_PASSWORD}})
    assert "THIS IS A TRIAL" in said
    assert TRIAL_PASSWORD not in said
