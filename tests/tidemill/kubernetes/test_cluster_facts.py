"""What is shown of a cluster, against kmock."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from tests.tidemill.kubernetes.api_server import ApiServer, away
from tests.tidemill.retraining.test_loop_declarations import project_with
from tidemill.cli.main import app
from tidemill.kubernetes.cluster_api import LEASES, RAY_JOBS, RAY_SERVICES, ClusterApi
from tidemill.kubernetes.cluster_facts import ServiceFacts, cluster_facts, read_cluster
from tidemill.kubernetes.ray_jobs.ray_job_manifest import KIND, RELEASE, SUBJECT
from tidemill.settings import Settings
from tidemill.state import open_state


def make(api: ClusterApi, name: str, **status: Any) -> None:
    labels = {KIND: "turn", SUBJECT: name, RELEASE: "shop"}
    assert api.create(RAY_JOBS, {"metadata": {"name": name, "labels": labels}, "status": status})


def test_who_leads_what_serves_and_what_is_under_way(server: ApiServer, api: ClusterApi):
    assert cluster_facts(Settings(kubernetes_url=server.url)) is None, "no release is named"
    settings = Settings(kubernetes_url=server.url, kubernetes_namespace="models", kubernetes_release="shop")
    found = cluster_facts(settings)
    assert found is not None
    assert (found.leader, found.service, found.jobs, found.problems) == (None, None, (), ())
    spec = {"holderIdentity": "shop-1_ab", "renewTime": "2026-01-01T00:00:05.123456Z"}
    api.create(LEASES, {"metadata": {"name": "shop-controller"}, "spec": spec})
    conditions = [{"type": "Ready", "status": "True"}, {"type": "UpgradeInProgress", "status": "True"}]
    applications = {"tidemill": {"status": "RUNNING"}}
    status = {
        "conditions": conditions,
        "numServeEndpoints": 2,
        "activeServiceStatus": {"applicationStatuses": applications},
    }
    api.create(RAY_SERVICES, {"metadata": {"name": "shop-serving"}, "status": status})
    make(api, "a-failed", jobDeploymentStatus="Failed", message="no")
    make(api, "b-running", jobDeploymentStatus="Running")
    api.create(RAY_JOBS, {"metadata": {"name": "of-others", "labels": {RELEASE: "other"}}})
    found = cluster_facts(settings)
    assert found is not None
    assert found.leader == "shop-1_ab"
    assert found.renewed_at is not None
    assert found.renewed_at.isoformat() == "2026-01-01T00:00:05.123456+00:00"
    assert found.service == ServiceFacts("being upgraded", "", 2, {"tidemill": "RUNNING"})
    assert [(one.name, one.phase) for one in found.jobs] == [("b-running", "running"), ("a-failed", "failed")]


def test_what_cannot_be_read_is_said_and_asked_once(server: ApiServer, api: ClusterApi):
    server.refusals.append(away)
    found = read_cluster(api, "shop")
    assert len(server.asked) == 1
    [problem] = found.problems
    assert "etcd has no leader" in problem


def test_status_shows_the_cluster_that_its_environment_names(
    server: ApiServer, api: ClusterApi, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    open_state(project_with(tmp_path).state_url).close()
    command = ["status", "--project", str(tmp_path)]
    assert json.loads(CliRunner().invoke(app, [*command, "--json"]).stdout)["cluster"] is None
    names = {"URL": server.url, "NAMESPACE": "models", "RELEASE": "mill"}
    for name, value in names.items():
        monkeypatch.setenv(f"TIDEMILL_KUBERNETES_{name}", value)
    labels = {KIND: "turn", RELEASE: "mill"}
    api.create(RAY_JOBS, {"metadata": {"name": "turn-9", "labels": labels}, "status": {}})
    shown = CliRunner().invoke(app, command)
    assert shown.exit_code == 0
    assert "none: no controller works" in shown.stdout
    assert "turn-9: waiting" in shown.stdout
    facts = json.loads(CliRunner().invoke(app, [*command, "--json"]).stdout)["cluster"]
    assert facts["jobs"][0]["name"] == "turn-9"
    server.refusals.append(away)
    assert "etcd has no leader" in CliRunner().invoke(app, command).stdout
