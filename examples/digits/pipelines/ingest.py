"""Stage 1: writes scikit-learn's images of handwritten digits, one column a pixel."""

from pathlib import Path

import polars as pl
from sklearn.datasets import load_digits


def digits() -> pl.DataFrame:
    """Return 1,797 images of 8 × 8 pixels, each 0 to 16, row by row, and the digit that each shows."""
    found = load_digits(as_frame=True)
    return pl.from_pandas(found.data.astype("int64")).with_columns(digit=pl.Series(found.target.astype(str)))


if __name__ == "__main__":
    raw = Path("data/raw/table.parquet")
    raw.parent.mkdir(parents=True, exist_ok=True)
    digits().write_parquet(raw)
