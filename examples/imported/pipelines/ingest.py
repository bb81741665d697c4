"""Stage 1: writes the patients of one clinic, every third of scikit-learn's table of diabetes."""

from pathlib import Path

import polars as pl
from sklearn.datasets import load_diabetes


def patients() -> pl.DataFrame:
    """Return 148 patients: ten measurements, and how far the illness had progressed a year later."""
    found = pl.from_pandas(load_diabetes(as_frame=True, scaled=False).frame).gather_every(3)
    sex = pl.when(pl.col("sex") == 1).then(pl.lit("a")).otherwise(pl.lit("b"))  # nothing says which is which
    return found.with_columns(sex=sex).rename({"target": "progression"})


if __name__ == "__main__":
    raw = Path("data/raw/table.parquet")
    raw.parent.mkdir(parents=True, exist_ok=True)
    patients().write_parquet(raw)
