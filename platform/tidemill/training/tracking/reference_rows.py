"""The reference of a model version: a sample of the rows it was fitted on, with its scores."""

from dataclasses import dataclass

import polars as pl

from tidemill.data.tables.column_names import literal_name

__all__ = ["ReferenceRows"]

_PREFIX, _LABEL, _SCORE, _ANSWER = "feature.", "label", "score", "answer"


@dataclass(frozen=True)
class ReferenceRows:
    """Features, labels and scores of the same rows, apart: a feature may have any name.

    >>> rows = ReferenceRows(pl.DataFrame({"score": [7.0]}), pl.Series([1]), pl.Series([0.9]))
    >>> rows.table().columns
    ['feature.score', 'label', 'score']
    >>> ReferenceRows.from_table(rows.table(), "late").features.columns
    ['score']
    """

    features: pl.DataFrame
    labels: pl.Series
    scores: pl.Series
    """What `Task.scores` gives."""
    answers: pl.Series | None = None
    """What `Task.logged` gives; None where the scores are all of the answers."""

    def table(self) -> pl.DataFrame:
        """Return it as one table: ``feature.<name>`` for each feature, ``label``, ``score``, ``answer``."""
        features = self.features.rename(lambda name: f"{_PREFIX}{name}")
        answers = [] if self.answers is None else [self.answers.alias(_ANSWER)]
        return features.with_columns(self.labels.alias(_LABEL), self.scores.alias(_SCORE), *answers)

    @classmethod
    def from_table(cls, table: pl.DataFrame, label: str) -> "ReferenceRows":
        """Read what `table` gave, or a table of an earlier release.

        Args:
            table: of an earlier release: the features by their own names, the label, ``score``.
            label: name of the label in such a table, ``dataset.label``.
        """
        ours = (_LABEL, _SCORE, _ANSWER)
        if all(name in ours or name.startswith(_PREFIX) for name in table.columns):
            features = table.drop(ours, strict=False).rename(lambda name: name.removeprefix(_PREFIX))
            return cls(features, table[_LABEL], table[_SCORE], table.get_column(_ANSWER, default=None))
        return cls(table.drop(literal_name(label), _SCORE), table[label], table[_SCORE])
