"""A small neural network: trained by PyTorch, kept as scikit-learn's, so that serving needs no PyTorch."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import Pipeline

from tidemill.tasks.task_names import TaskName
from tidemill.training.families.preparation import prepare_rows, with_preparation
from tidemill.training.families.search_spaces import any_of, log_between
from tidemill.training.model_spec import Family

if TYPE_CHECKING:
    import torch

__all__ = ["mlp"]

_ROUNDS = 6
_LEAST_STEPS = 150
"""In a round; at least one pass over all rows."""
_BATCHES = ((5_000, 32), (50_000, 128), (500_000, 512))
"""Rows up to, and rows in a batch."""
_LARGEST_BATCH = 2_048

_Layers = list["torch.Tensor"]
"""Weights, shape (inputs, outputs), and shifts, shape (outputs,), of each layer in turn."""


def mlp(task: TaskName) -> Family:
    """Return the family for a task.

    >>> mlp("regression").rounds
    6
    """
    space = {
        "width": any_of([32, 64, 128]),
        "layers": any_of([1, 2, 3]),
        "learning_rate": log_between(3e-4, 1e-2),
        "weight_decay": log_between(1e-6, 1e-1),
    }
    if task == "regression":
        space["loss"] = any_of(["squared_error", "absolute_error"])
    return Family("mlp", space, partial(_fit, task), _ROUNDS)


def _fit(
    task: TaskName, params: Mapping[str, Any], features: pd.DataFrame, labels: "pd.Series[Any]"
) -> Iterator[Pipeline]:
    """Pass over the rows a few times each round."""
    import torch  # an optional package

    prepare, prepared = prepare_rows(task, features, labels, dense=True)
    classes, target = (None, labels.to_numpy(np.float64)) if task == "regression" else _codes(labels)
    middle, scale = (target.mean(), target.std() or 1.0) if classes is None else (0.0, 1.0)
    values = torch.from_numpy(np.asarray(prepared, np.float32))
    wanted = torch.from_numpy(((target - middle) / scale).astype(np.float32))
    hidden = [int(params["width"])] * int(params["layers"])
    outputs = 1 if classes is None or len(classes) == 2 else len(classes)
    drawn = torch.Generator().manual_seed(0)
    layers = _layers([values.shape[1], *hidden, outputs], drawn)
    loss = _loss(params.get("loss"), outputs, classes is None)
    steps = torch.optim.AdamW(layers, lr=params["learning_rate"], weight_decay=params["weight_decay"])
    for _ in range(_ROUNDS):
        with _one_thread():
            _descend(layers, values, wanted, loss, steps, drawn)
        yield with_preparation(prepare, _as_scikit(layers, classes, middle, scale))


def _codes(labels: "pd.Series[Any]") -> tuple[npt.NDArray[Any], npt.NDArray[np.float64]]:
    """Return the classes that have rows, and the place of each row's among them."""
    classes, places = np.unique(labels.to_numpy(), return_inverse=True)
    return classes, places.astype(np.float64)


def _layers(widths: list[int], drawn: "torch.Generator") -> _Layers:
    """Return layers that keep the variance of what passes through (He et al., 2015)."""
    import torch

    layers = []
    for inputs, outputs in pairwise(widths):
        layers.append(torch.randn((inputs, outputs), generator=drawn) * (2 / inputs) ** 0.5)
        layers.append(torch.zeros(outputs))
    return [one.requires_grad_() for one in layers]


def _loss(name: str | None, outputs: int, regression: bool) -> Any:
    import torch

    if regression:
        return torch.nn.L1Loss() if name == "absolute_error" else torch.nn.MSELoss()
    return torch.nn.BCEWithLogitsLoss() if outputs == 1 else torch.nn.CrossEntropyLoss()


def _descend(
    layers: _Layers,
    values: "torch.Tensor",
    wanted: "torch.Tensor",
    loss: Any,
    steps: "torch.optim.Optimizer",
    drawn: "torch.Generator",
) -> None:
    import torch

    rows = len(values)
    batch = next((size for most, size in _BATCHES if rows <= most), _LARGEST_BATCH)
    several = layers[-1].shape[0] > 1
    for _ in range(max(1, _LEAST_STEPS * batch // rows)):
        for places in torch.randperm(rows, generator=drawn).split(batch):
            found = _forward(layers, values[places])
            given = wanted[places]
            steps.zero_grad()
            (loss(found, given.long()) if several else loss(found[:, 0], given)).backward()
            steps.step()


def _forward(layers: _Layers, values: "torch.Tensor") -> "torch.Tensor":
    import torch

    for place in range(0, len(layers), 2):
        values = (torch.relu(values) if place else values) @ layers[place] + layers[place + 1]
    return values


@contextmanager
def _one_thread() -> Iterator[None]:
    """Compute on one thread: sums by several depend on how many there are."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _as_scikit(
    layers: _Layers, classes: npt.NDArray[Any] | None, middle: float, scale: float
) -> MLPClassifier | MLPRegressor:
    """Return scikit-learn's network with the same weights, which gives values on the target's own scale."""
    weights = [one.detach().numpy().astype(np.float64) for one in layers]
    weights[-2] = weights[-2] * scale
    weights[-1] = weights[-1] * scale + middle
    settings = {"hidden_layer_sizes": [len(one) for one in weights[1:-2:2]], "solver": "sgd"}
    row = np.zeros((1, len(weights[0])))
    if classes is None:
        made = MLPRegressor(**settings).partial_fit(row, np.zeros(1))
    else:
        made = MLPClassifier(**settings).partial_fit(row, classes[:1], classes=classes)
    for place in range(len(made.coefs_)):
        made.coefs_[place][:] = weights[2 * place]
        made.intercepts_[place][:] = weights[2 * place + 1]
    return made
