"""Every operation gives what ONNX Runtime gives."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx_files import answers, model_of

from shiftaudit.models.onnx.file import Unreadable
from shiftaudit.models.onnx.node import OnnxNode
from shiftaudit.models.onnx.program import read_program

RANDOM = np.random.default_rng(0)
IMAGE = RANDOM.standard_normal((2, 4, 7, 9)).astype(np.float32)


def values(*shape: int) -> np.ndarray:
    return RANDOM.standard_normal(shape).astype(np.float32)


def whole(*numbers: int) -> np.ndarray:
    return np.array(numbers, dtype=np.int64)


# (operation, operands behind the image, attributes, opset)
CASES: list[tuple[str, list[Any], dict[str, Any], int]] = [
    ("Conv", [values(6, 2, 3, 3), values(6)], {"group": 2, "strides": [2, 1], "pads": [1, 0, 1, 0]}, 18),
    ("Conv", [values(6, 4, 3, 3)], {"strides": [2, 2], "pads": [0, 0, 1, 1], "dilations": [1, 2]}, 18),
    ("Conv", [values(6, 4, 3, 2)], {"strides": [2, 2], "auto_pad": "SAME_UPPER"}, 18),
    ("Conv", [values(6, 4, 2, 2)], {"strides": [2, 2], "auto_pad": "SAME_LOWER"}, 18),
    ("Conv", [values(6, 4, 3, 3)], {"strides": [2, 2], "auto_pad": "VALID"}, 18),
    ("ConvTranspose", [values(4, 3, 3, 3), values(3)], {"strides": [2, 2], "pads": [1, 1, 1, 1]}, 18),
    ("MaxPool", [], {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 1, 1, 1]}, 18),
    ("MaxPool", [], {"kernel_shape": [3, 2], "strides": [2, 2], "ceil_mode": 1}, 18),
    ("MaxPool", [], {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [0, 0, 1, 1], "dilations": [2, 1]}, 18),
    ("AveragePool", [], {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 1, 1, 1]}, 18),
    ("AveragePool", [], {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1], "count_include_pad": 1}, 18),
    ("AveragePool", [], {"kernel_shape": [3, 2], "strides": [2, 2], "pads": [0, 0, 1, 1]}, 18),
    ("AveragePool", [], {"kernel_shape": [2, 2], "strides": [2, 2], "auto_pad": "SAME_UPPER"}, 18),
    ("GlobalAveragePool", [], {}, 18),
    ("GlobalMaxPool", [], {}, 18),
    ("BatchNormalization", [values(4), values(4), values(4), values(4) ** 2], {"epsilon": 1e-3}, 18),
    ("InstanceNormalization", [values(4), values(4)], {}, 18),
    ("LayerNormalization", [values(9), values(9)], {"axis": -1}, 18),
    ("LRN", [], {"size": 3}, 18),
    ("LpNormalization", [], {"axis": 1, "p": 2}, 18),
    ("Clip", [np.float32(0), np.float32(0.5)], {}, 18),
    ("Clip", [np.float32(-0.1)], {}, 18),
    ("Clip", [], {"min": -0.5, "max": 0.5}, 10),
    ("HardSigmoid", [], {"alpha": 1 / 6}, 18),
    ("HardSigmoid", [], {"alpha": 0.3, "beta": 0.4}, 18),
    ("PRelu", [values(4, 1, 1)], {}, 18),
    ("PRelu", [values(9)], {}, 18),
    *(
        (name, [], {}, 20)
        for name in ("Relu", "LeakyRelu", "Elu", "Celu", "Selu", "Gelu", "HardSwish", "Mish", "Sigmoid")
    ),
    *(
        (name, [], {}, 20)
        for name in ("Tanh", "Softplus", "Softsign", "ThresholdedRelu", "Identity", "Erf", "Abs", "Neg")
    ),
    *((name, [], {}, 20) for name in ("Exp", "Floor", "Ceil", "Round", "Sign", "Sin", "Cos", "Reciprocal")),
    *((name, [values(4, 1, 1)], {}, 20) for name in ("Add", "Sub", "Mul", "Div", "Max", "Min", "Sum", "Mean")),
    ("Pow", [np.float32(2)], {}, 18),
    ("MatMul", [values(9, 3)], {}, 18),
    ("Softmax", [], {"axis": 1}, 18),
    ("Softmax", [], {"axis": 1}, 11),
    ("LogSoftmax", [], {}, 18),
    ("Einsum", [values(4, 5)], {"equation": "nchw,cd->ndhw"}, 18),
    *(
        (name, [whole(2, 3)], {"keepdims": 0}, 18)
        for name in ("ReduceMean", "ReduceMax", "ReduceMin", "ReduceL2", "ReduceL1")
    ),
    *((name, [whole(1)], {}, 18) for name in ("ReduceSum", "ReduceProd", "ReduceSumSquare", "ReduceLogSumExp")),
    ("ReduceMean", [], {"axes": [2, 3]}, 13),
    ("ReduceMean", [], {}, 18),
    ("Reshape", [whole(0, -1, 3)], {}, 18),
    ("Flatten", [], {}, 18),
    ("Flatten", [], {"axis": 2}, 18),
    ("Transpose", [], {"perm": [0, 2, 3, 1]}, 18),
    ("Unsqueeze", [whole(0, -1)], {}, 18),
    ("Concat", [values(2, 3, 7, 9)], {"axis": 1}, 18),
    ("Slice", [whole(0, 1), whole(2**62, 8), whole(2, 3), whole(2, 2)], {}, 18),
    ("Slice", [whole(-1), whole(-(2**62)), whole(3), whole(-2)], {}, 18),
    ("Slice", [], {"starts": [1], "ends": [3], "axes": [1]}, 9),
    ("Gather", [whole(1, -1)], {"axis": 1}, 18),
    ("Gather", [np.array(-1)], {"axis": 2}, 18),
    ("Expand", [whole(3, 1, 1, 1, 1)], {}, 18),
    ("Tile", [whole(1, 2, 1, 2)], {}, 18),
    *(("Pad", [whole(0, 0, 1, 2, 0, 0, 2, 1)], {"mode": mode}, 19) for mode in ("constant", "reflect", "edge", "wrap")),
    ("Pad", [whole(1, 2), np.float32(0.5), whole(-1)], {}, 18),
    ("DepthToSpace", [], {"blocksize": 2}, 18),
    ("DepthToSpace", [], {"blocksize": 2, "mode": "CRD"}, 18),
    ("Resize", ["", "", whole(2, 4, 14, 18)], {"mode": "linear"}, 18),
    ("Resize", ["", "", whole(2, 4, 5, 6)], {"mode": "linear", "coordinate_transformation_mode": "align_corners"}, 18),
    (
        "Resize",
        ["", np.array([1, 1, 2, 2], dtype=np.float32)],
        {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"},
        18,
    ),
    ("ArgMax", [], {"axis": 1, "keepdims": 0}, 18),
    ("CumSum", [np.array(3)], {"reverse": 1, "exclusive": 1}, 18),
    ("QuantizeLinear", [np.float32(0.05), np.uint8(128)], {}, 18),
]


@pytest.mark.parametrize(("op", "operands", "attributes", "opset"), CASES, ids=lambda value: str(value)[:20])
def test_an_operation_gives_what_the_runtime_gives(
    op: str, operands: list[Any], attributes: dict[str, Any], opset: int
) -> None:
    stored = {f"operand_{at}": np.asarray(value) for at, value in enumerate(operands) if not isinstance(value, str)}
    names = [value if isinstance(value, str) else f"operand_{at}" for at, value in enumerate(operands)]
    node = onnx.helper.make_node(op, ["image", *names], ["out"], **attributes)
    model = model_of([node], [("image", onnx.TensorProto.FLOAT, IMAGE.shape)], ["out"], stored, opset)
    wanted = answers(model, IMAGE)[0]
    with torch.inference_mode():
        got = read_program(model, "image")(torch.from_numpy(IMAGE.copy())).numpy()
    assert (got.dtype, got.shape) == (wanted.dtype, wanted.shape)
    np.testing.assert_allclose(got, wanted, rtol=1e-4, atol=1e-5)


def test_space_to_depth_gives_what_the_runtime_gives() -> None:
    node = onnx.helper.make_node("SpaceToDepth", ["image"], ["out"], blocksize=2)
    model = model_of([node], [("image", onnx.TensorProto.FLOAT, (1, 3, 4, 6))], ["out"])
    image = values(1, 3, 4, 6)
    np.testing.assert_array_equal(
        read_program(model, "image")(torch.from_numpy(image)).numpy(), answers(model, image)[0]
    )


def test_sizes_computed_on_the_way_and_several_outputs_are_followed() -> None:
    make = onnx.helper.make_node
    nodes = [
        make("Shape", ["image"], ["shape"]),
        make("Gather", ["shape", "zero"], ["batch"]),
        make("Concat", ["batch", "rest"], ["target"], axis=0),
        make("Reshape", ["image", "target"], ["flat"]),
        make("Split", ["flat"], ["left", "right"], axis=1, num_outputs=2),
        make("TopK", ["left", "two"], ["largest", "places"]),
        make("Cast", ["places"], ["as_float"], to=onnx.TensorProto.FLOAT),
        make("Add", ["largest", "as_float"], ["sum"]),
        make("ReduceMax", ["right", "one"], ["most"]),
        make("Where", ["yes", "sum", "most"], ["out"]),
    ]
    stored = {"zero": whole(0), "rest": whole(-1), "two": whole(2), "one": whole(1), "yes": np.array([[True, False]])}
    model = model_of(nodes, [("image", onnx.TensorProto.FLOAT, ("n", 4, 7, 9))], ["out"], stored)
    got = read_program(model, "image")(torch.from_numpy(IMAGE.copy())).numpy()
    np.testing.assert_allclose(got, answers(model, IMAGE)[0], rtol=1e-5)


def test_rounding_to_whole_numbers_and_back_gives_what_the_runtime_gives() -> None:
    make = onnx.helper.make_node
    nodes = [
        make("QuantizeLinear", ["image", "scale", "zero"], ["small"], axis=1),
        make("DequantizeLinear", ["small", "scale", "zero"], ["out"], axis=1),
    ]
    stored = {"scale": np.array([0.1, 0.05, 0.02, 0.01], dtype=np.float32), "zero": np.zeros(4, dtype=np.int8)}
    model = model_of(nodes, [("image", onnx.TensorProto.FLOAT, IMAGE.shape)], ["out"], stored)
    with torch.inference_mode():
        got = read_program(model, "image")(torch.from_numpy(IMAGE.copy())).numpy()
    np.testing.assert_allclose(got, answers(model, IMAGE)[0], atol=1e-6)


def test_an_operation_that_is_not_in_the_table_is_named() -> None:
    with pytest.raises(Unreadable, match=r"operation com\.x\.Fancy \(node odd\)"):
        OnnxNode(onnx.helper.make_node("Fancy", ["a"], ["b"], name="odd", domain="com.x"), 18, {})
