"""Writes the text of a project's files, short enough to be read in one sitting."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tidemill.files.yaml_writing import flow_yaml
from tidemill.project.scaffold import DVCIGNORE, GITIGNORE
from tidemill.quickstart.calibration import Thresholds
from tidemill.quickstart.choices import Choices
from tidemill.quickstart.feature_choice import as_field
from tidemill.quickstart.invented_examples import invented

__all__ = [
    "CLEAN",
    "RAW",
    "TABLE",
    "features_text",
    "monitors_text",
    "other_files",
    "params_text",
    "pipeline_text",
]

TABLE = "table"
"""Name of the data set in ``expectations.yaml``."""
RAW = "data/raw/table.parquet"
"""The table as it was read."""
CLEAN = "data/clean/table.parquet"
"""Its rows that are sound."""
_TRIALS = 8
_PLAIN = re.compile(r"[A-Za-z_][\w./-]*")
_WORDS = {"true", "false", "yes", "no", "on", "off", "null", "y", "n"}


def params_text(choices: Choices, name: str, source: str, formats: Mapping[str, str]) -> str:
    """Return ``params.yaml``."""
    target, time, split = choices.target, choices.time, choices.split
    written = ", ".join(f"{scalar(column)}: {scalar(form)}" for column, form in formats.items())
    lines = [
        "# What can be turned. Every field: docs/project.md; what each task can: docs/tasks.md.",
        "project:",
        f"  name: {scalar(name)}",
        f"  model: {scalar(name)}",
        f"  task: {target.task}",
        "",
        "# Read by the stages: where the rows come from, and how.",
        "data:",
        f"  source: {scalar(source)}",
        f"  formats: {{{written}}}   # of moments and numbers that are written otherwise",
        f"  key: {scalar(choices.key)}",
    ]
    if time is not None:
        lines += [
            f"  labels_after: {scalar(choices.labels_after)}   # when a label is known, after its time",
            "  as_of: null   # nothing later is used; each turn writes its moment: --as-of, else now",
        ]
    lines += ["", "dataset:", "  path: data/training_set.parquet"]
    lines += [f"  time: {scalar(time.column if time else None)}"]
    lines += [f"  label: {scalar(target.column)}"]
    if target.classes and not target.are_zero_and_one:
        lines += [f"  classes: [{', '.join(map(flow_yaml, target.classes))}]"]
        if target.positive is not None:
            lines += [f"  positive: {flow_yaml(target.positive)}"]
    known = _free_name("label_known_at", choices) if choices.labels_after else None
    lines += [f"  label_known: {scalar(known)}"]
    if choices.group:
        lines += [f"  group: {scalar(choices.group)}   # rows of one stay on one side of the split"]
    lines += [
        "",
        "features:",
        "  from: request   # features.yaml lists them; store, both, or by view: docs/project.md",
        "",
        "split:",
        f"  by: {split.by}",
    ]
    if split.periods is not None:
        lines += [f"  validation_days: {split.periods.validation_days}"]
        lines += [f"  holdout_days: {split.periods.holdout_days}"]
    lines += ["", "train:", "  families: [linear, hist_gradient_boosting]", f"  trials: {_TRIALS}"]
    if split.periods is not None:
        lines += [
            "  refit: true   # what serves learns from the last days too, once a twin was judged by them"
        ]
    if choices.search_rows is not None:
        lines += [f"  search_rows: {choices.search_rows}   # trials see a sample, the chosen model all rows"]
    fewest = max(1, min(500, split.holdout_rows // 2))
    lines += ["", "gate:", f"  min_rows: {fewest}"]
    return "\n".join(lines) + "\n"


def _free_name(name: str, choices: Choices) -> str:
    """Return a name that no column of the table has: the stages add one."""
    while name in choices.profile.columns:
        name += "_"
    return name


def pipeline_text(choices: Choices, source: str) -> str:
    """Return ``dvc.yaml``: three stages of the platform."""
    place = _dependency(source)
    always = "" if place else "    always_changed: true   # DVC cannot see whether it has changed\n"
    file = f"      - {scalar(place)}\n" if place else ""
    return f"""\
# `tidemill run` runs what changed. The stages are Tidemill's own: docs/project.md.
stages:
  ingest:
    desc: The rows of data.source, with gaps as nulls
    cmd: python -m tidemill.stages.ingest
{always}    deps:
      - expectations.yaml
      - features.yaml
      - tombstones.yaml
{file}    params:
      - data.source
      - data.formats
      - dataset
    outs:
      - {RAW}

  validate:
    desc: Bad rows set aside with their reasons
    cmd: python -m tidemill.stages.validate
    deps:
      - expectations.yaml
      - features.yaml
      - {RAW}
    outs:
      - {CLEAN}
      - data/rejected/table.parquet
    metrics:
      - data/validation.json:
          cache: false

  training_set:
    desc: The labelled rows with their features
    cmd: python -m tidemill.stages.training_set
    deps:
      - features.yaml
      - {CLEAN}
    params:
      - data
      - dataset
    outs:
      - data/training_set.parquet
"""


def features_text(choices: Choices) -> str:
    """Return ``features.yaml``: the features, and as comments the columns that are left out."""
    texts = any(feature.categories for feature in choices.features.chosen)
    lines = [
        "# The columns that a request brings and the model learns from. Every field: docs/project.md.",
        *(
            ["# Another category is unseen: unknown to the model; flag says so beside the answer; or refuse."]
            if texts
            else []
        ),
        "columns:",
    ]
    for feature in choices.features.chosen:
        fields = {"name": feature.name, "type": feature.type}
        parts = [f"{key}: {scalar(value)}" for key, value in fields.items()]
        if feature.length:
            parts.append(f"length: {feature.length}")
        if not feature.required:
            parts.append("required: false")
        if feature.categories:
            parts.append(f"categories: [{', '.join(map(scalar, feature.categories))}]")
            parts.append(f"unseen: {feature.unseen}")
        if feature.personal:
            parts.append("personal: true")
        parts.append(f"example: {scalar(feature.example)}")
        lines.append(f"  - {{{', '.join(parts)}}}")
        if reason := choices.features.suspicious.get(feature.name):
            lines.append(f"    # beware: it {reason}")
    if choices.key is not None:
        lines += [
            "# A request may bring its key: it is logged, no feature, and labels may name predictions by it.",
            "keys:",
            f"  - {{{', '.join(_key_parts(choices, choices.key))}}}",
        ]
    if choices.features.left_out:
        lines.append("# Left out:")
        lines += [f"#   {_printable(name)}: {why}" for name, why in choices.features.left_out.items()]
    return "\n".join(lines) + "\n"


def _key_parts(choices: Choices, name: str) -> list[str]:
    """Return the fields of the key, which a request need not have."""
    column = choices.profile.columns[name]
    key = as_field(column, choices.profile.sample)
    parts = [f"name: {scalar(name)}", f"type: {key.type}", "required: false"]
    if column.personal is not None:
        parts.append("personal: true")
    example = invented(column, choices.profile.sample[name].alias(""))  # the file is in git: no one's key
    return parts if example is None else [*parts, f"example: {scalar(example)}"]


def monitors_text(choices: Choices, name: str, found: Thresholds) -> str:
    """Return ``monitoring/monitors.yaml``."""
    by_time = choices.time is not None and choices.split.by == "time"
    pieces = (
        "periods of it, each compared with what came before, stay" if by_time else "random parts of it stay"
    )
    own = ", ".join(f"{scalar(column)}: {scalar(value)}" for column, value in found.columns.items())
    left_out = f"[{', '.join(map(scalar, found.exclude))}]   # they look broken by themselves"
    exclude = f"\n      exclude: {left_out}" if found.exclude else ""
    odd = "".join(
        f"# {scalar(column)} is far from all else in {many} of them, left out here. Did its unit change?\n"
        for column, many in found.odd.items()
    )
    classes = f"\n      categorical: {scalar(found.classes)}   # of the shares of predicted classes"
    classes = classes if choices.target.task == "multiclass" else ""
    return f"""\
# What is watched, and when it is alarming. Every field: docs/project.md.
# The thresholds come from the table: {found.blocks} {pieces} below.
# Besides, nothing alarms that chance alone may bring to so few rows.
{odd}monitors:
  - name: {scalar(name)}
    window: {found.window_days}d
    every: {1 if found.window_days <= 7 else 7}d
    min_rows: {found.min_rows}
    min_labelled: {found.min_rows}
    data_drift:
      share: {scalar(found.share)}
      numerical: {scalar(found.numerical)}   # Wasserstein distance, in standard deviations
      categorical: {scalar(found.categorical)}   # Jensen–Shannon distance
      missing: {scalar(found.missing)}
      thresholds: {{{own}}}{exclude}
    prediction_drift:
      threshold: {scalar(found.score)}{classes}
    quality:
      max_drop: {scalar(found.max_drop)}   # and more than chance brings
"""


def other_files(choices: Choices, name: str, days: int) -> dict[str, str]:
    """Return the files that depend little on the table: path → text."""
    policies = f"""\
# What turns an alert into a retraining. Every field: docs/project.md.
policies:
  - name: keep-fresh
    alerts: [quality, data_drift, prediction_drift, feature_drift]   # in the order of their weight
    cooldown: {max(days, 7)}d
"""
    tombstones = (
        "# Subjects that were erased (`tidemill data erase`): no later data version holds them.\nerased: []\n"
    )
    return {
        "monitoring/policies.yaml": policies,
        "tombstones.yaml": tombstones,
        "README.md": _readme(choices, name),
        ".gitignore": GITIGNORE,
        ".dvcignore": DVCIGNORE,
    }


def scalar(value: Any) -> str:
    """Return a value as YAML inside braces.

    >>> scalar("yes"), scalar("wind speed"), scalar(None), scalar(True), scalar("wind")
    ('"yes"', '"wind speed"', 'null', 'true', 'wind')
    >>> scalar(5e-07), scalar([1.5, 2e20])
    ('5.0e-07', '[1.5, 2.0e+20]')
    """
    if isinstance(value, str) and _PLAIN.fullmatch(value) and value.lower() not in _WORDS:
        return value
    return flow_yaml(value)


def _printable(text: str) -> str:
    return "".join(letter if letter.isprintable() else "?" for letter in text)


def _dependency(source: str) -> str | None:
    """Return the file or folder that the rows are read from; of a pattern the folder above it."""
    if "://" in source:
        return None
    path = Path(source)
    while not path.exists():
        path = path.parent
    return str(path)


def _readme(choices: Choices, name: str) -> str:
    return f"""\
# {name}

Predicts `{choices.target.column}` ({choices.target.task}), with Tidemill.

    tidemill run --promote     # read the rows, validate, train, judge, promote
    tidemill up                # serve; `tidemill status` shows the address, /docs on it every field
    tidemill predict --example # asks for the example of features.yaml; or @FILE, a request in JSON
    tidemill log labels FILE   # bring labels; monitors compare, policies retrain

| file | what it says |
| --- | --- |
| `params.yaml` | where the rows come from, what is predicted, how rows are split, how long is searched |
| `features.yaml` | which columns a request brings and the model learns from |
| `expectations.yaml` | what sound rows look like; others are set aside with their reasons |
| `dvc.yaml` | the stages: ingest, validate, training_set |
| `monitoring/` | what is watched and when it alarms; what turns an alert into a retraining |
"""
