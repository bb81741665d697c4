"""The Open Inference Protocol V2 over HTTP: what KServe's and Triton's clients speak.

Specification: https://github.com/kserve/open-inference-protocol, with Triton's extension for binary tensor
data. How its tensors name what is asked: docs/protocols.md.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any, NamedTuple

import numpy as np
import orjson

from tidemill.serving.inference.calls import (
    Answer,
    Call,
    Content,
    Failure,
    Headers,
    Refused,
    sentence,
)
from tidemill.serving.protocols.given_features import Column, without_nan
from tidemill.serving.protocols.json_bodies import malformed, parse_json
from tidemill.serving.protocols.model_inputs import Inputs, moment
from tidemill.serving.protocols.open_inference_outputs import Output, outputs_of
from tidemill.serving.protocols.query_parameters import wants_explanation
from tidemill.serving.protocols.request_fields import Field
from tidemill.serving.protocols.tensors import Tensor, binary, decode, refuse_rest
from tidemill.tasks.task import Task

__all__ = ["DATATYPE", "FEATURES", "OpenInference", "OpenInferenceErrors", "datatype_of"]

FEATURES = "features"
"""Name of the input with all features as one tensor [N, F]."""
DATATYPE: Mapping[str, str] = {
    "text": "BYTES", "number": "FP64", "integer": "INT64", "boolean": "BOOL", "list": "FP64",
    "json": "BYTES",
}  # fmt: skip
"""`Field.kind` → what metadata says of it; other datatypes are taken where their values fit."""


def datatype_of(field: Field) -> str:
    """Return what metadata says of a field's values."""
    return "UINT64" if field.unsigned else DATATYPE[field.kind]


_LENGTH = b"inference-header-content-length"
_PER_ROW = 4096  # values of one row in one tensor, at most


class _RequestedOutputs(NamedTuple):
    """The requested outputs."""

    id: str | None
    outputs: tuple[tuple[str, bool], ...]
    """Name, and whether as binary data."""
    task: Task


class OpenInferenceErrors:
    """The protocol's form of errors: ``{"error": "…"}``."""

    name = "open_inference"

    def error(self, failure: Failure) -> Content:
        """Return the detail as one sentence."""
        return Content(orjson.dumps({"error": sentence(failure.detail)}))


@dataclass(frozen=True)
class OpenInference(OpenInferenceErrors):
    """``POST /v2/models/{model}/infer``; with ``version`` also below ``/versions/{version}``."""

    inputs: Inputs
    version: str | None = None
    unknown: str | None = None
    """What is wrong with the path: the model or the version in it does not answer here."""

    def of_version(self, version: str) -> "OpenInference":
        """Return the codec for one version's own path."""
        return replace(self, version=version)

    def of_nothing(self, why: str) -> "OpenInference":
        """Return the codec for a path whose model or version does not answer here."""
        return replace(self, unknown=why)

    def parse(self, body: bytes, headers: Headers, query: bytes) -> Call:
        """Return what is asked for.

        Raises:
            Refused: the body is not of the protocol, or asks for what this model does not have.
            NoChampion: features are given, and no model says which there are.
        """
        if self.unknown is not None:
            raise Refused(Failure("not_found", self.unknown))
        explain = wants_explanation(query, '"parameters": {"at": "2013-04-01T10:15:00Z"}')
        content, tail = _parts(body, headers)
        parameters = _object(content, "parameters")
        tensors = self._tensors(content.get("inputs"), tail)
        instances, features = self._asked(tensors)
        explain = _flag(parameters, "explain") or explain
        wish = _requested_outputs(content, parameters, explain, self.inputs.task())
        return Call(
            instances=instances,
            features=features,
            at=moment(parameters["at"], "parameters.at") if "at" in parameters else None,
            test=headers.get(b"x-tidemill-test") == b"1" or _flag(parameters, "test"),
            explain=explain,
            request_id=wish.id,
            version=self.version,
            context=wish,
        )

    def render(self, call: Call, answer: Answer) -> Content:
        """Return the outputs that were asked for, in that order."""
        wish: _RequestedOutputs = call.context
        there = outputs_of(wish.task)
        outputs, blobs = [], []
        for name, as_binary in wish.outputs:
            datatype, make, width = there[name]
            values = [make(prediction) for prediction in answer.predictions]
            shape = [len(values)] if width is None else [len(values), width]
            if width is not None:
                values = list(chain.from_iterable(values))
            output: dict[str, Any] = {"name": name, "datatype": datatype, "shape": shape}
            if as_binary:
                blobs.append(binary(datatype, values))
                output["parameters"] = {"binary_data_size": len(blobs[-1])}
            else:
                output["data"] = values
            outputs.append(output)
        content: dict[str, Any] = {"model_name": self.inputs.model}
        version = answer.version
        if version is not None:
            content["model_version"] = version
        if wish.id is not None:
            content["id"] = wish.id
        content["outputs"] = outputs
        text = orjson.dumps(content)
        if not blobs:
            return Content(text)
        length = ((_LENGTH, b"%d" % len(text)),)
        return Content(b"".join((text, *blobs)), b"application/octet-stream", length)

    def _tensors(self, declared: object, tail: memoryview) -> dict[str, Tensor]:
        if not isinstance(declared, list) or not declared:
            raise malformed("inputs must be an array of at least one tensor")
        tensors: dict[str, Tensor] = {}
        for one in declared:
            tensor, tail = decode(one, tail, self.inputs.max_rows * _PER_ROW)
            if tensor.name in tensors:
                raise malformed(f"there are two inputs {tensor.name!r}")
            tensors[tensor.name] = tensor
        refuse_rest(tail)
        return tensors

    def _asked(self, tensors: Mapping[str, Tensor]) -> tuple[Any, Any]:
        fields = {field.name: field for field in self.inputs.fields}
        if set(tensors) == {FEATURES} and FEATURES not in fields:
            return self.inputs.matrix_call(tensors[FEATURES].matrix())
        features = None if set(tensors) <= set(fields) else self.inputs.features()
        lists = {} if features is None else features.lists
        columns = {
            name: _lists(tensor) if name in lists else _column(tensor, fields.get(name))
            for name, tensor in tensors.items()
        }
        return self.inputs.call(columns)


def _parts(body: bytes, headers: Headers) -> tuple[dict[str, Any], memoryview]:
    """Return the JSON and the binary data after it."""
    if headers.get(b"content-encoding", b"identity") != b"identity":
        raise Refused(Failure("media_type", "compressed bodies are not supported"))
    length = headers.get(_LENGTH)
    end = len(body)
    if length is not None:
        if not length.isdigit() or len(length) > 18 or int(length) > len(body):
            raise malformed("Inference-Header-Content-Length must be the length of the JSON in the body")
        end = int(length)
    # Clients send binary data as anything, and JSON as a form: the content type says nothing here.
    content = parse_json(body[:end], {})
    if not isinstance(content, dict):
        raise malformed("the body must be an object")
    return content, memoryview(body)[end:]


def _object(content: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = content.get(name, {})
    if not isinstance(found, dict):
        raise malformed(f"{name} must be an object")
    return found


def _flag(parameters: Mapping[str, Any], name: str) -> bool:
    value = parameters.get(name, False)
    if not isinstance(value, bool):
        raise malformed(f"parameter {name!r} must be true or false")
    return value


def _requested_outputs(
    content: Mapping[str, Any], parameters: Mapping[str, Any], explain: bool, task: Task
) -> _RequestedOutputs:
    name = content.get("id")
    if "id" in content and (not isinstance(name, str) or len(name) > 200):
        raise malformed("id must be text of at most 200 characters")
    all_binary = _flag(parameters, "binary_data_output")
    declared = content.get("outputs", [])
    if not isinstance(declared, list):
        raise malformed("outputs must be an array")
    there = outputs_of(task)
    outputs = [_wanted(one, there, all_binary, explain) for one in declared]
    if len(dict(outputs)) < len(outputs):
        raise malformed("an output is asked for twice")
    every = [(one, all_binary) for one in there if explain or one != "explanation"]
    return _RequestedOutputs(name, tuple(outputs or every), task)


def _wanted(
    declared: object, there: Mapping[str, Output], all_binary: bool, explain: bool
) -> tuple[str, bool]:
    if not isinstance(declared, dict) or not isinstance(declared.get("name"), str):
        raise malformed("each of outputs must be an object with a name")
    name = declared["name"]
    if name not in there:
        raise malformed(f"there is no output {name[:100]!r}; there are {', '.join(there)}")
    if name == "explanation" and not explain:
        raise malformed("the output 'explanation' needs the parameter explain: true")
    parameters = _object(declared, "parameters")
    for unsupported in ("classification", "shared_memory_region"):
        if unsupported in parameters:
            raise malformed(f"output {name!r}: {unsupported} is not supported")
    as_binary = _flag(parameters, "binary_data") if "binary_data" in parameters else all_binary
    return name, as_binary


def _lists(tensor: Tensor) -> Column:
    """Return the rows of a tensor of shape [N, length]; a row of nulls is no list."""
    if len(tensor.shape) == 1 and not isinstance(tensor.values, np.ndarray):
        return _decoded(tensor)
    matrix = tensor.matrix()
    rows: Column = matrix.tolist()
    return [without_nan(row) for row in rows] if np.isnan(matrix).any() else rows


def _column(tensor: Tensor, field: Field | None) -> Column:
    if field is not None and field.kind == "list":
        return _lists(tensor)
    if field is not None and field.kind == "json":
        return _decoded(tensor)
    values = tensor.column()
    if field is None and isinstance(values, np.ndarray):
        return values.astype(np.float64)  # features are numbers: a null is NaN
    return values


def _decoded(tensor: Tensor) -> Column:
    try:
        return [None if text is None else orjson.loads(text) for text in tensor.column()]
    except (TypeError, ValueError):
        raise malformed(f"input {tensor.name!r} must be BYTES with JSON in each") from None
