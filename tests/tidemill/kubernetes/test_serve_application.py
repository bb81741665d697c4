"""What Ray Serve builds by the names in the chart's configuration."""

import pytest

from tidemill.errors import ProjectNotFound
from tidemill.kubernetes.serve_application import build, build_jobs
from tidemill.project import Project

pytestmark = pytest.mark.engine


def test_replicas_get_the_project_and_its_settings_but_not_our_own_key(
    parcels: Project, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("TIDEMILL_API_KEY", "tmk_1_ours")
    monkeypatch.setenv("TIDEMILL_HOST", "0.0.0.0")
    for made, name in ((build, "predictions"), (build_jobs, "jobs")):
        bound = made({"project": str(parcels.root)})._bound_deployment
        assert bound.name == name
        root, settings = bound.init_args[:2]
        assert root == str(parcels.root)
        assert settings.api_key is None
        assert settings.host == "0.0.0.0", "beyond loopback each request needs a key"


def test_a_project_that_is_not_there_is_named(tmp_path):
    with pytest.raises(ProjectNotFound):
        build({"project": str(tmp_path)})
