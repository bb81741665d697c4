"""Puts the reference project and the examples into the wheel, where ``tidemill init`` finds it."""

from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

TEMPLATE = (
    "pipelines",
    "feature_repo",
    "serving",
    "monitoring",
    "dvc.yaml",
    "params.yaml",
    "expectations.yaml",
    "tombstones.yaml",
)


class CustomBuildHook(BuildHookInterface):  # type: ignore[type-arg]
    """In an editable install the files are read from the checkout itself; a wheel carries a copy."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Add the files of the reference project to a standard wheel."""
        if version != "standard":
            return
        examples = Path(self.root) / "examples"
        for file in sorted(examples.rglob("*")):
            if file.is_file() and not {"__pycache__", "online_store"} & set(file.parts):
                place = f"tidemill/project/examples/{file.relative_to(examples)}"
                build_data["force_include"][str(file)] = place
        for name in TEMPLATE:
            source = Path(self.root) / name
            files = [source] if source.is_file() else sorted(source.rglob("*"))
            for file in files:
                if file.is_file() and not {"__pycache__", "online_store"} & set(file.parts):
                    build_data["force_include"][str(file)] = (
                        f"tidemill/project/template/{file.relative_to(self.root)}"
                    )
