"""Write the chart's README from its values: ``python helm/values_table.py``.

A key with a comment that begins with ``# --`` is a row of the table, with all that is below it; every other
key must lead to such keys.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

CHART = Path(__file__).parent / "tidemill"
_MARK = "# -- "
_HEAD = """\
# Tidemill's chart

{description}

    helm install tidemill helm/tidemill -f values.yaml

[docs/kubernetes.md](../../docs/kubernetes.md) says what is needed first and how to upgrade. This page is made
from values.yaml by `make chart`; `values.schema.json` refuses keys that are not in it.

| key | default | |
| --- | --- | --- |
"""


@dataclass(frozen=True)
class Value:
    """A documented key."""

    key: str
    default: Any
    text: str


def documented(text: str) -> Iterator[Value]:
    """Give each documented key of a values file, in its order.

    >>> [(v.key, v.default, v.text) for v in documented("a:\\n  # -- How many.\\n  b: 2\\n")]
    [('a.b', 2, 'How many.')]

    Raises:
        ValueError: a key without a comment has nothing below it that has one.
    """
    root = yaml.compose(text)
    yield from _below(root, "", text.splitlines())


def _below(node: yaml.Node, path: str, lines: list[str]) -> Iterator[Value]:
    if not isinstance(node, yaml.MappingNode) or not node.value:
        raise ValueError(f"{path} has no comment that begins with '{_MARK.strip()}': say what it is")
    for key, value in node.value:
        name = f"{path}.{key.value}" if path else key.value
        before = lines[key.start_mark.line - 1].strip() if key.start_mark.line else ""
        if before.startswith(_MARK):
            yield Value(name, yaml.safe_load(yaml.serialize(value)), before.removeprefix(_MARK))
        else:
            yield from _below(value, name, lines)


def readme(chart: Path = CHART) -> str:
    """Return the text of README.md."""
    about = yaml.safe_load((chart / "Chart.yaml").read_text())
    rows = [
        f"| `{value.key}` | `{_short(value.default)}` | {value.text.replace('|', chr(92) + '|')} |"
        for value in documented((chart / "values.yaml").read_text())
    ]
    return _HEAD.format(description=about["description"]) + "\n".join(rows) + "\n"


def _short(value: Any) -> str:
    return json.dumps(value).replace("|", "\\|")


if __name__ == "__main__":
    (CHART / "README.md").write_text(readme())
