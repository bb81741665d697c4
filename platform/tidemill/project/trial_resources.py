"""What a trial of a search, or the last fit, asks Ray for, and what it gets where there are no GPUs."""

from collections.abc import Mapping

from pydantic import Field

from tidemill.project.serve_config import RayResources

__all__ = ["TrialResources"]

_ANY_OF_TYPE = 0.001
"""Ray's way to ask for a node with a type of accelerator."""


class TrialResources(RayResources):
    """The sections ``train.resources`` and ``train.fit_resources`` of ``params.yaml``."""

    cpus: float = Field(default=1.0, gt=0)
    """CPUs of a trial."""

    def on(self, there: Mapping[str, float]) -> dict[str, float]:
        """Return what Ray is asked for, in Ray Tune's words.

        Args:
            there: all that Ray has (`tidemill.training.ray_session.ray_capacity`).

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

    def note(self, there: Mapping[str, float], name: str = "train.resources") -> str | None:
        """Return what is otherwise here than the project's file asks for; None: nothing.

        >>> TrialResources(gpus=1).note({"CPU": 8.0})
        'train.resources asks for 1 GPU, and Ray has none here: it runs on CPUs'
        >>> TrialResources(gpus=1, accelerator="A100").note({"GPU": 1.0, "accelerator_type:T4": 1.0})
        'train.resources asks for A100, and Ray has T4 here: it waits for a node with one'
        """
        if not self.gpus:
            return None
        if not there.get("GPU"):
            return f"{name} asks for {self.gpus:g} GPU, and Ray has none here: it runs on CPUs"
        types = [one.partition(":")[2] for one in there if one.startswith("accelerator_type:")]
        if self.accelerator is None or self.accelerator in types:
            return None
        return (
            f"{name} asks for {self.accelerator}, and Ray has {', '.join(types) or 'no type'} here: "
            "it waits for a node with one"
        )
