"""Stage 1: writes scikit-learn's images of handwritten digits, each as a list of its pixels."""

from pathlib import Path

import polars as pl
from sklearn.datasets import load_digits


def digits() -> pl.DataFrame:
    """Return 1,797 images of 8 × 8 pixels, each 0 to 16, row by row, and the digit that each shows."""
    found = load_digits()
    return pl.DataFrame({"image": found.data.tolist(), "digit": found.target.astype(str)})


if __name__ == "__main__":
    raw = Path("data/raw/table.parquet")
    raw.parent.mkdir(parents=True, exist_ok=True)
    digits().write_parquet(raw)
