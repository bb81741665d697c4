"""The reference of a model version: features of its fitted rows, and answers to rows that it never saw.

Live features are compared with those that the model knows, over the whole period that it learnt from. Its
answers to those rows would be no measure of live answers: a model is surer of what it has learnt by heart. So
the answers are those of the version itself to its hold-out, on which it was judged, too.
"""

from dataclasses import dataclass

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

    def table(self) -> pl.DataFrame:
        """Return it as one table: ``held_out``, ``feature.<name>``, ``label``, ``score``, ``answer``.

        Rows that were fitted have no score and no answer, those held out no feature and no label.
        """
        fitted = self.features.rename(lambda name: f"{_PREFIX}{name}").with_columns(self.labels.alias(_LABEL))
        answers = [] if self.answers is None else [self.answers.alias(_ANSWER)]
        held_out = pl.DataFrame([self.scores.alias(_SCORE), *answers])
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
        features = fitted.drop(ours, strict=False).rename(lambda name: name.removeprefix(_PREFIX))
        return cls(features, fitted[_LABEL], answered[_SCORE], answered.get_column(_ANSWER, default=None))
