"""Distribute fragments over workers: processes of Ray on any number of nodes, or local threads."""

import os
import threading
from collections import deque
from collections.abc import Generator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from typing import Any

from tidemill.errors import ServingError, TidemillError
from tidemill.project import Project
from tidemill.registry.versions.loaded_model import Matrix, Scores
from tidemill.scoring.execution.batch_rows import Model
from tidemill.scoring.execution.fragment_worker import FragmentScorer
from tidemill.scoring.execution.staging import Record, Staging
from tidemill.scoring.input.fragments import Fragment
from tidemill.scoring.scoring_job import Job
from tidemill.tasks.task import Task

__all__ = ["in_this_process", "on_ray"]

_RETRIES = 3  # of a fragment whose worker died


def in_this_process(
    project: Project, job: Job, staging: Staging, model: Model, fragments: Sequence[Fragment]
) -> Generator[Record]:
    """Score fragments in threads, one for each CPU, and yield the records as they finish.

    Raises:
        TidemillError: a fragment failed; those in progress are cancelled.
    """
    stop = threading.Event()
    scorer = FragmentScorer(project, job, staging, model, stop.is_set)
    with ThreadPoolExecutor(len(os.sched_getaffinity(0)), "scoring") as pool:
        waiting = {pool.submit(scorer.score, fragment) for fragment in fragments}
        try:
            while waiting:
                done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
                for future in done:
                    yield future.result()
        finally:
            stop.set()
            pool.shutdown(cancel_futures=True)


def on_ray(
    project: Project,
    job: Job,
    staging: Staging,
    model: Model,
    fragments: Sequence[Fragment],
    workers: int | None,
) -> Generator[Record]:
    """Score fragments in processes of the connected Ray; yield the records as they finish.

    No row goes through Ray's object store: a worker reads its fragment and writes its part itself. A worker
    that dies is started again, and its fragment scored anew.

    Args:
        project: its folder must be there on every node.
        job: what is scored.
        staging: the unfinished output; every node must reach it.
        model: goes to each worker once.
        fragments: those that are to be scored.
        workers: how many processes; none: one for each CPU.

    Raises:
        TidemillError: a fragment failed, or Ray did.
    """
    import ray  # the engine takes seconds to import, and small inputs are scored without it

    count = min(len(fragments), workers or int(ray.cluster_resources().get("CPU", 1)))
    sent = ray.put((project, job, staging, _portable(project, job, model)))
    start = ray.remote(num_cpus=1, max_restarts=-1, max_task_retries=_RETRIES)(_Worker).remote
    # In a list: a worker that is started again gets it again.
    running = {worker.start.remote(): worker for worker in [start([sent]) for _ in range(count)]}
    everyone, waiting, left = [*running.values()], deque(fragments), len(fragments)
    try:
        while left:
            [done], _ = ray.wait([*running])
            worker, answer = running.pop(done), ray.get(done)
            if isinstance(answer, TidemillError):
                raise answer
            if waiting:
                running[worker.score.remote(waiting.popleft().number)] = worker
            else:
                ray.kill(worker)  # its CPU may be what one that is started again waits for
            if answer is not None:
                left -= 1
                yield answer
    except ray.exceptions.RayError as error:
        raise ServingError(
            f"Ray could not finish the work: {str(error).strip().splitlines()[-1]}",
            hint="--resume goes on with what is finished; --workers 0 scores without Ray",
        ) from error
    finally:
        for worker in everyone:
            ray.kill(worker)


def _portable(project: Project, job: Job, model: Model) -> Model:
    """Return a model that can be sent to another process: as it is, or one that is loaded there."""
    from ray import cloudpickle

    try:
        cloudpickle.dumps(model)
    except Exception:  # noqa: BLE001 - whatever a model's package has to say about it
        return _LoadedThere(project, job.version)
    return model


class _LoadedThere:
    """A version that each process loads for itself."""

    def __init__(self, project: Project, version: str) -> None:
        self._project, self._version = project, version
        self._scorer: Any = None

    @property
    def by_name(self) -> Any:
        return self._loaded().by_name

    @property
    def task(self) -> Task:
        task: Task = self._loaded().task
        return task

    @property
    def words(self) -> tuple[str, ...]:
        words: tuple[str, ...] = self._loaded().words
        return words

    @property
    def lists(self) -> Mapping[str, int]:
        lists: Mapping[str, int] = self._loaded().lists
        return lists

    def score(self, matrix: Matrix) -> Scores:
        found: Scores = self._loaded().score(matrix)
        return found

    def _loaded(self) -> Any:
        if self._scorer is None:
            from tidemill.registry.versions.model_versions import (
                load_scorer,  # MLflow takes seconds to import
            )

            self._scorer = load_scorer(self._project, self._version)
        return self._scorer


class _Worker:
    """The code that runs in a process of Ray."""

    def __init__(self, sent: list[Any]) -> None:
        import ray

        self._scorer = FragmentScorer(*ray.get(sent[0]))
        self._fragments = self._scorer.job.fragments

    def start(self) -> None:
        """Return when the process is ready; one that Ray has no CPU for gets no fragment."""

    def score(self, number: int) -> Record | TidemillError:
        try:
            return self._scorer.score(self._fragments[number])
        except TidemillError as error:  # return our errors as values: Ray would wrap them in its own
            return error
