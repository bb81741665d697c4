"""Stage 1: makes readings of a pump that wears: what blocks it early in the year does not block it later."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl

HOURS = 120 * 24
TURNS = 0.75
"""By how many right angles the rule turns in that time."""


def readings() -> pl.DataFrame:
    """Return hourly readings, and whether the pump was blocked an hour later."""
    draw = np.random.default_rng(0)
    flow, pressure, heat = draw.normal(size=(3, HOURS))
    angle = np.linspace(0, TURNS * np.pi / 2, HOURS)
    risk = 2.5 * (np.cos(angle) * flow + np.sin(angle) * pressure) + 0.5 * heat
    blocked = draw.random(HOURS) < 1 / (1 + np.exp(-risk))
    start = datetime(2025, 1, 1, tzinfo=UTC)
    return pl.DataFrame(
        {
            "flow": 12 + 2 * flow,
            "pressure": 3.5 + 0.5 * pressure,
            "heat": 40 + 6 * heat,
            "read_at": [start + timedelta(hours=hour) for hour in range(HOURS)],
            "blocked": np.where(blocked, "yes", "no").tolist(),
        }
    )


if __name__ == "__main__":
    raw = Path("data/raw/table.parquet")
    raw.parent.mkdir(parents=True, exist_ok=True)
    readings().write_parquet(raw)
