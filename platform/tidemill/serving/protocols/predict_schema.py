"""The schemas of the prediction API's requests and answers."""

from typing import Annotated, Any, Final, Literal, Self

from pydantic import (
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    ModelWrapValidatorHandler,
    StrictBool,
    ValidationError,
    ValidatorFunctionWrapHandler,
    WrapValidator,
    create_model,
    model_validator,
)
from pydantic_core import PydanticCustomError

from tidemill.serving.inference.request_moments import Moment

__all__ = [
    "MOST_ERRORS",
    "Accepted",
    "Error",
    "ExplanationOut",
    "Feedback",
    "LabelIn",
    "ModelState",
    "Moment",
    "PredictionOut",
    "PredictionRequest",
    "PredictionResponse",
    "request_schema",
    "too_many",
]

MOST_ERRORS = 1000
"""In one body: beyond that a list of them would take seconds to make, and tens of megabytes to send."""


def too_many(error: ValidationError) -> PydanticCustomError:
    """Return what stands for errors that are not listed."""
    return PydanticCustomError(
        "too_many_errors",
        "{count} things are wrong with it, too many to list: send one item alone to see what",
        {"count": error.error_count()},
    )


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")


class PredictionRequest(_Strict):
    """What ``POST /predict`` takes; `request_schema` makes it precise for an application."""

    instances: list[Any]
    """What to predict for."""
    at: Moment | None = None
    """The moment of the prediction, as event time; default: now. Features are read as of this moment."""


def request_schema(instance: type[BaseModel], max_instances: int) -> type[PredictionRequest]:
    """Return the schema of a request for up to ``max_instances`` of ``instance``."""
    instances = Annotated[list[instance], Field(min_length=1, max_length=max_instances)]  # type: ignore[valid-type]
    return create_model(
        f"{instance.__name__}Predictions", __base__=PredictionRequest, instances=(instances, ...)
    )


class ExplanationOut(BaseModel):
    """What each feature contributed: with the base value, they add up to what the model says."""

    unit: Literal["log-odds", "probability", "score", "value"]
    """What they add up to: log(p / (1 - p)) or p, where p is the probability as the model itself says it; the
    value; or, of several classes, the score of the most probable one, whose softmax is its probability."""
    base_value: float
    contributions: dict[str, float]


class PredictionOut(BaseModel):
    """One prediction: `answer_schemas.prediction_schema` adds the answer, as the project's task has it."""

    prediction_id: str
    """To send the label by, later."""
    model_version: str
    """The version that made it."""
    decision: dict[str, Any]
    """The project's business logic about it."""
    flags: list[str]
    """What to know about it, such as ``missing:<view>``, ``expired:<view>``, ``default:<feature>``."""
    explanation: ExplanationOut | None = None
    """What each feature contributed, with ``?explain=true``."""


class PredictionResponse(BaseModel):
    """Answer to ``POST /predict``; predictions are in the order of the instances."""

    model: str
    model_version: str | None
    """The version that made all of them; null if several did (canary, A/B)."""
    predictions: list[PredictionOut]


_KeyTypes = (
    StrictBool
    | Annotated[int, Field(strict=True, ge=-(2**63), le=2**63 - 1)]
    | Annotated[float, Field(strict=True, allow_inf_nan=False)]
    | Annotated[str, Field(strict=True, max_length=1000)]
    | None
)


_A_KEY: Final = (
    "Input should be text of up to 1,000 characters, a number of up to 64 bits, true, false or null"
)


def _one_error(value: Any, validate: ValidatorFunctionWrapHandler) -> Any:
    """Return the value of a key, or one error in place of one a type."""
    if type(value) is int and not -(2**63) <= value < 2**64:  # else taken for a float, without its digits
        raise PydanticCustomError("key_type", _A_KEY)
    try:
        return validate(value)
    except ValidationError:
        raise PydanticCustomError("key_type", _A_KEY) from None


KeyValue = Annotated[_KeyTypes, WrapValidator(_one_error)]
"""The value of one entity key."""


class LabelIn(_Strict):
    """What came true of one prediction, named by its id, or of all with these keys at one moment."""

    prediction_id: str | None = Field(default=None, min_length=1, max_length=200)
    keys: dict[Annotated[str, Field(max_length=200)], KeyValue] | None = Field(
        default=None, min_length=1, max_length=50
    )
    """Some or all of the entity keys of the prediction: enough to tell it from others at that moment."""
    predicted_at: Moment | None = None
    """With ``keys``: the moment of the prediction, as event time (its ``at``)."""
    label: Any
    """Of the project's task: `answer_schemas.feedback_schema` says what it may be."""
    at: Moment | None = None
    """When it became known, as event time; default: now."""

    @model_validator(mode="after")
    def _names_something(self) -> "LabelIn":
        by_id = self.prediction_id is not None
        if by_id == (self.keys is not None) or by_id == (self.predicted_at is not None):
            raise PydanticCustomError(
                "label_of_what", "Give either prediction_id, or both keys and predicted_at"
            )
        return self


class Feedback(_Strict):
    """What ``POST /feedback`` takes."""

    labels: list[LabelIn] = Field(min_length=1, max_length=100_000)

    @model_validator(mode="wrap")
    @classmethod
    def _says_so_briefly(cls, value: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:
        try:
            return handler(value)
        except ValidationError as error:
            if error.error_count() > MOST_ERRORS:
                raise too_many(error) from None
            raise


class Accepted(BaseModel):
    """Answer to ``POST /feedback``: that many labels are on disk, whether or not predictions match."""

    accepted: int


class LaneState(BaseModel):
    """A version beside the champion, as one replica has it."""

    role: str
    """``canary``, ``shadow`` or ``ab:<name>``."""
    version: str
    share: float
    """Of the routing keys."""
    loaded: bool
    error: str | None
    """Why it is not loaded; it gets no traffic then."""


class ModelState(BaseModel):
    """Answer to ``GET /model``."""

    model: str
    version: str | None
    """The version that answers."""
    wanted: str | None
    """The version that the alias names."""
    loaded_at: AwareDatetime | None
    error: str | None
    """Why ``wanted`` does not answer, if it does not."""
    lanes: list[LaneState]
    """The versions beside it."""
    replica: str
    degraded: dict[str, str] = {}
    """What the replica does without: part (``features``, ``registry``, ``records``, ``log``) → why."""


class Error(BaseModel):
    """Any answer that is not a success."""

    detail: Any
    """A sentence; or, with status 422, a list of ``{"loc": […], "msg": …, "type": …}``, one a field."""
