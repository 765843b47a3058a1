"""ONNX files for tests. Exporting takes a second or more, so each network is exported once a session in each way."""

from __future__ import annotations

import functools
import io
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
from torch import nn

EXPORTERS = ("dynamo", "torchscript")


@functools.cache
def exported(build: Callable[[], nn.Module], how: str, size: int = 16, half: bool = False) -> bytes:
    """The network that `build` makes, in eval mode, for batches of one image of this size."""
    module = build().eval()
    image = torch.zeros(1, 3, size, size)
    if half:
        module, image = module.half(), image.half()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if how == "dynamo":
            program = torch.onnx.export(module, (image,), dynamo=True, verbose=False)
            assert program is not None
            return program.model_proto.SerializeToString()
        buffer = io.BytesIO()
        torch.onnx.export(module, (image,), buffer, dynamo=False)
        return buffer.getvalue()


def saved(path: Path, data: bytes | onnx.ModelProto) -> Path:
    path.write_bytes(data if isinstance(data, bytes) else data.SerializeToString())
    return path


def answers(data: bytes | onnx.ModelProto, image: Any) -> list[Any]:
    """What ONNX Runtime gives for an image."""
    data = data if isinstance(data, bytes) else data.SerializeToString()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    return session.run(None, {session.get_inputs()[0].name: np.asarray(image)})


def model_of(
    nodes: Sequence[onnx.NodeProto],
    inputs: Sequence[Any],
    outputs: Sequence[str],
    stored: dict[str, np.ndarray] | None = None,
    opset: int = 18,
) -> onnx.ModelProto:
    """A model of these nodes; `inputs` are (name, element type, shape)."""
    graph = onnx.helper.make_graph(
        list(nodes),
        "tests",
        [onnx.helper.make_tensor_value_info(*value) for value in inputs],
        [onnx.helper.make_empty_tensor_value_info(name) for name in outputs],
        [onnx.numpy_helper.from_array(value, name) for name, value in (stored or {}).items()],
    )
    for output in graph.output:
        output.type.tensor_type.elem_type = onnx.TensorProto.UNDEFINED
    versions = {"": opset} | {node.domain: 1 for node in nodes if node.domain}
    imports = [onnx.helper.make_opsetid(domain, version) for domain, version in versions.items()]
    model = onnx.helper.make_model(graph, opset_imports=imports, ir_version=10)
    model = onnx.shape_inference.infer_shapes(model)
    for output in model.graph.output:
        if not output.type.tensor_type.elem_type:  # behind an operation that is not ONNX's own
            output.type.tensor_type.elem_type = onnx.TensorProto.FLOAT
    return model
