import json
from datetime import timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tests.tidemill.state.test_store import NOW, turn
from tidemill.cli.main import app
from tidemill.errors import ConfigError
from tidemill.registry.history.turn_costs import read_prices
from tidemill.state import open_state

PARAMS = "project: {name: shop, model: shop}\ncost: {currency: EUR, prices: {cpu_hour: 0.5, gpu_hour: 2}}\n"


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "params.yaml").write_text(PARAMS)
    (tmp_path / ".tidemill").mkdir()
    state = open_state(f"sqlite:///{tmp_path / '.tidemill' / 'state.db'}")
    with state.transaction() as session:
        for number, (seconds, version) in enumerate(
            [(3600.0, "1"), (1800.0, "1"), (900.0, None), (None, None)]
        ):
            row = turn(number, "promoted" if version else "refused", "shop")
            row.cpu_seconds, row.version = seconds, version
            row.gpu_seconds = 450.0 if number == 1 else None
            row.requested_at = NOW + timedelta(hours=number)
            session.add(row)
        session.add(turn(9, "promoted", "another"))
    state.close()
    return tmp_path


def test_turns_versions_and_the_project_have_their_cost(root: Path):
    shown = CliRunner().invoke(app, ["status", "--cost", "-p", str(root), "--json"])
    told = json.loads(shown.stdout)
    assert [(each["name"], each["cpu_seconds"], each["price"]) for each in told["turns"]] == [
        ("turn_2", 900.0, 0.125), ("turn_1", 1800.0, 0.5), ("turn_0", 3600.0, 0.5),
    ]  # fmt: skip
    assert [(each["name"], each["cpu_seconds"], each["price"]) for each in told["versions"]] == [
        ("1", 5400.0, 1.0)
    ]
    assert (told["cpu_seconds"], told["price"], told["unmeasured"]) == (6300.0, 1.125, 1)
    text = CliRunner().invoke(app, ["status", "--cost", "-p", str(root)]).stdout
    assert "all 3 turns: 6,300.0 CPU seconds, 450.0 GPU seconds, 1.12 EUR" in text
    assert "1 turn without a measured time" in text
    (root / "params.yaml").write_text(PARAMS.replace("0.5", "0.001").replace("hour: 2", "hour: 0.01"))
    text = CliRunner().invoke(app, ["status", "--cost", "-p", str(root)]).stdout
    assert "450.0 GPU seconds, 0.0030 EUR" in text, "less than a cent is not nothing"
    (root / "params.yaml").write_text(PARAMS.replace(", gpu_hour: 2", ""))
    text = CliRunner().invoke(app, ["status", "--cost", "-p", str(root)]).stdout
    assert "GPU seconds\nWhat turns with GPUs cost: set cost.prices.gpu_hour" in text


@pytest.mark.parametrize(
    "cost",
    [
        {"prices": {"cpu_hour": -1}},
        {"prices": {"gpu": 1}},
        {"prices": {"gpu_hour": True}},
        {"prices": {"cpu_hour": float("inf")}},
        {"prices": 3},
        "free",
    ],
)
def test_wrong_prices_are_told(cost: object):
    with pytest.raises(ConfigError, match=r"cost\.prices in params\.yaml"):
        read_prices({"cost": cost})
