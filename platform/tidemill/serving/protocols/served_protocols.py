"""Choose the protocol of a path: the project's own, the Open Inference Protocol V2, or MLflow's."""

from collections.abc import Callable, Mapping

from pydantic import BaseModel

from tidemill.serving.inference.calls import Codec
from tidemill.serving.protocols.mlflow_scoring import MlflowScoring
from tidemill.serving.protocols.model_inputs import Inputs
from tidemill.serving.protocols.open_inference import OpenInference
from tidemill.serving.protocols.open_inference_paths import features_of, infer_paths
from tidemill.serving.protocols.predict_codec import PredictCodec
from tidemill.serving.routing.traffic_split import ServingVersions
from tidemill.tasks.task import Task

__all__ = ["Protocols"]


class Protocols:
    """The protocols of one model."""

    def __init__(
        self,
        model: str,
        instance: type[BaseModel],
        max_rows: int,
        now: Callable[[], ServingVersions | None],
        task: Task,
        formats: Mapping[str, str],
    ) -> None:
        """Take what is served.

        Args:
            model: name of the registered model.
            instance: schema of one request's fields.
            max_rows: the largest number of rows in one request.
            now: returns the versions that answer at this moment.
            task: what the project declares that its model predicts.
            formats: how numbers and moments are written in CSV, by column, as ``data.formats`` says it.
        """

        def current() -> Task:
            serving = now()
            return task if serving is None else serving.champion.task

        inputs = Inputs(model, instance, max_rows, lambda: features_of(now()), current, formats)
        self.task = task
        self.predict = PredictCodec(model, instance, max_rows)
        self.open_inference = OpenInference(inputs)
        self._fixed: Mapping[tuple[str, str], Codec] = {
            ("POST", "/predict"): self.predict,
            ("POST", f"/v2/models/{model}/infer"): self.open_inference,
            ("POST", "/invocations"): MlflowScoring(inputs),
        }
        self._other = infer_paths(self.open_inference, now)

    def codec(self, method: str, path: str) -> Codec | None:
        """Return the protocol of a request for predictions; None if it is for something else."""
        return self._fixed.get((method, path)) or self._other(method, path)
