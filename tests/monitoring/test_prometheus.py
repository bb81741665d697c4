"""The rules for on-call: promtool takes them, they fire when they should, and read metrics that exist."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from tidemill.prediction_log.writing.log_writer import LogHealth
from tidemill.serving.observability.metrics_sources import of_limits, of_log, of_models, of_shadows
from tidemill.serving.observability.replica_metrics import Metrics

RULES = Path(__file__).parents[2] / "monitoring/prometheus/rules.yaml"
DOCS = Path(__file__).parents[2] / "docs/metrics.md"


@pytest.fixture
def promtool():
    binary = shutil.which("promtool")
    if binary is None:
        pytest.skip("needs promtool (on Debian: apt-get install prometheus)")
    return lambda *words: subprocess.run(
        [binary, *words], capture_output=True, text=True, timeout=60, check=False
    )


def exposed():
    """Return the names of all metrics of a replica."""
    metrics = Metrics(list)
    for source in (of_models("m", tuple), of_log(LogHealth), of_limits(1), of_shadows(dict)):
        metrics.add(source)
    text = metrics.text().decode()
    elsewhere = {"tidemill_degraded", "tidemill_jobs"}
    return elsewhere | set(re.findall(r"^# TYPE (\w+) ", text, re.MULTILINE))


def bare(name):
    return re.sub(r"_(bucket|count|sum)$", "", name)


def test_promtool_takes_the_rules(promtool):
    checked = promtool("check", "rules", str(RULES))
    assert checked.returncode == 0, checked.stdout + checked.stderr


@pytest.mark.slow
def test_they_fire_when_they_should(promtool):
    tested = promtool("test", "rules", str(RULES.with_name("rules_test.yaml")))
    assert tested.returncode == 0, tested.stdout + tested.stderr


def test_they_read_metrics_that_exist():
    rules = [rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]]
    records = {rule["record"] for rule in rules if "record" in rule}
    text = " ".join(str(rule) for rule in rules)
    for record in records:
        text = text.replace(record, "")
    read = {bare(name) for name in re.findall(r"\btidemill_\w+", text)}
    assert len(read) >= 10
    assert read <= exposed()


def test_every_alert_says_how_bad_it_is_and_what_to_do():
    groups = yaml.safe_load(RULES.read_text())["groups"]
    alerts = [rule for group in groups for rule in group["rules"] if "alert" in rule]
    assert len(alerts) >= 8
    for alert in alerts:
        assert alert["labels"]["severity"] in ("page", "ticket")
        assert set(alert["annotations"]) == {"summary", "action"}
        assert f"`{alert['alert']}`" in DOCS.read_text()


def test_the_docs_have_every_metric_and_no_other():
    told = {bare(name) for name in re.findall(r"^\| `(tidemill_\w+)", DOCS.read_text(), re.MULTILINE)}
    assert told == exposed()
