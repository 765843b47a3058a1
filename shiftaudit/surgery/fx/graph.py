"""The torch.fx graph of an eager or exported module, as the surgery sees it."""

from __future__ import annotations

import copy
import re
from typing import Any, Literal

import torch
from torch import Tensor, fx, nn

from shiftaudit.errors import PatchError, first_line
from shiftaudit.records.patch import Backend
from shiftaudit.stages.calls import tensors_in
from shiftaudit.stages.names import held, holds_weight, label, owner_of
from shiftaudit.stages.ops import CONV
from shiftaudit.surgery.fx.lost import lost
from shiftaudit.surgery.fx.nodes import source_of
from shiftaudit.surgery.fx.record import Recording
from shiftaudit.surgery.fx.trace import NotFollowedError, eval_mode, fixed_arguments, has_own_code, trace
from shiftaudit.surgery.graph import Call, Graph, NewLayer, Shape, Size, Stored, Uses, Value, computed
from shiftaudit.surgery.tails import find_tail

_ONE_STEP = "it is part of a step that cannot be changed here: save the model with torch.jit.script and patch the file"
_OWN_CODE = "its stride is fixed in code"
_OWN_KERNEL = "its layer has code of its own"
_EVAL_ONLY = ("dropout", "batch_norm", "feature_dropout")


class FxGraph(Graph):
    """A copy of `module`, traced and run once on `example` (N, C, H, W) in eval mode; `module` is untouched.

    Raises:
        PatchError: the module does not run, or computes with quantised tensors.
        NotFollowedError: it cannot be traced.
    """

    backend: Backend = "fx"
    copy: fx.GraphModule

    def __init__(self, module: nn.Module, example: Tensor) -> None:
        self.original = module
        self.example = example
        self._read(frozenset())
        opened = frozenset() if isinstance(module, fx.GraphModule) else self._with_a_tail()
        if opened:
            whole = dict(self.__dict__)
            try:
                self._read(opened)
            except NotFollowedError:
                self.__dict__ = whole
        self.names = {child: name for name, child in self.copy.named_modules()}
        self.notes = self._notes()

    def _read(self, opened: frozenset[str]) -> None:
        """Trace the original, with a look inside these modules too, and run the copy once."""
        module, example = self.original, self.example
        self.copy, expected = trace(module, example, opened)
        with eval_mode(self.copy):
            self.recording = Recording(self.copy)
            try:
                self.output = self.recording.run(example)
            except Exception as error:
                raise NotFollowedError(
                    f"the traced model does not run on an input of shape {tuple(example.shape)}: {first_line(error)}"
                ) from error
        if self.recording.quantised:
            raise PatchError(
                "the model computes with quantised tensors and cannot be patched", hint="patch the float model"
            )
        # fx cannot see a Python branch that asks for a value's type.
        if expected is not None and not alike(self.output, expected):
            raise NotFollowedError("torch.fx recorded another computation than the model's")
        self.calls = self.recording.calls

    def _with_a_tail(self) -> frozenset[str]:
        """Modules, one step of the graph each, that begin with the norm or activation of a strided convolution before them."""
        uses = Uses(self.calls)
        strided = [call for call in self.calls if "conv" in call.name and _is_strided(call)]
        going_on = [
            find_tail(call.outs[0], self, uses).inside for call in strided if self.shape(call.outs[0]) is not None
        ]
        return frozenset(
            str(call.node.target) for call in going_on if call is not None and call.node.op == "call_module"
        )

    def shape(self, value: Value) -> Shape | None:
        return self.recording.shapes.get(value)

    def stored(self, value: Value) -> Stored | None:
        return self.recording.stored.get(value)

    def name(self, call: Call, op: str) -> str:
        weight = self.stored(call.tensors["weight"]) if op == CONV else None
        if weight is not None and weight.name is not None:
            return str(call.node.target) if call.node.op == "call_module" else owner_of(weight.name) or op
        if call.layer is None:
            return op
        computed = op == CONV and holds_weight(self.copy, call.layer.path)
        return label(call.layer.path, op, computed or not call.layer.own_code)

    def class_name(self, call: Call, stored: Stored) -> str:
        return "" if call.layer is None else call.layer.kind

    def shares_stride(self, call: Call) -> str | None:
        layer = self._layer(call)
        return self.names[layer] if isinstance(layer, nn.Conv2d) else None

    def why_fixed(self, call: Call) -> str | None:
        layer = self._layer(call)
        if isinstance(layer, nn.Conv2d):
            return _OWN_CODE if has_own_code(layer) else None
        alone = sum(other.node is call.node for other in self.calls) == 1
        return None if alone else _ONE_STEP

    def can_insert_after(self, value: Value) -> bool:
        return value in self.recording.nodes

    def insert_before(self, calls: Any, new: NewLayer) -> None:
        first = calls[0].node
        name = self._add(new)
        with self.copy.graph.inserting_before(first):
            node = self.copy.graph.call_module(name, (source_of(first),))
        for reader in dict.fromkeys(call.node for call in calls):
            reader.replace_input_with(source_of(reader), node)

    def insert_after(self, value: Value, new: NewLayer) -> None:
        before = self.recording.nodes[value]
        with self.copy.graph.inserting_after(before):
            node = self.copy.graph.call_module(self._add(new), (before,))
        before.replace_all_uses_with(node, delete_user_cb=lambda user: user is not node)

    def set_argument(self, call: Call, name: Literal["stride", "padding"], value: Size) -> None:
        node, layer = call.node, self._layer(call)
        if layer is None:
            at = (*call.tensors, *call.numbers).index(name)
            if at < len(node.args):
                node.update_arg(at, list(value))
            else:
                node.update_kwarg(name, list(value))
            return
        if not isinstance(layer, nn.Conv2d) and self._is_shared(node, layer):
            layer = copy.deepcopy(layer)
            node.target = self._add(NewLayer(layer, "dense", str(node.target)))
        setattr(layer, name, value)

    def why_kernel_fixed(self, call: Call) -> str | None:
        layer = self._layer(call)
        plain = isinstance(layer, nn.Conv2d) and not has_own_code(layer)
        return None if layer is None or plain else _OWN_KERNEL

    def set_kernel(self, call: Call, weight: Tensor, padding: Size | None) -> None:
        super().set_kernel(call, weight, padding)
        layer = self._layer(call)
        if isinstance(layer, nn.Conv2d):
            layer.kernel_size = (weight.shape[2], weight.shape[3])

    def replace(self, call: Call, new: NewLayer) -> None:
        graph, node, result = self.copy.graph, call.node, self.recording.nodes[call.outs[0]]
        with graph.inserting_after(node):
            replacement = graph.call_module(self._add(new), (source_of(node),))
        result.replace_all_uses_with(replacement)
        for unread in (*node.users, node):
            graph.erase_node(unread)

    def finish(self) -> fx.GraphModule:
        self.copy.graph.lint()
        self.copy.recompile()
        with torch.no_grad(), eval_mode(self.copy):
            self.check_shape(self.copy(self.example))
        return self.copy

    def _layer(self, call: Call) -> nn.Module | None:
        return self.copy.get_submodule(str(call.node.target)) if call.node.op == "call_module" else None

    def _is_shared(self, node: fx.Node, layer: nn.Module) -> bool:
        calls = [other for other in self.copy.graph.nodes if other.op == "call_module" and other is not node]
        return any(self.copy.get_submodule(str(other.target)) is layer for other in calls)

    def _add(self, new: NewLayer) -> str:
        """Add `blur_NAME` beside the module of the site."""
        path = ".".join(part for part in re.split("[./]", new.site.replace("@", "_")) if part)
        parent, _, leaf = path.rpartition(".")
        name = f"{parent}.{new.role}_{leaf}" if parent else f"{new.role}_{leaf}"
        while held(self.copy, name) is not None:  # the network may have an attribute of this name
            name += "_"
        weight = next((p for p in self.copy.parameters() if p.is_floating_point()), None)
        layer = new.layer if weight is None else new.layer.to(device=weight.device, dtype=weight.dtype)
        self.copy.add_submodule(name, layer.train(self.copy.training))
        return name

    def _notes(self) -> tuple[str, ...]:
        """What the traced copy does differently from the original when it is trained."""
        notes = []
        fixed = fixed_arguments(self.original)
        if fixed:
            values = ", ".join(f"{name}={value!r}" for name, value in fixed.items())
            notes.append(f"the copy takes the image alone: its forward was recorded for {values}")
        exported = isinstance(self.original, fx.GraphModule)
        if any(call.name in _EVAL_ONLY and call.node.op != "call_module" for call in self.calls):
            what = "the exported program stays" if exported else "functional dropout and batch-norm stay"
            notes.append(f"{what} in eval mode: training the copy trains weights alone")
        notes += () if exported else lost(self.original, self.copy)
        unused = _unused(self.copy)
        if unused and not exported:
            names = ", ".join(sorted(unused)[:4])
            notes.append(f"branches that run in training only ({names}) are kept in the state dict but no longer run")
        return tuple(notes)


def _is_strided(call: Call) -> bool:
    stride = call.numbers.get("stride")
    return isinstance(stride, (list, tuple)) and not computed(stride) and max(stride, default=1) > 1


def alike(got: Any, expected: Any) -> bool:
    """Whether two outputs hold the same tensors, in number, shape, type and values, but for rounding; NaN is what NaN is."""
    ours, theirs = tensors_in(got), tensors_in(expected)
    return len(ours) == len(theirs) and all(
        (a.shape, a.dtype) == (b.shape, b.dtype) and torch.allclose(a, b, rtol=1e-3, atol=1e-4, equal_nan=True)
        for a, b in zip(ours, theirs, strict=True)
    )


def _unused(module: fx.GraphModule) -> set[str]:
    """Top-level modules with parameters that no node of the graph calls or reads."""
    called = {str(node.target) for node in module.graph.nodes if node.op in ("call_module", "get_attr")}
    used = {name.partition(".")[0] for name in called}
    return {n for n, child in module.named_children() if n not in used and any(True for _ in child.parameters())}
