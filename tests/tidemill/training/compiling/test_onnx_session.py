"""What an ONNX file may not do."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from tidemill.errors import ModelUnsafe
from tidemill.training.compiling.onnx_session import check_content, open_session


def model(*nodes, constants=(), opsets=(("", 19),), functions=()):
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("features", TensorProto.DOUBLE, ["rows", 1])],
        [helper.make_tensor_value_info("probability", TensorProto.DOUBLE, ["rows", 1])],
        constants,
    )
    made = helper.make_model(
        graph, opset_imports=[helper.make_opsetid(*one) for one in opsets], ir_version=10
    )
    made.functions.extend(functions)
    return made.SerializeToString()


def elsewhere(name="weights"):
    tensor = numpy_helper.from_array(np.ones((1, 1)), name)
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="../../../etc/passwd")
    return tensor


ADD = helper.make_node("Add", ["features", "weights"], ["probability"])


def test_a_plain_model_is_taken():
    content = model(ADD, constants=[numpy_helper.from_array(np.ones((1, 1)), "weights")])
    session = open_session(content, ["wind"])
    assert session.score(np.array([[1.0], [2.0]])).tolist() == [2.0, 3.0]


def test_a_model_that_reads_other_files_is_refused():
    with pytest.raises(ModelUnsafe, match="keeps 'weights' in another file"):
        check_content(model(ADD, constants=[elsewhere()]))
    hidden = helper.make_node("Constant", [], ["weights"], value=elsewhere("value"))
    with pytest.raises(ModelUnsafe, match="in another file"):
        check_content(model(hidden, ADD))
    branch = helper.make_graph(
        [helper.make_node("Identity", ["w"], ["out"])],
        "b",
        [],
        [helper.make_tensor_value_info("out", TensorProto.DOUBLE, [1, 1])],
        [elsewhere("w")],
    )
    chosen = helper.make_node("If", ["yes"], ["weights"], then_branch=branch, else_branch=branch)
    yes = numpy_helper.from_array(np.array(True), "yes")
    with pytest.raises(ModelUnsafe, match="keeps 'w' in another file"):
        check_content(model(chosen, ADD, constants=[yes]))


def test_a_model_that_needs_foreign_code_is_refused():
    foreign = helper.make_node("Run", ["features"], ["probability"], domain="com.example")
    with pytest.raises(ModelUnsafe, match=r"operator com\.example\.Run"):
        open_session(model(foreign, opsets=[("", 19), ("com.example", 1)]), ["wind"])
    inside = helper.make_function(
        "own",
        "F",
        ["a"],
        ["b"],
        [helper.make_node("Run", ["a"], ["b"], domain="com.example")],
        [helper.make_opsetid("com.example", 1)],
    )
    call = helper.make_node("F", ["features"], ["probability"], domain="own")
    with pytest.raises(ModelUnsafe, match=r"com\.example\.Run"):
        check_content(model(call, opsets=[("", 19), ("own", 1)], functions=[inside]))


def test_damage_is_named():
    with pytest.raises(ModelUnsafe, match="not an ONNX model"):
        open_session(b"\x00 not a model", ["wind"])
    with pytest.raises(ModelUnsafe, match="onnxruntime cannot load"):
        open_session(model(helper.make_node("NoSuchOperator", ["features"], ["probability"])), ["wind"])
    assert issubclass(ModelUnsafe, Exception)
    assert onnx.__version__
