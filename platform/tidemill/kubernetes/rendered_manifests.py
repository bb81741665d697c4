"""Renders the chart to plain manifests for Git, which Argo CD or Flux applies without Helm.

Helm's hooks are no hooks there. Argo CD has phases of its own, as annotations. Flux has none: what runs
before and after the release is in folders of its own, and the name of a Job, whose fields may not change,
ends with the digest of its content.
"""

import hashlib
import json
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from tidemill.errors import ClusterError, ConfigError, UsageError
from tidemill.files.atomic import replace_file

__all__ = ["TOOLS", "arrange", "find_chart", "find_helm", "refuse_secrets", "render_chart", "write_manifests"]

Manifest = dict[str, Any]

TOOLS = ("argocd", "flux")
_MADE = "# Made by `tidemill manifests`: change the values and render again.\n"
_HOOK, _WEIGHT, _DELETE = "helm.sh/hook", "helm.sh/hook-weight", "helm.sh/hook-delete-policy"
_KEEP = "helm.sh/resource-policy"
_ARGO = "argocd.argoproj.io"
_FOLDERS = {"pre": "1-before", "": "2-release", "post": "3-after"}


def find_helm(name: str = "helm") -> str:
    """Return the path of helm.

    Raises:
        ClusterError: it is not installed.
    """
    found = shutil.which(name)
    if found is None:
        raise ClusterError(
            f"{name} is not installed: it renders the chart",
            hint="install Helm 3.18 or later (https://helm.sh/docs/intro/install), or name it with --helm",
        )
    return found


def find_chart(given: str | None) -> str:
    """Return what helm is to render: what was given, or the chart of the checkout that this is.

    Raises:
        UsageError: nothing was given, and there is no checkout.
    """
    own = Path(__file__).parents[3] / "helm" / "tidemill"
    if given is None and not (own / "Chart.yaml").exists():
        raise UsageError(
            "there is no chart beside this installation",
            hint="name it with --chart: a folder, an archive, or an address such as oci://…",
        )
    return given or str(own)


def render_chart(
    helm: str, chart: str, release: str, namespace: str, values: Sequence[Path]
) -> list[Manifest]:
    """Return the manifests of a release, without those of `helm test`.

    Raises:
        ConfigError: helm refused the values.
    """
    files = [word for file in values for word in ("--values", str(file))]
    command = [helm, "template", release, chart, "--namespace", namespace, *files]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise ConfigError(
            f"helm refused to render {chart}: {done.stderr.strip()}",
            hint="correct the values; helm/tidemill/README.md has every key",
        )
    found = [one for one in yaml.load_all(done.stdout, _LOADER) if one]
    return [one for one in found if _hooks(one) != {"test"}]


def refuse_secrets(manifests: Sequence[Manifest]) -> None:
    """Check that no content of a Secret would come to Git.

    Raises:
        ConfigError: it would.
    """
    for one in manifests:
        if one["kind"] == "Secret":
            raise ConfigError(
                f"the Secret {one['metadata']['name']} would come to Git with its content",
                hint="set trial.enabled to false, and name Secrets of yours (existingSecret)",
            )


_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def arrange(manifests: Sequence[Manifest], tool: str) -> dict[str, str]:
    """Return the files for Argo CD or Flux: text by path.

    >>> job = {"kind": "Job", "metadata": {"name": "x", "annotations": {"helm.sh/hook": "pre-install"}}}
    >>> list(arrange([job], "argocd"))
    ['job-x.yaml']
    >>> [name.partition("-x-")[0] for name in arrange([job], "flux")]
    ['1-before/job', '1-before/kustomization.yaml']
    """
    made: dict[str, str] = {}
    several = len({one["metadata"].get("namespace") for one in manifests}) > 1
    for one in manifests:
        phase = next((name for name in ("pre", "post") if any(h.startswith(name) for h in _hooks(one))), "")
        changed = _for_argo(one, phase) if tool == "argocd" else _for_flux(one, phase)
        folder = "" if tool == "argocd" else f"{_FOLDERS[phase]}/"
        where = changed["metadata"].get("namespace")
        of = f"{where}." if several and where else ""
        made[f"{folder}{of}{changed['kind'].lower()}-{changed['metadata']['name']}.yaml"] = _text(changed)
    if tool == "flux":
        for folder in sorted({path.partition("/")[0] for path in made}):
            names = sorted(path.partition("/")[2] for path in made if path.startswith(f"{folder}/"))
            listed = {"apiVersion": "kustomize.config.k8s.io/v1beta1", "kind": "Kustomization"}
            made[f"{folder}/kustomization.yaml"] = _text({**listed, "resources": names})
    return made


def _hooks(one: Manifest) -> set[str]:
    said = one["metadata"].get("annotations", {}).get(_HOOK, "")
    return {hook.strip() for hook in said.split(",") if hook.strip()}


def _annotated(one: Manifest, added: Mapping[str, str]) -> Manifest:
    """Return a manifest with other annotations in place of Helm's."""
    given = one["metadata"].get("annotations", {})
    kept = {key: value for key, value in given.items() if key not in (_HOOK, _WEIGHT, _DELETE, _KEEP)}
    about = {key: value for key, value in one["metadata"].items() if key != "annotations"}
    both = {**kept, **added}
    return {**one, "metadata": {**about, **({"annotations": both} if both else {})}}


def _for_argo(one: Manifest, phase: str) -> Manifest:
    given = one["metadata"].get("annotations", {})
    added = {}
    if phase:
        added[f"{_ARGO}/hook"] = {"pre": "PreSync", "post": "PostSync"}[phase]
        added[f"{_ARGO}/hook-delete-policy"] = "BeforeHookCreation"
        added[f"{_ARGO}/sync-wave"] = given.get(_WEIGHT, "0")
    if given.get(_KEEP) == "keep":
        added[f"{_ARGO}/sync-options"] = "Prune=false,Delete=false"
    return _annotated(one, added)


def _for_flux(one: Manifest, phase: str) -> Manifest:
    kept = one["metadata"].get("annotations", {}).get(_KEEP) == "keep"
    made = _annotated(one, {"kustomize.toolkit.fluxcd.io/prune": "disabled"} if kept else {})
    if one["kind"] != "Job" or not phase:
        return made
    digest = hashlib.sha256(json.dumps(made, sort_keys=True).encode()).hexdigest()[:10]
    return {**made, "metadata": {**made["metadata"], "name": f"{one['metadata']['name']}-{digest}"}}


def _text(one: Manifest) -> str:
    return _MADE + yaml.safe_dump(one, sort_keys=False, allow_unicode=True, width=110)


def write_manifests(folder: Path, files: Mapping[str, str]) -> list[str]:
    """Write the files into a folder, delete those of an earlier rendering, and return the names of these.

    Raises:
        UsageError: a file that somebody else wrote is in the way.
        OSError: the folder cannot be written.
    """
    before = {path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*.yaml"))}
    for name in files.keys() & before.keys():
        if not before[name].read_text(encoding="utf-8").startswith(_MADE):
            raise UsageError(
                f"{before[name]} was not made by this command", hint="name another folder with --out"
            )
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        replace_file(folder / name, text)
    left = [
        name
        for name, path in before.items()
        if name not in files and path.read_text(encoding="utf-8").startswith(_MADE)
    ]
    for name in left:
        before[name].unlink()
    return left
