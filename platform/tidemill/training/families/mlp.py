"""A small neural network: trained by PyTorch, kept as scikit-learn's, so that serving needs no PyTorch."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from io import BytesIO
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import Pipeline

from tidemill.tasks.task_names import TaskName
from tidemill.training.distributed import Distributed, Keep, Prepared, Saved, Shard
from tidemill.training.families.preparation import estimators, prepare_rows, with_preparation
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

_OWN = ("lr", "weight_decay")
"""Settings of the descent that may be others after a checkpoint."""

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
    together = Distributed("torch", partial(_prepare, task), partial(_fit_shard, task))
    steps = partial(_steps, task)
    fit, lasting = partial(estimators, steps), ("width", "layers", "loss")
    return Family("mlp", space, fit, _ROUNDS, distributed=together, steps=steps, lasting=lasting)


def _steps(
    task: TaskName,
    params: Mapping[str, Any],
    features: pd.DataFrame,
    labels: "pd.Series[Any]",
    saved: Saved | None,
) -> Iterator[tuple[Pipeline, Callable[[], bytes]]]:
    """Pass over the rows a few times each round."""
    import torch  # an optional package

    made = _prepare(task, params, features, labels)
    values, wanted = torch.from_numpy(made.values), torch.from_numpy(made.target)
    network = _begin(task, params, values.shape[1], made.facts["outputs"])
    if saved is not None:
        network.restore(saved.state)
    for _ in range(0 if saved is None else saved.rounds, _ROUNDS):
        with _one_thread():
            _descend(network, values, wanted)
        yield made.finish(_weights(network.layers)), network.state


def _fit_shard(
    task: TaskName, params: Mapping[str, Any], shard: Shard, rounds: int, saved: Saved | None, keep: Keep
) -> list[npt.NDArray[np.float64]]:
    """Pass over the same batches as `_steps` does; of each, a worker has the rows that are its own."""
    import torch

    network = _begin(task, params, shard.files[0].shape[1], shard.facts["outputs"])
    if saved is not None:
        network.restore(saved.state)
    own = torch.full((shard.rows,), -1)
    own[torch.from_numpy(shard.places)] = torch.arange(len(shard.target))
    for done in range(1 if saved is None else saved.rounds + 1, rounds + 1):
        with _one_thread():
            _descend_together(network, shard, own)
        keep(done, network.state)
    return _weights(network.layers)


@dataclass
class _Network:
    """A network while it is trained."""

    layers: _Layers
    loss: Any
    steps: "torch.optim.Optimizer"
    drawn: "torch.Generator"

    def state(self) -> bytes:
        """Return all that decides how the training goes on."""
        import torch

        held = BytesIO()
        drawn, layers = self.drawn.get_state(), [one.detach() for one in self.layers]
        torch.save({"layers": layers, "steps": self.steps.state_dict(), "drawn": drawn}, held)
        return held.getvalue()

    def restore(self, state: bytes) -> None:
        """Go on from what `state` returned."""
        import torch

        found = torch.load(BytesIO(state), weights_only=True)
        with torch.no_grad():
            for one, kept in zip(self.layers, found["layers"], strict=True):
                one.copy_(kept)
        own = [{name: group[name] for name in _OWN} for group in self.steps.param_groups]
        self.steps.load_state_dict(found["steps"])
        for group, settings in zip(self.steps.param_groups, own, strict=True):
            group.update(settings)
        self.drawn.set_state(found["drawn"])


def _prepare(
    task: TaskName, params: Mapping[str, Any], features: pd.DataFrame, labels: "pd.Series[Any]"
) -> Prepared:
    prepare, prepared = prepare_rows(task, features, labels, dense=True)
    classes, target = (None, labels.to_numpy(np.float64)) if task == "regression" else _codes(labels)
    middle, scale = (target.mean(), target.std() or 1.0) if classes is None else (0.0, 1.0)

    def finish(weights: list[npt.NDArray[np.float64]]) -> Pipeline:
        return with_preparation(prepare, _as_scikit(weights, classes, middle, scale))

    outputs = 1 if classes is None or len(classes) == 2 else len(classes)
    wanted = ((target - middle) / scale).astype(np.float32)
    return Prepared(np.asarray(prepared, np.float32), wanted, finish, {"outputs": outputs})


def _begin(task: TaskName, params: Mapping[str, Any], inputs: int, outputs: int) -> _Network:
    import torch

    hidden = [int(params["width"])] * int(params["layers"])
    drawn = torch.Generator().manual_seed(0)
    layers = _layers([inputs, *hidden, outputs], drawn)
    loss = _loss(params.get("loss"), outputs, task == "regression")
    steps = torch.optim.AdamW(layers, lr=params["learning_rate"], weight_decay=params["weight_decay"])
    return _Network(layers, loss, steps, drawn)


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


def _descend(network: _Network, values: "torch.Tensor", wanted: "torch.Tensor") -> None:
    """Pass over the rows."""
    for batches in _passes(network, len(values)):
        for places in batches:
            network.steps.zero_grad()
            _error(network, values[places], wanted[places]).backward()
            network.steps.step()


def _descend_together(network: _Network, shard: Shard, own: "torch.Tensor") -> None:
    """Pass over the rows of all workers; of each batch, take those that are of this worker.

    Args:
        network: what is trained.
        shard: the rows of this worker.
        own: where each row of all workers stands in the shard, -1 for those of others.
    """
    import torch

    for batches in _passes(network, len(own)):
        mine = [here[here >= 0] for here in (own[places] for places in batches)]
        drawn = shard.batches([len(here) for here in mine], torch.cat(mine).numpy())
        for (values, wanted), places in zip(drawn, batches, strict=True):
            network.steps.zero_grad()
            if len(values):
                part = len(values) / len(places)
                (_error(network, torch.tensor(values), torch.tensor(wanted)) * part).backward()
            _add_up(network.layers)
            network.steps.step()


def _passes(network: _Network, rows: int) -> Iterator[tuple["torch.Tensor", ...]]:
    """Yield, for each pass of a round, the numbers of the rows of its batches."""
    import torch

    batch = next((size for most, size in _BATCHES if rows <= most), _LARGEST_BATCH)
    for _ in range(max(1, _LEAST_STEPS * batch // rows)):
        yield torch.randperm(rows, generator=network.drawn).split(batch)


def _error(network: _Network, values: "torch.Tensor", wanted: "torch.Tensor") -> "torch.Tensor":
    found = _forward(network.layers, values)
    several = network.layers[-1].shape[0] > 1
    return network.loss(found, wanted.long()) if several else network.loss(found[:, 0], wanted)


def _add_up(layers: _Layers) -> None:
    """Give each worker the sum of all workers' gradients."""
    import torch

    parts = [torch.zeros_like(one) if one.grad is None else one.grad for one in layers]
    joined = torch.cat([one.reshape(-1) for one in parts])
    torch.distributed.all_reduce(joined)
    for one, part in zip(layers, joined.split([one.numel() for one in layers]), strict=True):
        one.grad = part.view_as(one)


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


def _weights(layers: _Layers) -> list[npt.NDArray[np.float64]]:
    return [one.detach().numpy().astype(np.float64) for one in layers]


def _as_scikit(
    weights: list[npt.NDArray[np.float64]], classes: npt.NDArray[Any] | None, middle: float, scale: float
) -> MLPClassifier | MLPRegressor:
    """Return scikit-learn's network with the same weights, which gives values on the target's own scale."""
    weights = [*weights[:-2], weights[-2] * scale, weights[-1] * scale + middle]
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
