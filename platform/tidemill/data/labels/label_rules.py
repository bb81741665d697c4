"""Chooses the label of a key that was labelled more than once, and the moment when it became known.

There are two rules. *Latest*: the last annotation counts. *Majority*: every annotator has one vote, their
last one; in a tie the latest annotation of the tied labels decides. By both rules a label is known since the
moment from which the rule has given it without interruption: a later confirmation does not change that.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from tidemill.data.tables.column_names import literal_names

__all__ = ["Resolved", "resolve_labels"]


@dataclass(frozen=True)
class Resolved:
    """The labels, one for each key."""

    labels: pl.DataFrame
    """Key columns, ``label``, ``labelled_at``, ``annotator``, ``source``; sorted by key."""
    repeated: int
    """Number of keys that were labelled more than once."""
    contradicted: int
    """Number of keys that were given different labels."""


def resolve_labels(annotations: pl.DataFrame, key: Sequence[str], majority: bool = False) -> Resolved:
    """Choose one label for every key.

    Args:
        annotations: key columns, ``label``, ``labelled_at``, ``annotator``, ``source``; of equal moments the
            later row counts as the later annotation.
        key: the key columns.
        majority: whether to choose by majority instead of by the latest annotation.

    >>> from datetime import UTC, datetime
    >>> day = [datetime(2013, 4, n, tzinfo=UTC) for n in (1, 2, 3)]
    >>> annotations = pl.DataFrame({
    ...     "flight": [7, 7, 7], "label": ["late", "late", "on time"], "labelled_at": day,
    ...     "annotator": ["ann", "bob", "cid"], "source": ["table"] * 3})
    >>> resolve_labels(annotations, ["flight"]).labels.row(0)[1], day[2]
    ('on time', datetime.datetime(2013, 4, 3, 0, 0, tzinfo=datetime.timezone.utc))
    >>> resolve_labels(annotations, ["flight"], majority=True).labels.row(0)[1::2]
    ('late', 'ann, bob')
    """
    on = literal_names(key)
    ordered = annotations.sort(*on, "labelled_at", maintain_order=True, nulls_last=True)
    groups = ordered.group_by(on, maintain_order=True).agg(n=pl.len(), labels=pl.col("label").n_unique())
    contradicted = groups.filter(pl.col("labels") > 1)
    if majority:
        split = ordered.join(contradicted, on=on, how="semi", nulls_equal=True, maintain_order="left")
        settled = ordered.join(contradicted, on=on, how="anti", nulls_equal=True, maintain_order="left")
        parts = [_latest(settled, key)]
        votes = [_majority(group) for _, group in split.group_by(on, maintain_order=True)]
        if votes:
            parts.append(pl.DataFrame(votes, schema=ordered.schema, orient="row"))
        labels = pl.concat(parts)
    else:
        labels = _latest(ordered, key)
    columns = [*key, "label", "labelled_at", "annotator", "source"]
    return Resolved(labels[columns].sort(*on), groups.filter(pl.col("n") > 1).height, contradicted.height)


def _latest(ordered: pl.DataFrame, key: Sequence[str]) -> pl.DataFrame:
    on = literal_names(key)
    turn = pl.col("label").ne_missing(pl.col("label").shift(1)).cum_sum().over(on)
    runs = ordered.with_columns(__run=turn)
    last = runs.filter(pl.col("__run") == pl.col("__run").max().over(on)).drop("__run")
    return last.unique(on, keep="first", maintain_order=True)


def _majority(group: pl.DataFrame) -> tuple[Any, ...]:
    """Return the row of ``group``, the annotations of one key in order, that decided its label."""
    votes: dict[str, tuple[Any, int]] = {}
    winner: Any = None
    settled: dict[str, Any] = {}
    for number, row in enumerate(group.iter_rows(named=True)):
        voter = row["annotator"] if row["annotator"] is not None else f"#{number}"  # unknown: each is another
        votes[voter] = (row["label"], number)
        counts = Counter(label for label, _ in votes.values())
        last = dict(sorted(votes.values(), key=lambda vote: vote[1]))
        leader = max(counts, key=lambda label: (counts[label], last[label]))
        if not settled or leader != winner:
            winner, settled = leader, row
    who = [name for name, (label, _) in votes.items() if label == winner and not name.startswith("#")]
    settled = {**settled, "label": winner, "annotator": ", ".join(sorted(who)) or None}
    return tuple(settled[name] for name in group.columns)
