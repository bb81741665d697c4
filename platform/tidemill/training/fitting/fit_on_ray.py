"""Fits a model in a worker of Ray, with the CPUs and GPUs that ``train.fit_resources`` asks for."""

import logging
import sys
import time
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from itertools import islice
from typing import Any

import pandas as pd
import ray
from ray.exceptions import RayError, RayTaskError

from tidemill.errors import TrainingError
from tidemill.project import Project
from tidemill.training.distributed import Saved
from tidemill.training.model_spec import Chosen, Family, Schedule
from tidemill.training.ray_session import ray_capacity, ray_session
from tidemill.training.spec_loading import SpecSource, spec_source

__all__ = ["FitSpent", "fit_on_ray", "fit_rounds", "ray_for_fits"]

_log = logging.getLogger(__name__)


@dataclass
class FitSpent:
    """What fits in workers of Ray took, added up."""

    cpu_seconds: float = 0.0
    gpu_seconds: float = 0.0
    name: str = "fit"
    """Of the folder for Ray's own files, deleted afterwards."""
    workers: int = 1
    """How many fitted the last of them together."""


def fit_rounds(
    family: Family,
    params: Mapping[str, Any],
    features: pd.DataFrame,
    labels: "pd.Series[Any]",
    most: int,
    parent: Any = None,
    schedule: Schedule = (),
) -> Any:
    """Return the estimator after the last round, gone on from a parent where the family can.

    With a schedule, each of its parts goes on from the state after the last round of the one before.
    """
    if schedule and parent is None:
        return _fit_by_schedule(family, schedule, features, labels, most)
    if parent is not None and family.go_on is not None:
        rounds = family.go_on(parent, params, features, labels)
    else:
        rounds = islice(family.fit(params, features, labels), most)
    return deque(rounds, maxlen=1).pop()


def _fit_by_schedule(
    family: Family, schedule: Schedule, features: pd.DataFrame, labels: "pd.Series[Any]", most: int
) -> Any:
    if family.steps is None:
        raise TrainingError(
            f"family {family.name!r} has no steps any more, and its model had other parameters from round "
            f"{schedule[-1][0]} on",
            hint="give it steps again (docs/search.md), or search anew",
        )
    begun = [start for start, _ in schedule if start <= most]
    saved, estimator = None, None
    for (start, params), end in zip(schedule, [*begun[1:], most + 1], strict=False):
        rounds = islice(family.steps(params, features, labels, saved), end - start)
        estimator, state = deque(rounds, maxlen=1).pop()
        saved = Saved(end - 1, state()) if end <= most else None
    return estimator


@contextmanager
def ray_for_fits(project: Project) -> Iterator[None]:
    """Keep a Ray for the fits of the block, if the project has them made there."""
    if project.config.train.fit_resources is None:
        yield
        return
    with ray_session(project):
        yield


def fit_on_ray(
    project: Project,
    chosen: Chosen,
    features: pd.DataFrame,
    labels: "pd.Series[Any]",
    parent: Any,
    spent: FitSpent,
) -> Any:
    """Fit as `fit_rounds` does, in a worker; add what that took to ``spent``.

    Raises:
        TrainingError: Ray could not run it. What the project's code raises is raised as it is.
    """
    wanted = project.config.train.fit_resources
    assert wanted is not None, "the caller has asked"
    with ray_session(project):
        there = ray_capacity(project.settings)
        if (note := wanted.note(there, "train.fit_resources")) is not None:
            _log.warning("%s", note)
        asked = wanted.on(there)
        types = {name: amount for name, amount in asked.items() if name.startswith("accelerator_type:")}
        gpus = asked.get("gpu", 0.0)
        task = ray.remote(num_cpus=asked["cpu"], num_gpus=gpus, resources=types, max_retries=1)(_fit)
        try:
            estimator, cpu_seconds, seconds = ray.get(
                task.remote(str(project.root), spec_source(project), chosen, features, labels, parent)
            )
        except RayTaskError as error:
            raise error.cause from None
        except RayError as error:
            raise TrainingError(
                f"Ray could not make the last fit: {error}",
                hint="check train.fit_resources, and the memory of Ray's nodes",
            ) from error
    spent.cpu_seconds += cpu_seconds
    spent.gpu_seconds += seconds * gpus
    return estimator


def _fit(
    root: str,
    source: SpecSource,
    chosen: Chosen,
    features: pd.DataFrame,
    labels: "pd.Series[Any]",
    parent: Any,
) -> tuple[Any, float, float]:
    """Run in the worker; return the estimator, its CPU seconds, and those by the clock."""
    if root not in sys.path:
        sys.path.insert(0, root)
    name, params, most, schedule = chosen
    family = source.open(_load).family(name)
    began, since = time.process_time(), time.perf_counter()
    estimator = fit_rounds(family, params, features, labels, most, parent, schedule)
    return estimator, time.process_time() - began, time.perf_counter() - since


def _load(reference: str) -> Any:
    module, _, attribute = reference.partition(":")
    return getattr(import_module(module), attribute)
