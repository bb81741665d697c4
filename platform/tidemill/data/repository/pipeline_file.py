"""Checks `dvc.yaml` for what keeps the pipeline from running, without importing DVC, which takes a second."""

from pathlib import Path
from typing import Any

from tidemill.files.yaml_reading import YamlError, parse_dvc_yaml, read_yaml_text, yaml_problem

__all__ = ["pipeline_problems"]

_SECTIONS = frozenset({"artifacts", "datasets", "metrics", "params", "plots", "stages", "vars"})
_OF_STAGE = frozenset(
    {
        *("always_changed", "cmd", "deps", "desc", "frozen", "meta", "metrics", "outs", "params", "plots"),
        *("vars", "wdir"),
    }
)
_LOOPS = frozenset({"foreach", "matrix"})


def pipeline_problems(root: Path) -> list[str]:
    """Return what is wrong with ``dvc.yaml`` of a project, one sentence each; nothing if there is no file.

    It finds what is not YAML and what DVC's schema does not have; only DVC resolves templates.
    """
    path = root / "dvc.yaml"
    try:
        content = parse_dvc_yaml(read_yaml_text(path))
    except FileNotFoundError:
        return []
    except OSError as error:
        return [f"{path} cannot be read: {error.strerror}"]
    except YamlError as error:
        return [f"{path} cannot be read: {yaml_problem(error)}"]
    return [f"{path} is wrong: {problem}" for problem in _problems(content)]


def _problems(content: Any) -> list[str]:
    if content is None:
        return []
    if not isinstance(content, dict):
        return ["it must be a mapping with stages"]
    found = [f"{name}: there is no such section" for name in content if name not in _SECTIONS]
    stages = content.get("stages") or {}
    if not isinstance(stages, dict):
        return [*found, "stages: must be a mapping of stages by name"]
    for name, stage in stages.items():
        found += [f"stages.{name}{problem}" for problem in _stage_problems(stage)]
    return found


def _stage_problems(stage: Any) -> list[str]:
    if not isinstance(stage, dict):
        return [": must be a mapping with cmd"]
    if "foreach" in stage:
        return [] if stage.keys() == {"foreach", "do"} else [": foreach needs do, and only that"]
    found = [f".{name}: there is no such field" for name in stage if name not in _OF_STAGE | _LOOPS]
    if not isinstance(stage.get("cmd"), str | list):
        found.append(".cmd: is missing" if "cmd" not in stage else ".cmd: must be text or a list")
    lists = ("deps", "outs", "metrics", "plots", "params")
    found += [f".{name}: must be a list" for name in lists if not isinstance(stage.get(name, []), list)]
    return found
