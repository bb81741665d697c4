"""Loads a saved model without ever executing what it brings along, and scores rows with it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal
from zipfile import BadZipFile

import numpy as np
import numpy.typing as npt
import pandas as pd
import skops.io
import yaml
from mlflow.models import Model
from skops.io.exceptions import UntrustedTypesFoundException

from tidemill.errors import RegistryError
from tidemill.training.trust import untrusted

__all__ = ["Scorer", "read_scorer"]

_BROKEN = (
    UntrustedTypesFoundException,
    BadZipFile,
    OSError,
    ImportError,
    ValueError,
    TypeError,
    KeyError,
    AttributeError,
)
"""What skops raises for a file that is damaged, or was written by other versions of its packages."""


@dataclass(frozen=True)
class Scorer:
    """A loaded model version."""

    version: str
    features: tuple[str, ...]
    """What it takes, in order."""
    estimator: Any = field(repr=False)
    kind: Literal["onnx", "skops", "pyfunc"] = "skops"
    """What runs it: the compiled model, or the original as it was saved."""
    reason: str | None = None
    """Why the compiled model does not run; none if it does."""

    def score(self, matrix: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Return the probability of label 1, shape (rows,), float64.

        The way for one who has the rows in order already: nothing is looked up and nothing is checked.

        Args:
            matrix: shape (rows, features), in the order of ``features``; NaN means "not known".
        """
        rows = pd.DataFrame(matrix, columns=list(self.features), copy=False)
        return np.asarray(self.estimator.predict_proba(rows)[:, 1], dtype=np.float64)

    def predict(self, frame: pd.DataFrame) -> npt.NDArray[np.float64]:
        """Return the probability of label 1, shape (rows,).

        Args:
            frame: has at least the columns ``features``, in any order; None and NaN mean "not known".

        Raises:
            RegistryError: a feature is missing or is not a number.
        """
        try:
            rows = frame[list(self.features)].to_numpy(np.float64)
        except KeyError as error:
            missing = [name for name in self.features if name not in frame.columns]
            raise RegistryError(
                f"version {self.version} needs features that are missing: {', '.join(missing)}",
                hint="see the feature service that the version was trained on: `tidemill models show`",
            ) from error
        except (TypeError, ValueError) as error:
            raise RegistryError(
                f"version {self.version} was given features that are not numbers: {error}"
            ) from error
        return self.score(rows)


def read_scorer(
    folder: Path, version: str, recorded: Sequence[str], declared: Callable[[], Sequence[str]]
) -> Scorer:
    """Load the MLflow model in ``folder``.

    The model's own list of trusted types is ignored: a forged model would trust itself.

    Args:
        folder: with the file ``MLmodel``.
        version: number of the version, for messages and the result.
        recorded: the types that the registry recorded for this version when it was registered.
        declared: gives the types that the project trusts; called only if that matters.

    Raises:
        RegistryError: the folder holds no skops model, or the model holds a type that it may not.
    """
    try:
        described = yaml.safe_load((folder / "MLmodel").read_text())
        flavor = described["flavors"]["sklearn"]
        kind, file = flavor.get("serialization_format", "pickle"), folder / Path(flavor["pickled_model"]).name
        signature = Model.load(str(folder)).signature
        features = tuple(signature.inputs.input_names())
    except (OSError, yaml.YAMLError, KeyError, TypeError, AttributeError) as error:
        raise RegistryError(
            f"version {version} in {folder} is no scikit-learn model with a signature: {error!r}",
            hint="register models by `tidemill run`",
        ) from error
    if kind != "skops":
        raise RegistryError(
            f"version {version} is saved as {kind}, which can execute code when it is loaded: refused",
            hint="save it in the skops format, or train it again with `tidemill run`",
        )
    return Scorer(version, features, _load(file, version, recorded, declared))


def _load(file: Path, version: str, recorded: Sequence[str], declared: Callable[[], Sequence[str]]) -> Any:
    try:
        types = skops.io.get_untrusted_types(file=file)
        refused = sorted(set(types) - set(recorded)) or untrusted(types)
        if refused and set(refused) <= set(recorded):
            refused = untrusted(types, declared())
        if refused:
            raise RegistryError(
                f"version {version} holds types that are not trusted: {', '.join(refused)}",
                hint="name them in trusted_types of the project's TrainingSpec and train again, if you do",
            )
        return skops.io.load(file, trusted=types)
    except _BROKEN as error:
        raise RegistryError(f"version {version} cannot be loaded from {file}: {error}") from error
