"""What the copy is to reproduce: the original's answers, and the features handed from layer to layer.

A *tap* is the input of a convolution or linear layer, named by that layer. Eager modules are watched by hooks.
TorchScript modules refuse hooks, so a copy of their graph returns the tapped tensors beside the answer; it runs on the
same parameters, hence gradients reach them. Exported programs have no layers, so their graph is run step by step.
The tapped tensors carry gradients in all cases.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, fx, nn

from shiftaudit.errors import ModelError
from shiftaudit.stages.names import is_exported
from shiftaudit.surgery.torchscript.flatten import attribute_path, straight_graph

_WEIGHT = ".weight"
_OPS = ("conv1d", "conv2d", "conv3d", "convolution", "_convolution", "linear", "addmm")
_EAGER_LAYERS = (nn.modules.conv._ConvNd, nn.Linear)

Select = Callable[[Any, int], Tensor]
"""The logits among whatever the model's forward returned for a batch of that size: `LoadedModel.logits_of`."""


class Tapped(Protocol):
    """A network that returns its logits and the tensors at the chosen taps."""

    @property
    def names(self) -> tuple[str, ...]:
        """All taps there are, in the order of the definition."""

    def run(self, x: Tensor, taps: Sequence[str]) -> tuple[Tensor, list[Tensor | None]]:
        """Logits (N, classes) and one tensor per tap, None where the layer did not run."""


def tapped(module: nn.Module, select: Select) -> Tapped:
    """Watch a module, whichever way it is stored."""
    if isinstance(module, torch.jit.ScriptModule):
        return _ScriptTaps(module, select)
    return _GraphTaps(module, select) if is_exported(module) else _EagerTaps(module, select)


class _EagerTaps:
    def __init__(self, module: nn.Module, select: Select) -> None:
        self._module = module
        self._select = select
        self._layers = {name: layer for name, layer in module.named_modules() if isinstance(layer, _EAGER_LAYERS)}
        self.names = tuple(self._layers)

    def run(self, x: Tensor, taps: Sequence[str]) -> tuple[Tensor, list[Tensor | None]]:
        seen: dict[str, Tensor] = {}

        def watch(name: str) -> Any:
            def hook(_layer: nn.Module, inputs: tuple[Any, ...]) -> None:
                seen.setdefault(name, inputs[0])  # the first call of a layer that is used twice

            return self._layers[name].register_forward_pre_hook(hook)

        with contextlib.ExitStack() as watched:
            for name in taps:
                watched.enter_context(watch(name))
            logits = self._select(self._module(x), len(x))
        return logits, [seen.get(name) for name in taps]


class _GraphTaps:
    def __init__(self, module: fx.GraphModule, select: Select) -> None:
        self._module = module
        self._select = select
        steps = [node for node in module.graph.nodes if isinstance(node.target, torch._ops.OpOverload)]
        self._sources = _read_by_layers(((node.target._opname, node.args) for node in steps), _held_name)
        self.names = tuple(self._sources)

    def run(self, x: Tensor, taps: Sequence[str]) -> tuple[Tensor, list[Tensor | None]]:
        steps = _Steps(self._module, {self._sources[name] for name in taps})
        logits = self._select(steps.run(x), len(x))
        return logits, [steps.seen.get(self._sources[name]) for name in taps]


def _read_by_layers(steps: Iterable[tuple[str, Sequence[Any]]], name_of: Callable[[Any], str]) -> dict[str, Any]:
    """What each convolution or linear layer reads, by the layer's name, in the order of execution.

    Args:
        steps: operations without their namespace, and operands.
        name_of: what an operand is called in the state dict; "" where it is computed.
    """
    found: dict[str, Any] = {}
    for op, operands in steps:
        if op in _OPS:
            first = 1 if op == "addmm" else 0
            name = name_of(operands[first + 1])
            if name.endswith(_WEIGHT):
                found.setdefault(name.removesuffix(_WEIGHT), operands[first])
    return found


class _Steps(fx.Interpreter):
    """Runs a graph and keeps what some of its steps give."""

    def __init__(self, module: fx.GraphModule, kept: set[fx.Node]) -> None:
        super().__init__(module)
        self.kept = kept
        self.seen: dict[fx.Node, Tensor] = {}

    def run_node(self, n: fx.Node) -> Any:
        result = super().run_node(n)
        if n in self.kept:
            self.seen[n] = result
        return result


def _held_name(value: Any) -> str:
    while isinstance(value, fx.Node) and value.op == "call_function" and value.target is torch.ops.aten.t.default:
        value = value.args[0]
    return str(value.target) if isinstance(value, fx.Node) and value.op == "get_attr" else ""


class _ScriptTaps:
    def __init__(self, module: torch.jit.ScriptModule, select: Select) -> None:
        self._module = module
        self._select = select
        self._functions: dict[tuple[str, ...], Any] = {}
        self.names = tuple(_script_taps(straight_graph(module)))

    def run(self, x: Tensor, taps: Sequence[str]) -> tuple[Tensor, list[Tensor | None]]:
        key = tuple(taps)
        if key not in self._functions:
            self._functions[key] = _function_with_taps(straight_graph(self._module), key)
        # Unoptimised: the profiling executor would specialise the graph for every new batch shape.
        with torch.jit.optimized_execution(False):  # type: ignore[attr-defined]
            output, *tensors = self._functions[key](self._module._c, x)
        return self._select(output, len(x)), tensors


def _script_taps(graph: Any) -> dict[str, Any]:
    """What `_read_by_layers` finds in the top block alone.

    Layers inside loops, and inside branches that an image decides, are left out: what they read does not exist outside.
    """
    steps = ((node.kind().removeprefix("aten::"), list(node.inputs())) for node in graph.nodes())
    return _read_by_layers(steps, _held_path)


def _held_path(value: Any) -> str:
    while (node := value.node()).kind() == "aten::t":
        value = next(node.inputs())
    return attribute_path(value)


def _function_with_taps(graph: Any, taps: tuple[str, ...]) -> Any:
    """A function of the graph that returns (output, *tapped tensors)."""
    values = _script_taps(graph)
    output = next(graph.outputs())
    returned = graph.create("prim::TupleConstruct", [output, *(values[name] for name in taps)], 1)
    graph.appendNode(returned)
    types = [output.type(), *([torch._C.TensorType.get()] * len(taps))]
    returned.output().setType(torch._C.TupleType(types))
    graph.eraseOutput(0)
    graph.registerOutput(returned.output())
    graph.lint()
    return torch._C._create_function_from_graph("tapped", graph)


@dataclass(frozen=True)
class TapChoice:
    """The taps to match, by level: maps of one height and width belong together and share one weight."""

    names: tuple[str, ...]
    levels: tuple[tuple[int, ...], ...]
    """Indices into `names`, one tuple a level."""


def choose_taps(student: Tapped, teacher: Tapped, example: Tensor) -> TapChoice:
    """The taps at which the copy differs from its original for want of training, and which are cheap to compare.

    Those have one shape in both networks, and the filters of the copy (at full strength) change what arrives there. Of
    each level the narrow ones are taken, less than twice as wide as the narrowest, and none between
    maps of half its width: wide maps are made from narrow ones by one layer, and cost several times as much to compare.
    (The second rule is for wide maps that were padded first, and so have a level to themselves.)

    Raises:
        ModelError: the filters change nothing that both networks compute.
    """
    common = [name for name in student.names if name in set(teacher.names)]
    with torch.no_grad():
        _, ours = student.run(example, common)
        _, theirs = teacher.run(example, common)
    levels: dict[tuple[int, ...], list[tuple[str, int]]] = {}
    seen: set[int] = set()
    bulges = _bulges({name: b for name, b in zip(common, theirs, strict=True) if b is not None and b.dim() == 4})
    for name, a, b in zip(common, ours, theirs, strict=True):
        if a is None or b is None or a.shape != b.shape or a.dim() < 2 or b.data_ptr() in seen:
            continue
        if name in bulges:
            continue
        seen.add(b.data_ptr())
        if not torch.allclose(a, b, rtol=1e-3, atol=1e-6):
            levels.setdefault(tuple(a.shape[2:]), []).append((name, a.shape[1]))
    names: list[str] = []
    groups: list[tuple[int, ...]] = []
    for taps in levels.values():
        narrowest = min(width for _, width in taps)
        chosen = [name for name, width in taps if width < 2 * narrowest]
        groups.append(tuple(range(len(names), len(names) + len(chosen))))
        names += chosen
    if not names:
        raise ModelError(
            "the patched model and its original share no layer whose input the filters change",
            hint="--teacher must be the very model that was patched",
        )
    return TapChoice(tuple(names), tuple(groups))


def _bulges(maps: dict[str, Tensor]) -> set[str]:
    """Names of maps (N, C, H, W) between maps of half their channels or fewer, at most two places before and after."""
    widths = [tensor.shape[1] for tensor in maps.values()]
    return {
        name
        for index, name in enumerate(maps)
        if 2 * min(widths[max(0, index - 2) : index], default=widths[index]) <= widths[index]
        and 2 * min(widths[index + 1 : index + 3], default=widths[index]) <= widths[index]
    }
