"""Make the prediction API of a project from ``features.yaml``, without code of the project's own."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, create_model
from pydantic_core import PydanticCustomError

from tidemill.errors import ConfigError
from tidemill.features.project_features import check_keys, looks_up, requested_columns
from tidemill.project import Project
from tidemill.project.feature_columns import COLUMNS_FILE, FeatureColumn, read_columns, read_keys
from tidemill.serving.inference.application import Application
from tidemill.serving.inference.refused_values import loggable
from tidemill.serving.inference.request_moments import Moment
from tidemill.tasks.target_labels import shown_class

__all__ = ["make_application", "request_model"]

_LARGEST = 3.4028234663852886e38  # of float32
_SHOWN = 20  # categories, or characters of a value, in a message


def make_application(project: Project, own: Application[Any] | None = None) -> Application[Any]:
    """Return the application of a project whose requests bring features.

    Args:
        project: whose ``features.yaml`` lists the columns.
        own: the project's own application, whose request may bring values of these columns, too.

    Raises:
        ConfigError: ``features.yaml`` is missing or wrong, or has a key of another type than the store's; or
            ``features.from`` names a view that is not there.
        FeatureError: features come from the store, too, and its service was not applied.
    """
    columns = read_columns(project)
    if own is not None:
        return _extended(own, columns, requested_columns(project))
    if project.config.features.source == "both":
        columns = (*_keys(project, columns), *columns)
        check_keys(project, columns)
    else:
        names = {column.name for column in columns}
        columns = (*(key for key in read_keys(project) if key.name not in names), *columns)
    return Application(
        request=request_model(columns), feature_row=_values, decide=lambda instance, answer: {}
    )


def _keys(project: Project, columns: Sequence[FeatureColumn]) -> list[FeatureColumn]:
    """Return the keys that are no columns as well.

    Raises:
        ConfigError: ``features.yaml`` declares no keys.
    """
    keys = read_keys(project)
    if not keys and looks_up(project):
        raise ConfigError(
            f"{project.root / COLUMNS_FILE} lists no keys, and the project names no application: nothing "
            "says by which keys the store's features are looked up",
            hint="add `keys: [{name: carrier, type: text}]`, or name an application in project.application",
        )
    return [key for key in keys if key.name not in {column.name for column in columns}]


def request_model(columns: Sequence[FeatureColumn]) -> type[BaseModel]:
    """Return the schema of one instance: a field for each column.

    >>> model = request_model([FeatureColumn("petal length", "number", example=1.4)])
    >>> model.model_validate({"petal length": 2}).model_dump()
    {'petal length': 2.0}
    """
    examples = {column.name: column.example for column in columns if column.example is not None}
    shown: dict[str, Any] = (
        {"examples": [examples]} if all(c.name in examples for c in columns if c.required) else {}
    )
    config = ConfigDict(
        extra="forbid", frozen=True, serialize_by_alias=True, protected_namespaces=(), json_schema_extra=shown
    )
    return create_model("Instance", __config__=config, **_fields(columns))


def _extended(
    own: Application[Any], columns: Sequence[FeatureColumn], requested: frozenset[str]
) -> Application[Any]:
    """Return an application whose requests may bring values of columns, which win over the store's.

    Those of ``requested`` are not looked up: they are required unless ``features.yaml`` says otherwise.
    """
    fields: dict[str, Any] = {
        column.name: _field(
            replace(column, required=column.required and column.name in requested), alias=False
        )
        for column in columns
        if column.name not in own.request.model_fields
    }
    names = [column.name for column in columns]

    def feature_row(instance: BaseModel) -> Mapping[str, object]:
        brought = {name: value for name in names if (value := getattr(instance, name)) is not None}
        return {**own.feature_row(instance), **brought}

    request = create_model(own.request.__name__, __base__=own.request, **fields)
    return replace(own, request=request, feature_row=feature_row)


def _fields(columns: Sequence[FeatureColumn]) -> dict[str, Any]:
    """Return the fields under names of their own: a column may be called ``copy`` or ``wind (kt)``."""
    return {f"feature_{place}": _field(column) for place, column in enumerate(columns)}


def _field(column: FeatureColumn, alias: bool = True) -> tuple[Any, Any]:
    extra: dict[str, Any] = {"personal": True} if column.personal else {}
    if column.categories:
        extra["x-categories"] = list(column.categories)
    about = Field(
        default=... if column.required else None,
        alias=column.name if alias else None,
        title=column.name,
        examples=None if column.example is None else [column.example],
        json_schema_extra=extra or None,
    )
    kind = _kind(column) if column.required else _kind(column) | None
    if column.has_gap_words:
        kind = Annotated[kind, BeforeValidator(_needed(column) if column.required else column.without_gap)]
    return kind, about


def _kind(column: FeatureColumn) -> Any:
    match column.type:
        case "number":
            return Annotated[float, Field(strict=True, allow_inf_nan=False), AfterValidator(_within)]
        case "integer":
            return Annotated[int, BeforeValidator(_whole), Field(strict=True), AfterValidator(loggable)]
        case "truth":
            return Annotated[bool, Field(strict=True)]
        case "moment":
            return Moment
        case "list":
            return _list(column)
    text = [Field(strict=True), *([AfterValidator(_one_of(column))] if column.unseen == "refuse" else [])]
    return Annotated[str, *text]


def _list(column: FeatureColumn) -> Any:
    """Return the type of a list; what is no list of that length is told with both lengths.

    Where the list may be left out, so may elements of it.
    """
    element: Any = Annotated[float, Field(strict=True, allow_inf_nan=False)]
    if column.element == "integer":
        element = Annotated[int, BeforeValidator(_whole), Field(strict=True), AfterValidator(loggable)]
    if not column.required:
        element = element | None

    def check(value: object) -> object:
        if not isinstance(value, list):
            raise PydanticCustomError("list_type", "Input should be {expected}", {"expected": column.meant})
        if len(value) == column.length:
            return value
        raise PydanticCustomError(
            "list_of_another_length",
            "Input should be {expected}, and a list of {given} was given",
            {"expected": column.meant, "given": len(value)},
        )

    limits = Field(min_length=column.length, max_length=column.length)
    return Annotated[list[element], limits, BeforeValidator(check), AfterValidator(_all_within)]


def _needed(column: FeatureColumn) -> Callable[[object], object]:
    """Return the check that a text that must be there is no word for a gap."""

    def check(value: object) -> object:
        if value is not None and column.without_gap(value) is None:
            said = "Input should be a valid string, and {given}, which means a gap, was given"
            raise PydanticCustomError("gap", said, {"given": repr(value)})
        return value

    return check


def _whole(value: object) -> object:
    """Return 3.0 as 3: clients whose columns have gaps send whole numbers so."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _within(value: float) -> float:
    """Return a number that float32 can hold: most engines make others infinite, and some fail on that."""
    if abs(value) > _LARGEST:
        raise PydanticCustomError(
            "out_of_range", "Input should lie within ±{largest}", {"largest": f"{_LARGEST:.4g}"}
        )
    return value


def _all_within(values: list[float | None]) -> list[float | None]:
    """Return numbers that float32 can hold: looked at together, as a list may have thousands."""
    known = [value for value in values if value is not None]
    for value in (min(known), max(known)) if known else ():
        _within(value)
    return values


def _one_of(column: FeatureColumn) -> Any:
    known = frozenset(column.categories)
    listed = ", ".join(map(shown_class, column.categories[:_SHOWN])) + (
        ", …" if len(column.categories) > _SHOWN else ""
    )

    def check(value: str) -> str:
        if value in known:
            return value
        given = "another text" if column.personal else repr(value[:_SHOWN])
        raise PydanticCustomError(
            "unseen_category",
            "Input should be one of the categories seen in training ({categories}), and {given} was given",
            {"categories": listed, "given": given},
        )

    return check


def _values(instance: BaseModel) -> Mapping[str, object]:
    return instance.model_dump()
