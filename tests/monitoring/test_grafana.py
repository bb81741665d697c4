"""The dashboards for Grafana: whole, of metrics that exist, in a language that Prometheus takes."""

import json
import re
from pathlib import Path

import pytest
import yaml

from tests.monitoring.test_prometheus import RULES, bare, exposed, promtool

__all__ = ["promtool"]

FOLDER = RULES.parents[1] / "grafana"
BOARDS = sorted(FOLDER.glob("*.json"), key=lambda file: file.name)


def expressions(board):
    """Return the queries of a dashboard, with its variables and intervals filled in."""
    found = [target["expr"] for panel in board["panels"] for target in panel.get("targets", [])]
    found += [one["expr"] for one in board["annotations"]["list"]]
    return [text.replace("$job", ".*") for text in found]


def read(file: Path):
    return json.loads(file.read_text())


def test_there_is_one():
    assert [file.name for file in BOARDS] == ["serving.json"]


@pytest.mark.parametrize("file", BOARDS, ids=lambda file: file.name)
def test_a_dashboard_has_what_grafana_needs(file):
    board = read(file)
    needed = {
        "uid": str,
        "title": str,
        "schemaVersion": int,
        "time": dict,
        "templating": dict,
        "panels": list,
    }
    for name, kind in needed.items():
        assert isinstance(board[name], kind), name
    assert re.fullmatch(r"[\w-]{1,40}", board["uid"])
    panels = board["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    taken = set()
    for panel in panels:
        assert panel["type"] in ("row", "stat", "timeseries")
        place = panel["gridPos"]
        assert place["x"] >= 0
        assert place["x"] + place["w"] <= 24
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, f"{panel['title']} covers another panel"
        taken |= cells
        assert panel["title"]
        if panel["type"] != "row":
            assert panel["targets"]
            assert panel["datasource"] == {"type": "prometheus", "uid": "${source}"}
            assert len({one["refId"] for one in panel["targets"]}) == len(panel["targets"])
    assert {"source", "job"} == {one["name"] for one in board["templating"]["list"]}


@pytest.mark.parametrize("file", BOARDS, ids=lambda file: file.name)
def test_a_dashboard_reads_metrics_that_exist(file):
    rules = [rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]]
    records = {rule["record"] for rule in rules if "record" in rule}
    text = " ".join(expressions(read(file)))
    recorded = set(re.findall(r"\bjob\w*:[\w:]+", text))
    assert recorded <= records
    for record in recorded:
        text = text.replace(record, "")
    named = {bare(name) for name in re.findall(r"\btidemill_\w+", text)}
    assert len(named) >= 8
    assert named <= exposed()


@pytest.mark.parametrize("file", BOARDS, ids=lambda file: file.name)
def test_prometheus_takes_the_queries(file, promtool, tmp_path):
    queries = expressions(read(file))
    rules = [{"record": f"of_a_panel:{number}", "expr": text} for number, text in enumerate(queries)]
    written = tmp_path / "queries.yaml"
    written.write_text(yaml.safe_dump({"groups": [{"name": "queries", "rules": rules}]}))
    checked = promtool("check", "rules", str(written))
    assert checked.returncode == 0, checked.stdout + checked.stderr
    broken = [{"record": "of_a_panel:x", "expr": f"sum({queries[0]}"}]
    written.write_text(yaml.safe_dump({"groups": [{"name": "queries", "rules": broken}]}))
    assert promtool("check", "rules", str(written)).returncode != 0
