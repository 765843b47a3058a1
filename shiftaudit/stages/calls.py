"""The watched calls of a running network, numbered and written down.

A `TorchDispatchMode` sees every ATen call of eager modules, TorchScript and exported programs alike, so one numbering serves
them all: `shiftaudit.stages.watch` finds stages by it, `shiftaudit.stages.measure` looks at the same calls again.
A subclass of `CallWatcher` may hand back another tensor for one call: return it from `on_call`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_hook, register_module_forward_pre_hook
from torch.utils._pytree import tree_leaves

from shiftaudit.stages import ops
from shiftaudit.stages.mode import Mode
from shiftaudit.stages.ops import OpCall


@dataclass(frozen=True)
class Call:
    """What was seen of one watched call."""

    index: int
    kind: str
    modules: tuple[str, ...]
    """Qualified names of the modules it ran in, the outermost first; empty where hooks do not work."""
    weight: str | None
    """Qualified name of a convolution's weight."""
    low_pass: bool
    """A convolution with a fixed smoothing filter."""
    shrinks: bool
    """It makes a map smaller, as a patch looks for it (`ops.shrinks`)."""
    is_listed: bool
    """Graphs list it too: no helper, and no slice that skips nothing."""


class CallWatcher(Mode):
    """Numbers the calls of the kinds in `ops.KINDS` as they run; whoever looks at one of them overrides `on_call`."""

    def __init__(self) -> None:
        super().__init__()
        self.n_calls = 0

    def handle(self, func: Any, args: Any, kwargs: Any) -> Any:
        kind = ops.kind_of(func)
        if kind is None:
            return self.on_other(func, _as_tensors(func, args), kwargs)
        call = OpCall(self.n_calls, kind, func, args, kwargs)
        self.n_calls += 1
        return self.on_call(call)

    def on_call(self, call: OpCall) -> Any:
        """Run a watched call; what is returned is what the network goes on with."""
        return call.run()

    def on_other(self, func: Any, args: Any, kwargs: Any) -> Any:
        """Run a call of another kind."""
        return func(*args, **kwargs)


def _as_tensors(func: Any, args: Any) -> Any:
    """The arguments of a call, with tensors for the numbers where it takes tensors alone.

    TorchScript compares and reads the constants of a network (`aten::equal`, `aten::item`) before its first run. Those that were
    Python's numbers when the network was traced come as numbers here, which these calls do not take.
    """
    if (
        not args
        or any(type(value) not in _NUMBERS for value in args)
        or func._schema.arguments[0].type.kind() != "TensorType"
    ):
        return args
    return tuple(map(torch.tensor, args))


_NUMBERS = (bool, int, float)


class CallRecorder(CallWatcher):
    """Writes down every watched call.

    Args:
        parameters: the names of the network's tensors by their data pointer.
    """

    def __init__(self, parameters: dict[int, str]) -> None:
        super().__init__()
        self.calls: list[Call] = []
        self.running: list[str] = []
        self._parameters = parameters

    def on_call(self, call: OpCall) -> Any:
        return self.record(call)[1]

    def record(self, call: OpCall) -> tuple[Call, Any]:
        """What was seen of a call, and what it returned."""
        weight = call.weight
        out = call.run()
        result = ops.output_of(out)
        seen = Call(
            index=call.index,
            kind=call.kind,
            modules=tuple(self.running),
            weight=None if weight is None else self._held(weight),
            low_pass=weight is not None and ops.is_low_pass(weight),
            shrinks=result is not None and ops.shrinks(call, result),
            is_listed=call.kind not in ops.HELPERS and not (call.is_slice and call.slice_step[1] == 1),
        )
        self.calls.append(seen)
        return seen, out

    def _held(self, weight: Tensor) -> str | None:
        """The name of a weight that the network holds; one that was expanded for the call is computed, as graphs have it."""
        if weight.is_mkldnn or 0 in weight.stride():
            return None
        return self._parameters.get(weight.data_ptr())


@contextmanager
def record_calls(module: nn.Module) -> Iterator[list[Call]]:
    """The watched calls of whatever runs inside, in order, with the submodules of `module` they ran in."""
    recorder = CallRecorder(names_of(module))
    with running_modules(recorder.running, module), recorder:
        yield recorder.calls


def names_of(module: nn.Module) -> dict[int, str]:
    """Qualified names of a module's tensors by their data pointer; the first name of those that have several."""
    # Quantised layers keep types and packed weights there too, and sparse tensors have no one storage.
    values = [*module.state_dict(keep_vars=True).items(), *module.named_buffers()]
    return {
        value.data_ptr(): name
        for name, value in reversed(values)
        if isinstance(value, Tensor) and value.layout == torch.strided and value.numel()
    }


@contextmanager
def running_modules(stack: list[str], module: nn.Module) -> Iterator[None]:
    """Keep the qualified names of the running submodules on `stack`; hooks are removed whatever happens.

    The hooks are those of all modules, not of these: a layer that has hooks of its own is not folded for speed.
    """
    names = {
        child: name for name, child in module.named_modules() if name and not isinstance(child, torch.jit.ScriptModule)
    }

    def enter(child: nn.Module, _: Any) -> None:
        if child in names:
            stack.append(names[child])

    def leave(child: nn.Module, _args: Any, _out: Any) -> None:
        if child in names:
            stack.pop()

    with register_module_forward_pre_hook(enter), register_module_forward_hook(leave):
        yield


def tensors_in(tree: Any) -> list[Tensor]:
    """The tensors among nested arguments or outputs, in order."""
    return [leaf for leaf in tree_leaves(tree) if isinstance(leaf, Tensor)]
