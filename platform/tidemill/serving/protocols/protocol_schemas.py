"""Requests and answers of the protocols for OpenAPI. The codecs parse and write them; they are as strict."""

from typing import Any, Literal, NamedTuple, TypeVar

from pydantic import BaseModel, ConfigDict, Field, create_model

from tidemill.serving.protocols.answer_schemas import field_types, raw_type
from tidemill.serving.protocols.open_inference_outputs import outputs_of
from tidemill.serving.protocols.predict_schema import ExplanationOut, Moment
from tidemill.tasks.task import Task

__all__ = [
    "InferenceError",
    "InferenceRequest",
    "InferenceResponse",
    "Invocation",
    "InvocationError",
    "InvocationResponse",
    "ModelMetadata",
    "ModelReady",
    "ProtocolSchemas",
    "ServerLive",
    "ServerMetadata",
    "ServerReady",
    "TensorMetadata",
    "schemas_of",
]

Schema = TypeVar("Schema", bound=BaseModel)

Datatype = Literal[
    "BOOL", "UINT8", "UINT16", "UINT32", "UINT64", "INT8", "INT16", "INT32", "INT64",
    "FP16", "FP32", "FP64", "BYTES",
]  # fmt: skip


def _no_default(schema: dict[str, Any]) -> None:
    schema.pop("default", None)


_ABSENT: Any = Field(default=None, json_schema_extra=_no_default)
"""A field that may be left out, but is never null."""


class _ExtraFieldsAllowed(BaseModel):
    model_config = ConfigDict(extra="allow")


class InputTensor(_ExtraFieldsAllowed):
    """One input: a field of the request, one feature, or ``features``."""

    name: str = Field(min_length=1)
    shape: list[int] = Field(min_length=1, max_length=2)
    """[N] or [N, 1]; [N, length] for lists; [N, F] for ``features``."""
    datatype: Datatype
    data: list[Any]
    """Flat or nested by the shape; null where a value is unknown (numbers and text)."""
    parameters: dict[str, Any] = {}


class OutputParameters(_ExtraFieldsAllowed):
    """How one output is wanted."""

    binary_data: bool = False


class RequestedOutput(_ExtraFieldsAllowed):
    """An output that is wanted."""

    name: str
    parameters: OutputParameters = OutputParameters()


class InferenceParameters(_ExtraFieldsAllowed):
    """What holds for the whole request; what is not named here is ignored."""

    at: Moment = _ABSENT
    """The moment of the prediction, as event time; default: now."""
    test: bool = False
    """Marks test traffic: logged, and ignored by monitors."""
    explain: bool = False
    """Adds the output ``explanation``."""
    binary_data_output: bool = False
    """Whether outputs come as binary data, but for those that say otherwise."""


class InferenceRequest(_ExtraFieldsAllowed):
    """A request of the Open Inference Protocol."""

    id: str = Field(default="", max_length=200)
    parameters: InferenceParameters = InferenceParameters()
    inputs: list[InputTensor] = Field(min_length=1)
    outputs: list[RequestedOutput] = []
    """Default: all."""


class OutputTensor(BaseModel):
    """One output; ``data`` is absent where it comes as binary data."""

    name: str
    shape: list[int]
    datatype: Datatype
    data: list[Any] = []
    parameters: dict[str, Any] = {}


class InferenceResponse(BaseModel):
    """An answer of the Open Inference Protocol."""

    model_name: str
    model_version: str = ""
    """Absent if several versions answered."""
    id: str = ""
    """The request's, if it had one."""
    outputs: list[OutputTensor]


class InferenceError(BaseModel):
    """Any answer of the Open Inference Protocol that is not a success."""

    error: str


class ServerLive(BaseModel):
    """The server lives."""

    live: bool


class ServerReady(BaseModel):
    """The server can answer."""

    ready: bool


class ModelReady(BaseModel):
    """The model can answer."""

    name: str
    ready: bool


class ServerMetadata(BaseModel):
    """What the server is."""

    name: str
    version: str
    extensions: list[str]


class TensorMetadata(BaseModel):
    """An input or an output."""

    name: str
    datatype: Datatype
    shape: list[int]
    """-1 for the number of rows."""
    parameters: dict[str, Any] = {}


class ModelMetadata(BaseModel):
    """What the model takes and gives."""

    name: str
    versions: list[str]
    """Those that answer now."""
    platform: str
    inputs: list[TensorMetadata]
    """The fields of a request; optional ones say so in their parameters."""
    outputs: list[TensorMetadata]
    parameters: dict[str, Any]
    """``features``: what may be sent instead of the inputs, as one tensor [N, F] or one tensor each."""


class Split(BaseModel):
    """A frame by columns and rows."""

    model_config = ConfigDict(extra="forbid")

    columns: list[str] = Field(default=[])
    data: list[list[Any]] = Field(min_length=1)
    index: list[Any] = Field(default=[])


class InvocationParams(BaseModel):
    """What holds for the whole request."""

    model_config = ConfigDict(extra="forbid")

    at: Moment | None = None
    """The moment of the prediction, as event time; default: now."""
    test: bool = False
    explain: bool = False


class Invocation(_ExtraFieldsAllowed):
    """A request of MLflow's scoring protocol: exactly one of the four forms."""

    model_config = ConfigDict(
        extra="allow",
        json_schema_extra={
            "oneOf": [
                {"required": [form]}
                for form in ("dataframe_split", "dataframe_records", "instances", "inputs")
            ]
        },
    )

    dataframe_split: Split = _ABSENT
    dataframe_records: list[dict[str, Any]] = _ABSENT
    instances: list[dict[str, Any]] | list[list[Any]] = _ABSENT
    inputs: dict[str, Any] | list[dict[str, Any]] | list[list[Any]] = _ABSENT
    params: InvocationParams | None = None


class InvocationResponse(BaseModel):
    """An answer of MLflow's scoring protocol, and beside ``predictions`` what that does not have."""

    predictions: list[Any]
    """The model's answer, one a row."""
    model: str
    model_version: str | None
    """Null if several versions answered."""
    model_versions: list[str]
    prediction_ids: list[str]
    """To send the labels by, later."""
    flags: list[list[str]]
    decisions: list[dict[str, Any]]
    explanations: list[ExplanationOut | None] | None = None
    """Only where they were asked for."""


class ProtocolSchemas(NamedTuple):
    """The schemas that depend on what the model predicts."""

    infer: type[InferenceRequest]
    inferred: type[InferenceResponse]
    invoked: type[InvocationResponse]


def schemas_of(task: Task) -> ProtocolSchemas:
    """Return the schemas of a task."""
    name: Any = Literal[tuple(outputs_of(task))]
    requested, output = (
        _narrowed(RequestedOutput, name=(name, ...)),
        _narrowed(OutputTensor, name=(name, ...)),
    )
    classes = {
        field.name: (list[field_types(task)[field.name][0]], ...)  # type: ignore[misc]
        for field in task.answer_fields
        if field.kind == "text"
    }
    return ProtocolSchemas(
        _narrowed(InferenceRequest, outputs=(list[requested], [])),  # type: ignore[valid-type]
        _narrowed(InferenceResponse, outputs=(list[output], ...)),  # type: ignore[valid-type]
        _narrowed(
            InvocationResponse,
            predictions=(list[raw_type(task)], ...),  # type: ignore[misc]
            **({**classes, "classes": (list[str], ...)} if classes else {}),
        ),
    )


def _narrowed(schema: type[Schema], **fields: Any) -> type[Schema]:
    return create_model(schema.__name__, __base__=schema, __doc__=schema.__doc__, **fields)


class InvocationError(BaseModel):
    """Any answer of MLflow's scoring protocol that is not a success."""

    error_code: str
    message: str
