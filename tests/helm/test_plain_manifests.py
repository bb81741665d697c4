"""What `tidemill manifests` makes of the chart, for Argo CD and for Flux."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.helm.conftest import CHART, Render
from tests.helm.values_matrix import SECRETS, TRIAL_PASSWORD, merged
from tidemill.errors import ClusterError, ConfigError, UsageError
from tidemill.kubernetes.release_needs import Kind, claims, kinds, named_secrets
from tidemill.kubernetes.rendered_manifests import (
    arrange,
    find_chart,
    find_helm,
    refuse_secrets,
    render_chart,
    write_manifests,
)

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def values(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("values") / "values.yaml"
    file.write_text(yaml.safe_dump({"secrets": SECRETS}))
    return file


@pytest.fixture(scope="module")
def rendered(programs: Path, values: Path) -> list[dict]:
    return render_chart(str(programs / "helm"), str(CHART), "shop", "models", [values])


def test_argo_cd_gets_hooks_of_its_own(rendered: list[dict]):
    files = {name: yaml.safe_load(text) for name, text in arrange(rendered, "argocd").items()}
    assert len(files) == len(rendered) > 10
    job = files["job-shop-tidemill-records.yaml"]["metadata"]["annotations"]
    account = files["serviceaccount-shop-tidemill-jobs.yaml"]["metadata"]["annotations"]
    for each in (job, account):
        assert each["argocd.argoproj.io/hook"] == "PreSync"
        assert each["argocd.argoproj.io/hook-delete-policy"] == "BeforeHookCreation"
    assert int(account["argocd.argoproj.io/sync-wave"]) < int(job["argocd.argoproj.io/sync-wave"])
    claim = files["persistentvolumeclaim-shop-tidemill-project.yaml"]["metadata"]["annotations"]
    assert claim == {"argocd.argoproj.io/sync-options": "Prune=false,Delete=false"}
    assert "helm.sh/hook" not in json.dumps(files)
    assert "pod-shop-tidemill-test.yaml" not in files


def test_secrets_of_an_operator_are_asked_for_before_the_job_that_reads_them(render: Render):
    store = {"enabled": True, "store": {"name": "vault"}}
    items = [{"name": "records", "data": {"url": {"key": "tidemill/records"}}}]
    made = render({"secrets": SECRETS, "externalSecrets": {**store, "items": items}})
    argo = {name: yaml.safe_load(text) for name, text in arrange(made, "argocd").items()}
    job, secret = argo["job-shop-tidemill-records.yaml"], argo["externalsecret-records.yaml"]
    waves = [
        int(one["metadata"]["annotations"]["argocd.argoproj.io/sync-wave"])
        for one in (secret, job)
        if one["metadata"]["annotations"]["argocd.argoproj.io/hook"] == "PreSync"
    ]
    assert waves == [-20, 0]
    assert secret["spec"]["target"]["creationPolicy"] == "Orphan", "a hook is made anew, the Secret must stay"
    assert "1-before/externalsecret-records.yaml" in arrange(made, "flux")


def test_objects_of_one_name_in_two_namespaces_are_two_files():
    two = [{"kind": "Service", "metadata": {"name": "api", "namespace": where}} for where in ("a", "b")]
    assert list(arrange(two, "argocd")) == ["a.service-api.yaml", "b.service-api.yaml"]


def test_what_a_cluster_must_have_is_read_from_the_manifests(rendered: list[dict]):
    wanted = {one["existingSecret"] for one in SECRETS.values()}
    assert named_secrets(rendered).keys() == wanted
    assert named_secrets(rendered)["mlflow"] == {"address"}
    assert {(claim.name, claim.shared) for claim in claims(rendered)} == {
        ("shop-tidemill-project", True),
        ("shop-tidemill-artifacts", False),
    }
    assert Kind("ray.io/v1", "RayService") in kinds(rendered)


def test_flux_gets_folders_and_a_job_of_another_name_for_other_content(rendered: list[dict]):
    files = arrange(rendered, "flux")
    assert {name.partition("/")[0] for name in files} == {"1-before", "2-release"}
    for folder in ("1-before", "2-release"):
        listed = yaml.safe_load(files[f"{folder}/kustomization.yaml"])["resources"]
        assert {f"{folder}/{name}" for name in listed} | {f"{folder}/kustomization.yaml"} == {
            name for name in files if name.startswith(folder)
        }
    [job] = [name for name in files if "/job-" in name]
    again = json.loads(json.dumps(rendered).replace("tidemill:0.1.0", "tidemill:0.2.0"))
    [other] = [name for name in arrange(again, "flux") if "/job-" in name]
    assert job != other
    assert yaml.safe_load(files[job])["metadata"]["name"] in job
    assert "helm.sh/hook" not in json.dumps(files)


def test_what_is_not_rendered_any_more_is_deleted_and_what_others_wrote_stays(tmp_path: Path):
    write_manifests(
        tmp_path, {"a/x.yaml": "# Made by `tidemill manifests`: change the values and render again.\n"}
    )
    (tmp_path / "a" / "mine.yaml").write_text("mine: yes\n")
    assert write_manifests(tmp_path, {"y.yaml": "y"}) == ["a/x.yaml"]
    assert sorted(path.name for path in tmp_path.rglob("*.yaml")) == ["mine.yaml", "y.yaml"]
    with pytest.raises(UsageError, match=r"mine\.yaml was not made by this command"):
        write_manifests(tmp_path, {"a/mine.yaml": "z"})


def test_no_password_comes_to_git_and_wrong_values_are_told(programs: Path, values: Path, tmp_path: Path):
    helm = str(programs / "helm")
    (tmp_path / "trial.yaml").write_text(
        yaml.safe_dump(merged({"secrets": SECRETS}, {"trial": {"enabled": True, "password": TRIAL_PASSWORD}}))
    )
    with pytest.raises(ConfigError, match="would come to Git"):
        refuse_secrets(render_chart(helm, find_chart(None), "shop", "models", [tmp_path / "trial.yaml"]))
    with pytest.raises(ClusterError, match="helm-9 is not installed"):
        find_helm("helm-9")
    command = [
        sys.executable,
        "-m",
        "tidemill.cli.main",
        "manifests",
        "--helm",
        helm,
        "--values",
        str(values),
    ]
    done = subprocess.run(
        [*command, "--out", str(tmp_path / "out"), "--for", "flux", "--json"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert {str(path.relative_to(tmp_path / "out")) for path in (tmp_path / "out").rglob("*.yaml")} == set(
        said["files"]
    )
    (tmp_path / "wrong.yaml").write_text("dashbord: {}\n")
    done = subprocess.run(
        [*command, "--values", str(tmp_path / "wrong.yaml"), "--out", "x"], capture_output=True, text=True
    )
    assert done.returncode == 2
    assert "dashbord" in done.stderr
