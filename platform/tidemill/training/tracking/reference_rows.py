"""The reference of a model version: features of its fitted rows, and answers to rows that it never saw.

Live features are compared with those that the model knows, over the whole period that it learnt from. Its
answers to those rows would be no measure of live answers: a model is surer of what it has learnt by heart. So
the answers are those of the version itself to its hold-out, on which it was judged, too.
"""

from collections.abc import Collection
from dataclasses import dataclass, replace

import polars as pl

from tidemill.data.tables.column_names import literal_name

__all__ = ["ReferenceRows"]

_PREFIX, _LABEL, _SCORE, _ANSWER, _HELD_OUT = "feature.", "label", "score", "answer", "held_out"


@dataclass(frozen=True)
class ReferenceRows:
    """Features and labels of fitted rows, and answers to held-out rows, apart: a feature may have any name.

    >>> rows = ReferenceRows(pl.DataFrame({"score": [7.0]}), pl.Series([1]), pl.Series([0.9, 0.8]))
    >>> rows.table().columns
    ['held_out', 'feature.score', 'label', 'score']
    >>> found = ReferenceRows.from_table(rows.table(), "late")
    >>> found.features.columns, found.scores.to_list()
    (['score'], [0.9, 0.8])
    """

    features: pl.DataFrame
    """Of rows that the version was fitted on."""
    labels: pl.Series
    """Of the same rows."""
    scores: pl.Series
    """What `Task.scores` gives of the version's answers to its hold-out; another number of rows."""
    answers: pl.Series | None = None
    """What `Task.logged` gives; None where the scores are all of the answers."""
    held_out: pl.DataFrame | None = None
    """Features of the rows that ``scores`` answers; None in references of an earlier release."""
    held_out_labels: pl.Series | None = None
    """Of the same rows."""

    def table(self) -> pl.DataFrame:
        """Return it as one table: ``held_out``, ``feature.<name>``, ``label``, ``score``, ``answer``.

        Rows that were fitted have no score and no answer.
        """
        fitted = _prefixed(self.features, self.labels)
        answers = [] if self.answers is None else [self.answers.alias(_ANSWER)]
        held_out = pl.DataFrame([self.scores.alias(_SCORE), *answers])
        if self.held_out is not None and self.held_out_labels is not None:
            held_out = pl.concat([_prefixed(self.held_out, self.held_out_labels), held_out], how="horizontal")
        sides = [
            side.select(pl.lit(place == 1).alias(_HELD_OUT), pl.all())
            for place, side in enumerate((fitted, held_out))
        ]
        return pl.concat(sides, how="diagonal")

    @classmethod
    def from_table(cls, table: pl.DataFrame, label: str) -> "ReferenceRows":
        """Read what `table` gave, or a table of an earlier release, whose scores are of the fitted rows.

        Args:
            table: of an earlier release: no ``held_out``; before that the features by their own names, too.
            label: name of the label in such a table, ``dataset.label``.
        """
        ours = (_HELD_OUT, _LABEL, _SCORE, _ANSWER)
        if not all(name in ours or name.startswith(_PREFIX) for name in table.columns):
            return cls(table.drop(literal_name(label), _SCORE), table[label], table[_SCORE])
        fitted = answered = table
        if _HELD_OUT in table.columns:
            fitted, answered = table.filter(~pl.col(_HELD_OUT)), table.filter(pl.col(_HELD_OUT))
        features, held_out = (
            side.drop(ours, strict=False).rename(lambda name: name.removeprefix(_PREFIX))
            for side in (fitted, answered)
        )
        found = cls(features, fitted[_LABEL], answered[_SCORE], answered.get_column(_ANSWER, default=None))
        if answered is fitted or answered[_LABEL].null_count() == answered.height:
            return found
        return replace(found, held_out=held_out, held_out_labels=answered[_LABEL])

    def without(self, names: Collection[str]) -> "ReferenceRows":
        """Return it without some features."""

        def kept(rows: pl.DataFrame) -> pl.DataFrame:
            return rows.select(rows[name] for name in rows.columns if name not in names)

        held_out = None if self.held_out is None else kept(self.held_out)
        return replace(self, features=kept(self.features), held_out=held_out)


def _prefixed(features: pl.DataFrame, labels: pl.Series) -> pl.DataFrame:
    return features.rename(lambda name: f"{_PREFIX}{name}").with_columns(labels.alias(_LABEL))
