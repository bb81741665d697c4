"""What a trial of a search asks Ray for, and what it gets where there are no GPUs."""

from collections.abc import Mapping

from pydantic import Field, model_validator

from tidemill.project.serve_config import Section

__all__ = ["TrialResources"]

_ANY_OF_TYPE = 0.001
"""Ray's way to ask for a node with a type of accelerator."""


class TrialResources(Section):
    """The section ``train.resources`` of ``params.yaml``."""

    cpus: float = Field(default=1.0, gt=0)
    """CPUs of a trial."""
    gpus: float = Field(default=0.0, ge=0)
    """GPUs of a trial, or a part of one that several trials share. Where Ray has none, it runs on CPUs."""
    accelerator: str | None = Field(default=None, pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$")
    """Type of the GPU as Ray names it, such as ``A100`` or ``H100``; null: any."""

    @model_validator(mode="after")
    def _can_be_given(self) -> "TrialResources":
        if self.gpus > 1 and self.gpus % 1:
            raise ValueError(f"gpus: {self.gpus:g}: Ray gives a part of one GPU, or whole ones")
        if self.accelerator is not None and not self.gpus:
            raise ValueError("accelerator names a type of GPU: say in gpus how many")
        return self

    def on(self, there: Mapping[str, float]) -> dict[str, float]:
        """Return what Ray Tune is asked for.

        Args:
            there: all that Ray has (``ray.cluster_resources()``).

        >>> TrialResources(gpus=0.5, accelerator="A100").on({"CPU": 8.0, "GPU": 1.0})
        {'cpu': 1.0, 'gpu': 0.5, 'accelerator_type:A100': 0.001}
        >>> TrialResources(gpus=0.5, accelerator="A100").on({"CPU": 8.0})
        {'cpu': 1.0}
        """
        if not self.gpus or not there.get("GPU"):
            return {"cpu": self.cpus}
        typed = {} if self.accelerator is None else {f"accelerator_type:{self.accelerator}": _ANY_OF_TYPE}
        return {"cpu": self.cpus, "gpu": self.gpus, **typed}

    def at_once(self, there: Mapping[str, float]) -> int:
        """Return how many trials run at once: at least one, which waits where Ray has too little.

        >>> TrialResources(cpus=2, gpus=0.25).at_once({"CPU": 16.0, "GPU": 1.0})
        4
        >>> TrialResources().at_once({"CPU": 3.0})
        3
        """
        fits = [there.get("CPU", 1.0) / self.cpus]
        if self.gpus and there.get("GPU"):
            fits.append(there["GPU"] / self.gpus)
        return max(1, int(min(fits)))

    def note(self, there: Mapping[str, float]) -> str | None:
        """Return what is otherwise here than the project's file asks for; None: nothing.

        >>> TrialResources(gpus=1).note({"CPU": 8.0})
        'train.resources asks for 1 GPU a trial, and Ray has none here: the trials run on CPUs'
        >>> TrialResources(gpus=1, accelerator="A100").note({"GPU": 1.0, "accelerator_type:T4": 1.0})
        'train.resources asks for A100, and Ray has T4 here: the trials wait for a node with one'
        """
        if not self.gpus:
            return None
        if not there.get("GPU"):
            return (
                f"train.resources asks for {self.gpus:g} GPU a trial, and Ray has none here: "
                "the trials run on CPUs"
            )
        types = [name.partition(":")[2] for name in there if name.startswith("accelerator_type:")]
        if self.accelerator is None or self.accelerator in types:
            return None
        return (
            f"train.resources asks for {self.accelerator}, and Ray has {', '.join(types) or 'no type'} here: "
            "the trials wait for a node with one"
        )
