"""Makes unusual requests by the names and types of a model; some are broken in one place."""

from typing import Any

import orjson
from hypothesis import strategies as st

__all__ = ["Body", "frames", "instances", "tensors"]

Body = tuple[bytes, dict[str, str]]
"""The body of a request, and its headers."""

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
SIZES = {"FP64": "<f8", "FP32": "<f4", "INT64": "<i8", "INT32": "<i4", "UINT8": "u1", "BOOL": "?"}
NUMBERS = st.floats(allow_nan=False, allow_infinity=False) | st.integers(-100, 100) | st.none()


def _value(schema: dict[str, Any]) -> st.SearchStrategy[Any]:
    """Return values that mostly fit one field."""
    if "anyOf" in schema:
        return st.one_of(*map(_value, schema["anyOf"]))
    match schema.get("type"):
        case "string" if schema.get("format") == "date-time":
            return st.datetimes().map(lambda moment: moment.isoformat() + "Z")
        case "string" if "pattern" in schema:
            return st.from_regex(schema["pattern"], fullmatch=True)
        case "string":
            return st.text(max_size=10)
        case "number":
            return st.floats(allow_nan=False, allow_infinity=False)
        case "integer":
            return st.integers(-(2**63), 2**63 - 1)
        case "boolean":
            return st.booleans()
        case "null":
            return st.none()
        case _:
            return JSON


def _rows(instance: dict[str, Any], rows: int) -> st.SearchStrategy[dict[str, list[Any]]]:
    """Return columns of fields: the required ones, and some of the others."""
    fields = instance["properties"]
    columns = {name: st.lists(_value(one), min_size=rows, max_size=rows) for name, one in fields.items()}
    required = {name: columns[name] for name in instance.get("required", [])}
    return st.fixed_dictionaries(required, optional={n: c for n, c in columns.items() if n not in required})


@st.composite
def _broken(draw: Any, content: Any) -> Any:
    """Replace something in it, sometimes."""
    if draw(st.integers(0, 3)):
        return content
    if isinstance(content, dict) and content:
        name = draw(st.sampled_from(sorted(content)))
        how = draw(st.sampled_from(["drop", "replace", "deeper", "deeper"]))
        rest = {key: value for key, value in content.items() if key != name}
        if how == "drop":
            return rest
        return {**rest, name: draw(JSON) if how == "replace" else draw(_broken(content[name]))}
    if isinstance(content, list) and content:
        place = draw(st.integers(0, len(content) - 1))
        return [*content[:place], draw(_broken(content[place])), *content[place + 1 :]]
    return draw(JSON)


@st.composite
def _tensor(draw: Any, name: str, values: list[Any], width: int | None, binary: bool) -> tuple[Any, bytes]:
    rows = len(values) // (width or 1)
    shape = [rows, width] if width else draw(st.sampled_from([[rows], [rows, 1]]))
    kinds = set(map(type, values))
    if kinds <= {str, type(None)}:
        datatype = "BYTES"
    elif kinds <= {bool}:
        datatype = draw(st.sampled_from(["BOOL", "FP32", "UINT8"]))
    elif kinds <= {int}:
        datatype = draw(st.sampled_from(["INT64", "FP64", "INT32"]))
    else:
        datatype = draw(st.sampled_from(["FP64", "FP64", "FP32", "INT64", "FP16"]))
    tensor: dict[str, Any] = {"name": name, "shape": shape, "datatype": datatype}
    if not binary:
        return {**tensor, "data": values}, b""
    if datatype == "BYTES":
        texts = [(value or "").encode(errors="surrogatepass") for value in values]
        data = b"".join(len(text).to_bytes(4, "little") + text for text in texts)
    else:
        size = int(SIZES.get(datatype, "<f2")[-1].replace("?", "1"))
        data = draw(st.binary(min_size=size * len(values), max_size=size * len(values)))
    size = len(data) if draw(st.integers(0, 9)) else draw(st.integers(-1, 2**40))
    return {**tensor, "parameters": {"binary_data_size": size}}, data


@st.composite
def tensors(draw: Any, metadata: dict[str, Any], instance: dict[str, Any]) -> Body:
    """Return requests of the V2 protocol, with binary data or without, some of them broken."""
    columns, width = draw(_columns(metadata["parameters"]["features"], instance))
    made = [draw(_tensor(name, values, width, draw(st.booleans()))) for name, values in columns.items()]
    content: dict[str, Any] = {"inputs": [tensor for tensor, _ in made]}
    content |= draw(_options([output["name"] for output in metadata["outputs"]]))
    text = orjson.dumps(_plain(draw(_broken(content))))
    data = b"".join(data for _, data in made)
    headers = {}
    if data or draw(st.booleans()):
        length = len(text) if draw(st.integers(0, 9)) else draw(st.integers(-5, 2**70))
        headers["Inference-Header-Content-Length"] = str(length)
    return text + data, headers


@st.composite
def _columns(draw: Any, given: dict[str, Any], instance: dict[str, Any]) -> Any:
    """Return name → values, and the number of columns if one tensor is a matrix of all features."""
    rows = draw(st.sampled_from([0, 1, 1, 2, 2, 3, 4]))
    how = draw(st.sampled_from(["fields", "fields", "matrix", "features"]))
    if how == "fields":
        return draw(_rows(instance, rows)), None
    if how == "matrix":
        width = given["shape"][1]
        return {given["name"]: draw(st.lists(NUMBERS, min_size=rows * width, max_size=rows * width))}, width
    columns = {name: draw(st.lists(NUMBERS, min_size=rows, max_size=rows)) for name in given["columns"]}
    return columns, None


def _options(outputs: list[str]) -> st.SearchStrategy[dict[str, Any]]:
    """Return what a request of the V2 protocol may say beside its tensors."""
    output = st.fixed_dictionaries(
        {"name": st.sampled_from(outputs)},
        optional={"parameters": st.fixed_dictionaries({"binary_data": st.booleans()})},
    )
    parameters = {
        "at": _value({"type": "string", "format": "date-time"}),
        "binary_data_output": st.booleans(),
        "explain": st.booleans(),
        "priority": st.integers(0, 5),
    }
    return st.fixed_dictionaries(
        {},
        optional={
            "id": st.text(max_size=20),
            "outputs": st.lists(output, max_size=3, unique_by=lambda one: one["name"]),
            "parameters": st.fixed_dictionaries({}, optional=parameters),
        },
    )


@st.composite
def frames(draw: Any, metadata: dict[str, Any], instance: dict[str, Any]) -> Body:
    """Return requests of MLflow's protocol, as JSON or CSV, some of them broken."""
    rows = draw(st.integers(0, 4))
    names = metadata["parameters"]["features"]["columns"]
    features = {name: draw(st.lists(NUMBERS, min_size=rows, max_size=rows)) for name in names}
    columns = features if draw(st.booleans()) else draw(_rows(instance, rows))
    lines = [list(line) for line in zip(*columns.values(), strict=True)]
    records = [dict(zip(columns, line, strict=True)) for line in lines]
    content = draw(
        st.sampled_from(
            [
                {"dataframe_split": {"columns": list(columns), "data": lines, "index": list(range(rows))}},
                {"dataframe_split": {"data": lines}},
                {"dataframe_records": records},
                {"instances": records},
                {"instances": lines},
                {"inputs": columns},
                {"inputs": lines},
                {"inputs": records[0] if records else {}},
                "csv",
            ]
        )
    )
    if content == "csv":
        table = [list(columns), *lines]
        quoted = [[f'"{"" if cell is None else cell}"' for cell in line] for line in table]
        text = "\n".join(",".join(line) for line in quoted)
        return draw(_torn(text.encode(errors="replace"))), {"Content-Type": "text/csv"}
    if draw(st.booleans()):
        content = {**content, "params": {"explain": draw(st.booleans())}}
    return orjson.dumps(_plain(draw(_broken(content)))), {"Content-Type": "application/json"}


@st.composite
def _torn(draw: Any, body: bytes) -> bytes:
    """Cut it, or put something into it, sometimes."""
    if draw(st.integers(0, 4)):
        return body
    place = draw(st.integers(0, len(body)))
    return body[:place] + draw(st.binary(max_size=3)) + (body[place:] if draw(st.booleans()) else b"")


@st.composite
def instances(draw: Any, instance: dict[str, Any]) -> Body:
    """Return requests of our own protocol, some of them broken."""
    rows = draw(st.integers(0, 4))
    columns = draw(_rows(instance, rows))
    records = [dict(zip(columns, line, strict=True)) for line in zip(*columns.values(), strict=True)]
    content = draw(_broken({"instances": records, "at": None}))
    return draw(_torn(orjson.dumps(_plain(content)))), {"Content-Type": "application/json"}


def _plain(content: Any) -> Any:
    """Return what orjson can write: text without lone surrogates, integers of 64 bits."""
    if isinstance(content, str):
        return content.encode(errors="replace").decode()
    if isinstance(content, int) and not -(2**63) <= content < 2**63:
        return float(content % 10**300)
    if isinstance(content, dict):
        return {_plain(key): _plain(value) for key, value in content.items()}
    return [_plain(one) for one in content] if isinstance(content, list) else content
