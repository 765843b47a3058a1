"""Run an fx graph once and write down the ATen calls that each of its nodes makes.

Under `inference_mode` a dispatch mode sees calls before they are decomposed: `conv2d`, `batch_norm`, `layer_norm`. So one table
serves modules, functions, methods and exported programs alike. Tensors are told apart by identity, within one node at a time:
a node's inputs have the names that its arguments have in the graph. (By identity alone, what an in-place ReLU returns and what
it read would be one value, since they are one tensor.)
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, fx

from shiftaudit.stages.calls import tensors_in
from shiftaudit.stages.mode import Mode
from shiftaudit.stages.ops import OpCall
from shiftaudit.surgery.blurpool import BlurPool
from shiftaudit.surgery.fx.nodes import computed_arguments, layer_of, size_read, values_alone
from shiftaudit.surgery.graph import COMPUTED, SIZE, Call, Layer, Shape, Stored, Value


class Recording:
    """The calls of one run, and what is known of the values they pass on."""

    def __init__(self, module: fx.GraphModule) -> None:
        self.module = module
        self.calls: list[Call] = []
        self.shapes: dict[Value, Shape] = {}
        self.stored: dict[Value, Stored] = {}
        self.nodes: dict[Value, fx.Node] = {}
        """The first node whose result the value is; values inside a node have none."""
        self.of_node: dict[fx.Node, list[Value]] = {}
        """The tensors among a node's results."""
        self.quantised = False
        self._held: dict[int, Value] = {}
        self._count = 0
        # Of the node that is running.
        self._node: fx.Node = next(iter(module.graph.nodes))
        self._layer: Layer | None = None
        self._first = 0
        self._names: dict[int, Value] = {}
        self._alive: list[Tensor] = []
        for name, tensor in module.named_buffers():
            self._hold(tensor, Stored(name, learned=False))
        for name, parameter in module.named_parameters():
            self._hold(parameter, Stored(name, learned=True))

    def run(self, example: Tensor) -> Any:
        """The output for the example (N, C, H, W)."""
        with torch.inference_mode():
            return _Runner(self).run(example)

    def begin(self, node: fx.Node, given: list[Tensor]) -> None:
        """From now on calls belong to `node`; `given` are the tensors its arguments hold."""
        names = [value for argument in node.all_input_nodes for value in self.of_node.get(argument, ())]
        self._names = {id(tensor): value for tensor, value in zip(given, names, strict=True)}
        self._alive = list(given)
        self._layer = layer_of(node, self.module)
        self._node = node
        self._first = len(self.calls)

    def call(self, func: Any, args: Any, kwargs: Any, out: Any) -> None:
        """Note one ATen call."""
        name = func._schema.name.partition("::")[2]
        in_place = name.endswith("_") and not name.endswith("__")
        bound = OpCall(0, name, func, args, kwargs).bound
        tensors = {key: self._value(value) for key, value in bound.items() if isinstance(value, Tensor)}
        numbers = {key: value for key, value in bound.items() if key not in tensors}
        if self._node.op == "call_function":
            of_run = computed_arguments(self._node, list(bound), lambda node: bool(self.of_node.get(node)))
            numbers |= dict.fromkeys(of_run & set(numbers), COMPUTED)
        reads = tuple(map(self._value, tensors_in((args, kwargs))))
        outs = tuple(map(self._new, tensors_in(out)))
        call = Call(
            name.removesuffix("_") if in_place else name, self._node, reads, outs, tensors, numbers, in_place,
            layer=self._layer, in_blur=self._layer is not None and self._layer.kind == BlurPool.__name__,
        )  # fmt: skip
        self.calls.append(call)

    def result(self, node: fx.Node, result: Any) -> None:
        """Note what a node put out."""
        values = list(map(self._value, tensors_in(result)))
        self.of_node[node] = values
        if isinstance(result, Tensor):
            self.nodes.setdefault(values[0], node)
        elif not values_alone(node):
            own = self.calls[self._first :]
            self.calls[self._first :] = [replace(call, indices_used=len(call.outs) > 1) for call in own]
        dims = size_read(node)
        if dims is not None and (read := self.of_node.get(node.all_input_nodes[0])):
            rank = len(self.shapes[read[0]])
            used = None if dims == "all" else tuple(dim % rank for dim in dims)
            self.calls.append(Call(SIZE, node, (read[0],), (), {"self": read[0]}, {"dims": used}))
        elif node.op == "output":
            self.calls.append(Call("", node, tuple(values), ()))

    def _value(self, tensor: Tensor) -> Value:
        self.quantised = self.quantised or tensor.is_quantized
        known = self._names.get(id(tensor), self._held.get(id(tensor)))
        if known is not None:
            return known
        value = self._new(tensor)
        if self._node.op != "placeholder":  # a tensor that the code holds: a constant
            self.stored[value] = Stored(None, learned=False)
        return value

    def _new(self, tensor: Tensor) -> Value:
        self._count += 1
        self.shapes[self._count] = tuple(tensor.shape)
        self._names[id(tensor)] = self._count
        self._alive.append(tensor)  # so that no other tensor takes its id
        return self._count

    def _hold(self, tensor: Tensor, stored: Stored) -> None:
        value = self._new(tensor)
        self.stored[value] = stored
        self._held[id(tensor)] = value


class _Seen(Mode):
    def __init__(self, recording: Recording) -> None:
        super().__init__()
        self.recording = recording

    def handle(self, func: Any, args: Any, kwargs: Any) -> Any:
        out = func(*args, **kwargs)
        self.recording.call(func, args, kwargs, out)
        return out


class _Runner(fx.Interpreter):
    def __init__(self, recording: Recording) -> None:
        super().__init__(recording.module)
        self.recording = recording

    def run_node(self, n: fx.Node) -> Any:
        self.recording.begin(n, tensors_in([self.env[argument] for argument in n.all_input_nodes]))
        with _Seen(self.recording):
            result = super().run_node(n)
        self.recording.result(n, result)
        return result
