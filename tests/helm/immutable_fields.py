"""Fields that Kubernetes lets nobody change, and what they were in released charts.

``python -m tests.helm.immutable_fields`` writes the file of the chart's version, when it is released.
"""

import json
import subprocess
from collections.abc import Iterable
from importlib import import_module
from pathlib import Path
from typing import Any

import yaml

from tests.helm.values_matrix import POD, SECRETS, TRIAL_PASSWORD

__all__ = ["RELEASED", "RELEASED_VALUES", "fixed_fields"]

RELEASED = Path(__file__).parent / "released"
FIELDS = {
    "Deployment": ["selector"],
    "StatefulSet": ["selector", "serviceName", "volumeClaimTemplates"],
    "PersistentVolumeClaim": ["accessModes", "storageClassName", "volumeName", "selector"],
}
"""Of whatever a release keeps: Jobs are hooks that are made anew, and Services have no fixed address."""
RELEASED_VALUES: list[dict[str, Any]] = [
    {"secrets": SECRETS, "dashboard": POD, "mlflow": POD, "controller": POD},
    {
        "secrets": SECRETS,
        "fullnameOverride": "mill",
        "project": {"volume": {"accessModes": ["ReadWriteOnce"], "storageClass": "fast"}},
        "mlflow": {"volume": {"storageClass": "fast"}},
        "compaction": {"enabled": True},
    },
    {
        "trial": {"enabled": True, "password": TRIAL_PASSWORD},
        "migrations": {"hooks": "post-install,post-upgrade"},
    },
]


def fixed_fields(manifests: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """Return the fields that cannot change, by kind, name and field."""
    return {
        f"{one['kind']}/{one['metadata']['name']}/{field}": one["spec"].get(field)
        for one in manifests
        for field in FIELDS.get(one["kind"], [])
    }


def main() -> None:
    conftest = import_module("tests.helm.conftest")
    programs = conftest.unpack_programs(Path(subprocess.check_output(["mktemp", "-d"], text=True).strip()))
    version = yaml.safe_load((conftest.CHART / "Chart.yaml").read_text())["version"]
    found = []
    for values in RELEASED_VALUES:
        done = conftest.template(programs, values)
        assert done.returncode == 0, done.stderr
        made = [one for one in yaml.safe_load_all(done.stdout) if one]
        found.append({"values": values, "fields": fixed_fields(made)})
    RELEASED.mkdir(exist_ok=True)
    (RELEASED / f"{version}.json").write_text(json.dumps(found, indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
