"""Measures how far probabilities are from frequencies."""

import numpy as np
import numpy.typing as npt

__all__ = ["calibration_error"]

_BINS = 10


def calibration_error(probability: npt.NDArray[np.float64], came_true: npt.NDArray[np.float64]) -> float:
    """Return the mean distance of probabilities from frequencies, over ten bins of as many rows each.

    The expected calibration error (Naeini, Cooper and Hauskrecht, AAAI 2015).

    >>> calibration_error(np.repeat([0.2, 0.8], 50), np.tile([0.0, 0.0, 0.0, 0.0, 1.0], 20))
    0.3
    """
    order = np.argsort(probability, kind="stable")
    gaps = probability[order] - came_true[order]
    parts = np.array_split(gaps, _BINS)
    return float(sum(abs(part.sum()) for part in parts) / len(gaps))
