"""Defines the section ``serve`` of ``params.yaml``: how the application is deployed and rolled out."""

from itertools import pairwise
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from tidemill.project.declared_share import Share
from tidemill.tasks.task_names import allowed_loss

__all__ = [
    "AutoscalingConfig",
    "BatchConfig",
    "JobsConfig",
    "LimitsConfig",
    "LogConfig",
    "ProofConfig",
    "RayResources",
    "RolloutConfig",
    "RolloutStep",
    "Section",
    "ServeConfig",
]

_SHARE_LOST = 0.05
_LASTING_LEAST = 7


class Section(BaseModel):
    """A part of ``params.yaml``, in which an unknown field, infinity and NaN are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class RayResources(Section):
    """What a process asks Ray for."""

    cpus: float | None = Field(default=None, ge=0)
    """CPUs of Ray's; of a replica, null is none on one machine, where the system shares them, else 1."""
    gpus: float = Field(default=0.0, ge=0)
    """GPUs, or a part of one that several share. Where Ray has none, it runs on CPUs."""
    accelerator: str | None = Field(default=None, pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$")
    """Type of the GPU as Ray names it, such as ``A100`` or ``H100``; null: any."""

    @model_validator(mode="after")
    def _can_be_given(self) -> "RayResources":
        if self.gpus > 1 and self.gpus % 1:
            raise ValueError(f"gpus: {self.gpus:g}: Ray gives a part of one GPU, or whole ones")
        if self.accelerator is not None and not self.gpus:
            raise ValueError("accelerator names a type of GPU: say in gpus how many")
        return self


class LogConfig(Section):
    """Durability and retention of the prediction log."""

    sync_seconds: float = Field(default=0.5, ge=0, le=60)
    """How often predictions are flushed to disk; 0: each before its answer is sent."""
    store: str | None = Field(default=None, pattern=r"^[a-z0-9]+://[^\s@]+$")
    """Object store for compacted predictions, such as ``s3://bucket/log``; default: the log's folder."""
    endpoint_url: str | None = Field(default=None, pattern=r"^https?://[^\s@]+$")
    """Endpoint of an S3-compatible store."""
    retention_days: int | None = Field(default=None, ge=1)
    """Predictions and labels with older event dates are deleted; default: none are."""


class BatchConfig(Section):
    """How requests that arrive at the same time are batched."""

    max_rows: int = Field(default=64, ge=1)
    """Largest number of rows in one batch; a request with more is a batch of its own."""
    wait_ms: float = Field(default=0.0, ge=0, le=1000)
    """Extra time that a request waits for others to join its batch, in milliseconds."""
    loop_rows: int = Field(default=64, ge=0)
    """A batch of up to this many rows is scored on the event loop, a larger one in a thread."""


class LimitsConfig(Section):
    """Limits on what a client may use before it is authenticated."""

    body_bytes: int | None = Field(default=None, ge=1024)
    """The largest body of a request; default: 64 KiB, and 4 KiB for each of ``serve.max_instances``."""
    header_seconds: int = Field(default=10, ge=1, le=300)
    """Timeout for the head of a request, in seconds."""
    idle_seconds: int = Field(default=60, ge=1, le=3600)
    """Timeout for a client that is silent within a request or an answer, in seconds."""
    connections: int = Field(default=4096, ge=16, le=100_000)
    """Greatest number of open connections; further ones wait."""


class AutoscalingConfig(Section):
    """Number of replicas as a function of load (Ray Serve's own autoscaling)."""

    min: int = Field(default=1, ge=1)
    max: int = Field(ge=1)
    target_ongoing_requests: float = Field(default=16.0, gt=0)
    """Target number of ongoing requests of a replica; with more, replicas are added."""
    upscale_seconds: float = Field(default=10.0, ge=0)
    """How long the load must be too high before a replica is added."""
    downscale_seconds: float = Field(default=300.0, ge=0)
    """How long the load must be too low before a replica is removed."""


class JobsConfig(Section):
    """Jobs (slow predictions): accepted at once, answered later by a worker."""

    enabled: bool = False
    """Whether ``POST /jobs`` exists; it runs in a process of its own."""
    workers: int = Field(default=1, ge=1)
    """Worker processes, each of which runs one job at a time."""
    max_instances: int = Field(default=100_000, ge=1)
    """Largest number of instances in one job."""
    max_bytes: int = Field(default=64 * 1024 * 1024, ge=1024)
    """Largest body of ``POST /jobs``."""
    max_waiting: int = Field(default=100, ge=1)
    """Greatest number of queued or running jobs; one more gets 503 with Retry-After."""
    chunk_rows: int = Field(default=500, ge=1)
    """Rows that are scored, logged and counted as done together."""
    chunk_seconds: float = Field(default=300.0, gt=0)
    """A worker whose chunk takes longer is killed, and the attempt fails."""
    retry_seconds: float = Field(default=5.0, gt=0)
    """Wait before the second of three attempts at a chunk; the third waits twice as long."""
    keep_hours: float = Field(default=72.0, gt=0)
    """How long results and dead jobs are kept."""


class RolloutStep(Section):
    """One step of a rollout: it ends when the time has passed *and* the rows are answered."""

    share: Share = Field(gt=0, le=1)
    """Share of the routing keys that the canary answers."""
    minutes: float = Field(default=10.0, ge=0)
    """Least duration of the step."""
    requests: int = Field(default=200, ge=0)
    """Rows that the canary must answer in the step."""


class ProofConfig(Section):
    """What a version must show in the first step of a rollout: that it is better on rows of the days to come.

    Both versions answer the rows that the champion answered in these days, of which neither has learnt.
    """

    days: float = Field(default=14.0, gt=0, le=365)
    """Days of event time, compared once, when they are over and their labels are there."""
    by: Literal["gain", "interval", "lasting"] = "lasting"
    """What must reach ``min_gain``: the gain, all of its 90 % interval, or the gain of the 30 days after, in
    19 of 20 cases, which takes seven days at least."""
    min_gain: float = 0.0
    """Least gain of the gate's metric; 0: any; negative: it may be worse by that much."""
    min_labels: int = Field(default=500, ge=50)
    """Labels that must be known of the rows; they are waited for during ``give_up_hours`` more."""

    @model_validator(mode="after")
    def _enough_days(self) -> "ProofConfig":
        if self.by == "lasting" and self.days < _LASTING_LEAST:
            raise ValueError(
                f"by: lasting needs {_LASTING_LEAST} days or more, and days is {self.days:g}: "
                "choose more, or by: interval"
            )
        return self


class RolloutConfig(Section):
    """Steps by which a version becomes champion, and limits that roll it back (`tidemill deploy rollout`)."""

    steps: tuple[RolloutStep, ...] = (
        RolloutStep(share=0.01),
        RolloutStep(share=0.1),
        RolloutStep(share=0.5),
        RolloutStep(share=1.0),
    )
    """The shares must grow."""
    max_errors: Share = Field(default=0.01, ge=0, le=1)
    """Greatest share of its rows that the canary may fail to score; the champion answers those."""
    max_latency_ratio: float = Field(default=1.5, gt=0)
    """Greatest p99 of a call of the canary's model, as a multiple of the champion's."""
    free_ms: float = Field(default=5.0, ge=0)
    """A p99 that is larger by no more than this never causes a rollback."""
    max_loss: float = Field(default=0.02, ge=0)
    """Greatest loss of the gate's metric, in its units; a loss surely larger (95 %) rolls the canary back.

    Unless it is set, metrics that are not between 0 and 1 may lose a twentieth of the champion's value.
    """
    min_labels: int = Field(default=200, ge=10)
    """Labelled answers of each version that are needed to measure quality; with fewer it is estimated."""
    max_score_gap: float | None = Field(default=0.05, gt=0)
    """Greatest difference of the versions' mean scores, while labels are missing; null: not checked."""
    give_up_hours: float | None = Field(default=24.0, gt=0)
    """A step that takes longer (too few requests, a replica that does not start) ends the rollout."""
    proof: ProofConfig | None = None
    """What the version must show before it leaves the first step; null: nothing beside the checks."""

    def late_after(self, step: int) -> float | None:
        """Return after how many hours a step is given up; the days of the proof come on top; None: never.

        >>> RolloutConfig(proof={"days": 2, "by": "gain"}).late_after(0), RolloutConfig().late_after(0)
        (72.0, 24.0)
        """
        if self.give_up_hours is None:
            return None
        return self.give_up_hours + (24 * self.proof.days if self.proof is not None and step == 0 else 0.0)

    def recorded(self) -> dict[str, Any]:
        """Return the plan as JSON values, without limits that are left to the metric or the task.

        >>> plan = RolloutConfig.model_validate(RolloutConfig(min_labels=50).recorded())
        >>> plan.loss_allowed("neg_mae", -12.0) > 0.1, plan.min_labels
        (True, 50)
        """
        return self.model_dump(mode="json", exclude={"max_loss", "max_score_gap"} - self.model_fields_set)

    def loss_allowed(self, metric: str, champion: float) -> float:
        """Return how much of a metric a version may lose against the champion's value."""
        if "max_loss" in self.model_fields_set:
            return self.max_loss
        return allowed_loss(metric, self.max_loss, _SHARE_LOST, champion)

    @model_validator(mode="after")
    def _shares_grow(self) -> "RolloutConfig":
        shares = [step.share for step in self.steps]
        if not shares or any(after <= before for before, after in pairwise(shares)):
            raise ValueError(f"the shares of the steps must grow from step to step: {shares}")
        return self


class ServeConfig(Section):
    """How the application is deployed."""

    batch: BatchConfig = BatchConfig()
    fast_lane: bool = True
    """Whether small prediction requests bypass the request handling of Ray Serve and uvicorn; with
    ``autoscaling`` they never do."""
    max_in_flight: int = Field(default=256, ge=1)
    """Greatest number of ongoing prediction requests of a replica; one more gets 503 with Retry-After."""
    timeout_seconds: float = Field(default=10.0, gt=0, le=3600)
    """A request without an answer after this time gets 504 (408 if its own body did not arrive)."""
    feature_cache: bool = True
    """Whether replicas cache what they read of views that declare ``cache_seconds``."""
    replicas: int = Field(default=1, ge=1)
    """Fixed number of processes that answer requests; the alternative is `autoscaling`."""
    autoscaling: AutoscalingConfig | None = None
    resources: RayResources = RayResources()
    """What each of them claims of Ray."""
    jobs: JobsConfig = JobsConfig()
    poll_seconds: float = Field(default=0.5, gt=0, le=60)
    """How often a replica reads the alias."""
    max_instances: int = Field(default=1000, ge=1)
    """Largest number of instances in one request."""
    log: LogConfig = LogConfig()
    rollout: RolloutConfig = RolloutConfig()

    require_keys: Literal["auto", "always"] = "auto"
    """Whether requests need an API key; ``auto``: only if the API listens beyond loopback."""
    feature_seconds: float = Field(default=0.25, gt=0, le=10)
    """How long a request waits for the online store before it is answered with declared defaults."""
    limits: LimitsConfig = LimitsConfig()
    compiled: Literal["auto", "off"] = "auto"
    """Whether versions are compiled to ONNX at registration, and served so."""
    trust_pickled: tuple[str, ...] = ()
    """Versions (``<model>/<version>``) that may be loaded although loading them can execute code."""
