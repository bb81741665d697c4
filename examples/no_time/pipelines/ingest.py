"""Stage 1: writes scikit-learn's table of tumours, with names for the classes."""

from pathlib import Path

import polars as pl
from sklearn.datasets import load_breast_cancer


def tumours() -> pl.DataFrame:
    """Return 569 tumours: 30 measurements, and whether each is malignant."""
    found = load_breast_cancer(as_frame=True)
    names = [str(found.target_names[number]) for number in found.target]
    return pl.from_pandas(found.data).with_columns(tumour=pl.Series(names))


if __name__ == "__main__":
    raw = Path("data/raw/table.parquet")
    raw.parent.mkdir(parents=True, exist_ok=True)
    tumours().write_parquet(raw)
