import numpy as np
import polars as pl

from tidemill.data.profiling.leakage import find_leaks

RANDOM = np.random.default_rng(0)
N = 2000
LATE = RANDOM.random(N) < 0.3
AMOUNT = RANDOM.normal(100, 20, N)


def leaks(columns: dict[str, object], target: object, kind: str) -> dict[str, bool]:
    sample = pl.DataFrame({**columns, "target": target})
    return {leak.column: leak.certain for leak in find_leaks(sample, "target", kind, list(columns))}


def test_of_two_classes():
    found = leaks(
        {
            "copy": LATE,
            "text": np.where(LATE, "x", "y"),
            "paid_at": [None if late else 1.0 + n for n, late in enumerate(LATE)],
            "after": LATE * 100 + RANDOM.normal(size=N),
            "near": LATE * 3.5 + RANDOM.normal(size=N),
            "good": LATE * 1.0 + RANDOM.normal(size=N),
            "name": [f"n{n}" for n in range(N)],
            "noise": RANDOM.normal(size=N),
            "gaps": [None if n % 3 else n for n in range(N)],
        },
        LATE,
        "binary",
    )
    assert found == {"copy": True, "text": True, "paid_at": True, "after": True, "near": False}


def test_of_several_classes_where_one_is_frequent():
    truth = np.where(RANDOM.random(N) < 0.985, 0, RANDOM.integers(1, 3, N))
    found = leaks(
        {"copy": truth * 10, "noise": RANDOM.normal(size=N), "group": RANDOM.integers(0, 5, N)},
        truth,
        "multiclass",
    )
    assert found == {"copy": True}


def test_of_numbers():
    found = leaks(
        {"cents": AMOUNT * 100, "noise": RANDOM.normal(size=N), "near": AMOUNT + RANDOM.normal(0, 3, N)},
        AMOUNT,
        "regression",
    )
    assert found == {"cents": True, "near": False}


def test_few_rows_prove_nothing():
    assert leaks({"copy": [0, 1] * 10}, [0, 1] * 10, "binary") == {}
