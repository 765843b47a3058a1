"""Does a copy compute the same in ONNX Runtime?"""

from __future__ import annotations

import warnings
from operator import getitem

import numpy as np
import torch
from torch import Tensor, fx, nn
from torch.utils._pytree import tree_leaves, tree_map

from shiftaudit.errors import PatchError, first_line, from_extra
from shiftaudit.models.onnx.runtime import OnnxRunner
from shiftaudit.surgery.refit.tape import Step, Tape, record
from shiftaudit.surgery.refit.values import Parameter, Value

TOLERANCE = 1e-3
"""Largest difference that counts as the same, as a share of the largest output."""


def check_onnx(module: nn.Module, example: Tensor) -> float:
    """Export `module` to ONNX, run it, and compare: the largest difference, as a share of the largest output.

    Args:
        example: (N, C, H, W).

    Raises:
        PatchError: the extra is not installed, the module cannot be exported, or it computes something else there.
    """
    with from_extra("onnx", "ONNX Runtime", PatchError):
        import onnxruntime  # noqa: F401
        import onnxscript  # noqa: F401
    try:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")
            eager = _recorded(module, example) if isinstance(module, torch.jit.ScriptModule) else module
            program = torch.onnx.export(eager, (example,), dynamo=True, verbose=False)
        assert program is not None
        runner = OnnxRunner(program.model_proto.SerializeToString())
        # Of a second input too: a branch that was taken for the first one is all that the exported network knows.
        inputs = example, -example
        got = np.stack([tree_leaves(runner.run(x.numpy()))[0] for x in inputs])
    except Exception as error:
        raise PatchError(f"the copy cannot be exported to ONNX: {first_line(error)}") from error
    with torch.no_grad():
        expected = np.stack([tree_leaves(module(x))[0].numpy() for x in inputs])
    difference = float(np.abs(got - expected).max() / max(float(np.abs(expected).max()), 1e-12))
    if not difference <= TOLERANCE:
        raise PatchError(
            f"in ONNX Runtime the copy computes something else: it differs by {difference:.1e} of the largest output"
        )
    return difference


def _recorded(module: torch.jit.ScriptModule, example: Tensor) -> fx.GraphModule:
    """What a TorchScript module computes for inputs of this size, for the exporter, which takes no TorchScript.

    The module's first output tensor alone is returned.
    """
    tape = record(module.eval(), example)
    root, graph = nn.Module(), fx.Graph()
    nodes = {0: graph.placeholder("x")}
    for step in tape.steps:
        _add(step, tape, root, graph, nodes)
    with torch.no_grad():
        output = tree_leaves(module(example))[0]
    graph.output(nodes[next(n for n in reversed(nodes) if n not in tape.users and tape.shapes[n] == output.shape)])
    return fx.GraphModule(root, graph)


def _add(step: Step, tape: Tape, root: nn.Module, graph: fx.Graph, nodes: dict[int, fx.Node]) -> None:
    """One step as a node; what it reads of the network becomes buffers of `root`."""
    if all(number is None for number in step.outputs):
        return  # a size: those are constants in a tape

    def argument(leaf: object) -> object:
        if isinstance(leaf, Value):
            return nodes[leaf.number]
        if isinstance(leaf, Parameter):
            whole = tape.parameters[leaf.name]
            leaf = whole.t() if leaf.transposed else whole
        if not isinstance(leaf, Tensor):
            return leaf
        name = f"held_{len(list(root.buffers()))}"
        root.register_buffer(name, leaf.detach().clone())
        return graph.get_attr(name)

    args, kwargs = tree_map(argument, (tuple(step.args), step.kwargs))
    func = step.func
    if (
        func is torch.ops.aten._convolution.default
    ):  # its last arguments are flags for cuDNN, and the exporter knows it not
        func, args = torch.ops.aten.convolution.default, args[:9]
    node = graph.call_function(func, args, kwargs)
    if len(step.outputs) == 1:
        nodes[step.outputs[0]] = node  # type: ignore[index]
        return
    for index, number in enumerate(step.outputs):
        if number is not None:
            nodes[number] = graph.call_function(getitem, (node, index))
