"""Puts compared runs into words, and into Markdown."""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tidemill.cli.listing import Listing, shorten
from tidemill.cli.output import format_moment
from tidemill.plurals import counted
from tidemill.tasks.natural_metric import metric_of

if TYPE_CHECKING:
    from tidemill.training.tracking.origins.code_differences import CodeDiff
    from tidemill.training.tracking.run_values import WholeRun
    from tidemill.training.tracking.showing.run_differences import Section

__all__ = ["front_table", "headline", "markdown", "said_code"]


def headline(found: "WholeRun") -> Iterator[str]:
    """Yield what a run is called, how it ended, when it began, and its versions."""
    run = found.run
    yield f"{run.name or 'a run'} · {run.run_id}"
    yield run.status.lower() + (f" ({run.end})" if run.end else "")
    yield format_moment(run.started_at)
    yield from (f"version {version}" for version in found.versions)


def front_table(front: "Sequence[Mapping[str, Any]]") -> Listing:
    """Return the trials that no other one beats in all metrics of their search, each with its parameters."""
    metrics = {name: metric_of(name) for name in front[0]["metrics"]}
    ids = shorten([str(one["run_id"]) for one in front])
    table = Listing("no other beats it", *(metric.name for metric in metrics.values()), "parameters")
    for one in front:
        numbers = (metric.number(one["metrics"][name]) for name, metric in metrics.items())
        params = (
            f"{name} {f'{value:.4g}' if isinstance(value, float) else value}"
            for name, value in one["params"].items()
        )
        table.add_row(ids[str(one["run_id"])], *numbers, ", ".join([str(one["family"]), *params]))
    return table


def said_code(code: "CodeDiff") -> str:
    """Return which files differ, in a phrase."""
    if code.problem is not None:
        return f"unknown: {code.problem}"
    return (
        counted(len(code.files), "file") + " differ"
        if len(code.files) > 1
        else (f"{code.files[0]} differs" if code.files else "the same")
    )


def markdown(
    found: "Sequence[WholeRun]", sections: "Sequence[Section]", codes: "Sequence[CodeDiff]"
) -> Iterator[str]:
    """Yield the pieces of a comparison in Markdown."""
    ids = shorten([one.run.run_id for one in found])
    names = [ids[one.run.run_id] for one in found]
    for one in found:
        yield f"- `{ids[one.run.run_id]}` {_cell(' · '.join(headline(one)))}"
    for section in sections:
        if section.rows:
            yield f"\n## {section.title}\n"
            yield f"| | {' | '.join(f'`{name}`' for name in names)} |"
            yield "|---" * (len(names) + 1) + "|"
            for row in section.rows:
                cells = ("–" if value is None else _cell(value) for value in row.values)
                yield f"| {_cell(row.name)} | {' | '.join(cells)} |"
    for name, each in zip(names[1:], codes, strict=False):
        yield f"\n## Code of `{name}` against `{names[0]}`\n\n{said_code(each)}"
        if each.text:
            fence = "`" * max(3, 1 + max((len(run) for run in _fences(each.text)), default=0))
            yield f"\n{fence}diff\n{each.text.rstrip()}\n{fence}"


def _fences(text: str) -> list[str]:
    return re.findall(r"`{3,}", text)


def _cell(text: str) -> str:
    r"""Return a text as a cell of a table in Markdown.

    >>> _cell("a|b\nc")
    'a\\|b c'
    """
    return " ".join(text.replace("|", "\\|").split())
