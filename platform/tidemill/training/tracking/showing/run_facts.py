"""Tells what a run was made from and what came of it, as names and texts by section."""

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from tidemill.data.expectations.expectations_file import expectations_digest
from tidemill.data.repository.uncommitted_code import IN_PATCH
from tidemill.data.versioning.content_records import read_record
from tidemill.digits import number
from tidemill.project import ProjectFolder
from tidemill.tasks.natural_metric import metric_of
from tidemill.training.tracking.run_values import TrackedRun, WholeRun

if TYPE_CHECKING:
    from tidemill.state.record_reader import Row
    from tidemill.training.tracking.run_lineage import Lineage

__all__ = ["SECTIONS", "RunFacts", "facts_of", "made_from"]

SECTIONS: Final = (
    "Metrics", "Slices", "Gate", "Parameters", "Data", "Features", "Code", "Environment", "Imported",
)  # fmt: skip
"""Titles, in their order."""
RunFacts = dict[str, Mapping[str, str]]
"""By section, name → text."""
_SLICE = re.compile(r".+_\d{4}(-\d\d)?")
_OF_DATA = "data."


def facts_of(folder: ProjectFolder, one: WholeRun, decisions: Sequence["Row"] = ()) -> RunFacts:
    """Return the facts of a run.

    Args:
        folder: its project, whose records have rows and columns of tables.
        one: the run.
        decisions: the gate's, about the versions that came of it; the latest last.
    """
    measured = _metrics(one.run)
    params = dict(one.run.params)
    if one.trained is not None:
        params = {"family": one.trained.family, **{k: str(v) for k, v in one.trained.params.items()}} | params
    environment, data = _environment(one), _data(folder, one)
    found: RunFacts = {
        "Metrics": {n: v for n, v in measured.items() if not _SLICE.fullmatch(n) and not _is_of_data(n)},
        "Slices": {n: v for n, v in measured.items() if _SLICE.fullmatch(n)},
        "Gate": _gate(decisions),
        "Parameters": params,
        "Data": data | {n.removeprefix(_OF_DATA): v for n, v in measured.items() if _is_of_data(n)},
        "Features": _features(one),
        "Code": _code(one),
        "Environment": environment,
        "Imported": _imported(one.run),
    }
    return found


def _is_of_data(metric: str) -> bool:
    return metric.startswith(_OF_DATA)


def _metrics(run: TrackedRun) -> dict[str, str]:
    """Return metrics as text, with their intervals where ``_low`` and ``_high`` are beside them."""
    found = {name: value for name, value in run.metrics.items() if math.isfinite(value)}
    said = {}
    for name, value in found.items():
        if any(name.endswith(end) and name.removesuffix(end) in found for end in ("_low", "_high")):
            continue
        low, high = found.get(f"{name}_low"), found.get(f"{name}_high")
        metric = metric_of(name)
        ends = sorted(metric.sign * end for end in (low, high) if end is not None)
        between = f" ({number(ends[0], 5)} to {number(ends[1], 5)})" if len(ends) == 2 else ""
        said[metric.name] = number(metric.shown(value), 5) + between
    return dict(sorted(said.items()))


def _gate(decisions: Sequence["Row"]) -> dict[str, str]:
    """Return what the gate found of the versions that came of a run: its numbers have intervals.

    Reasons stand together: those that refuse come first, so the first of two runs are not of the same check.
    """
    found: dict[str, str] = {}
    for decision in decisions:
        found["Verdict"] = "passed" if decision.passed else "refused"
        found |= _gain(decision.numbers or {}, decision.champion)
        found["Reasons"] = "; ".join(decision.reasons)
    return found


def _gain(numbers: Mapping[str, Any], champion: str | None) -> dict[str, str]:
    """Return the gain over the champion, with its interval.

    >>> _gain({"metric": "roc_auc", "gain": -0.0144, "gain_interval": [-0.0305, 0.0034]}, "4")
    {'Gain in roc_auc': '-0.0144 (-0.0305 to +0.0034) over version 4'}
    """
    gain, interval = numbers.get("gain"), numbers.get("gain_interval")
    if gain is None:
        return {}
    between = f" ({interval[0]:+.4f} to {interval[1]:+.4f})" if interval else ""
    metric = metric_of(str(numbers.get("metric")))
    return {f"Gain in {metric.name}": f"{gain:+.4f}{between} over version {champion}"}


def _data(folder: ProjectFolder, one: WholeRun) -> dict[str, str]:
    """Return the data's versions, and what is kept with them: rows, columns and their types."""
    found: dict[str, str] = {}
    digests: Mapping[str, str] = (one.origin or {}).get("data") or {}
    if one.lineage is not None:
        found = {k: v for k, v in _origin_of(one.lineage).items() if k in ("Data version", "As of")}
        found |= _split_of(one.lineage)
        digests = one.lineage.data
    types = expectations_digest(folder.root)
    for path, md5 in sorted(digests.items()):
        found[f"Data {path}"] = md5
        record = read_record(folder, md5, path, types)
        if record is not None and record.rows is not None:
            found[f"Rows of {path}"] = f"{record.rows:,}"
            found |= {f"Column {name} of {path}": kind for name, kind in (record.schema or {}).items()}
    return found


def _features(one: WholeRun) -> dict[str, str]:
    lineage, origin = one.lineage, one.origin or {}
    given = {
        "Service": one.run.feature_service,
        "Definition": lineage.feature_definition if lineage else None,
        "Files of definitions": origin.get("features"),
    }
    names: Iterable[str] = one.trained.features if one.trained else ()
    return {**_present(given), **{f"Feature {name}": "used" for name in names}}


def _code(one: WholeRun) -> dict[str, str]:
    cells = {"Notebook cells": one.run.origin.get("cells")}
    if one.origin is not None:
        unheld = ", ".join(one.origin["uncommitted"]) or "none"
        left = {f"Not kept: {file}": why for file, why in one.origin["left_out"].items()}
        problems = "; ".join(one.origin["problems"])
        facts = {"Commit": one.commit, "In no commit": unheld, "Problem": problems}
        texts = {"Texts in the patch": ", ".join(one.origin.get("texts", ()))}
        return _present({**facts, **texts, **left, "Patch": one.origin["patch"], **cells})
    changed = _origin_of(one.lineage)["Code that no commit holds"] if one.lineage else None
    texts = _texts_of(one.lineage) if one.lineage else {}
    return _present({"Commit": one.commit, "In no commit": changed, **texts, **cells})


def _environment(one: WholeRun) -> dict[str, str]:
    found = one.lineage.environment if one.lineage is not None else one.origin
    if found is not None:
        return {
            **_machine(found),
            **_present({"Seeds": one.run.origin.get("seeds")}),
            **{f"Package {name}": value for name, value in found["packages"].items()},
        }
    if one.lineage is not None:
        return {f"Package {name}": value for name, value in sorted(one.lineage.packages.items())}
    return {}


def _machine(environment: Mapping[str, Any]) -> dict[str, str]:
    """Return lock file, hardware and threads."""
    lock = environment.get("lock") or {}
    return {
        **_present({f"Lock {lock.get('file')}": lock.get("sha256")}),
        **{name.capitalize(): value for name, value in (environment.get("hardware") or {}).items()},
        **{f"Threads: {name}": value for name, value in (environment.get("threads") or {}).items()},
    }


def _present(values: Mapping[str, str | None]) -> dict[str, str]:
    return {name: value for name, value in values.items() if value}


def made_from(folder: ProjectFolder, one: WholeRun) -> dict[str, str]:
    """Return what a run was made from, without the long lists of a plain run: its packages and columns."""
    if one.lineage is not None:
        return _origin_of(one.lineage)
    if one.origin is None:
        return _imported(one.run)
    facts = {**_data(folder, one), **_features(one), **_code(one), **_environment(one)}
    return {name: text for name, text in facts.items() if not name.startswith(("Package ", "Column "))}


def _imported(run: TrackedRun) -> dict[str, str]:
    """Return where the run of another tool came from."""
    known = {name: value for name, value in run.imported.items() if name != "begun"}
    return {name.capitalize().replace("_", " "): value for name, value in sorted(known.items())}


def _origin_of(lineage: "Lineage") -> dict[str, str]:
    """Return what a run was made from as text, by what it is."""
    changed = lineage.uncommitted
    return {
        "Data version": lineage.git_commit,
        "As of": f"{lineage.as_of:%Y-%m-%d %H:%M:%S} UTC",
        "Feature service": lineage.feature_service,
        "Feature definition": lineage.feature_definition,
        **_split_of(lineage),
        "Code that no commit holds": "unknown" if changed is None else ", ".join(changed) or "none",
        **_texts_of(lineage),
        **{f"Data {path}": md5 for path, md5 in sorted(lineage.data.items())},
        **_machine(lineage.environment or {}),
        **{f"Package {name}": version for name, version in sorted(lineage.packages.items())},
    }


def _texts_of(lineage: "Lineage") -> dict[str, str]:
    """Return which untracked texts beside the code are with the run, and why others are not."""
    beside = lineage.beside or {}
    kept = ", ".join(file for file, how in beside.items() if how == IN_PATCH)
    left = {f"Not kept: {file}": how for file, how in beside.items() if how != IN_PATCH}
    return {**({"Texts in the patch": kept} if kept else {}), **left}


def _split_of(lineage: "Lineage") -> dict[str, str]:
    """Return which rows were on which side."""
    if hasattr(lineage.split, "rows"):
        return {"Split": str(lineage.split)}
    return {f"Split: {name}": str(period) for name, period in vars(lineage.split).items()}
