"""Watch one forward pass: which operations make feature maps smaller, and which tensors lie before and behind them.

A `TorchDispatchMode` sees every ATen call of eager modules, TorchScript and exported programs alike. Two things are followed on
the way through the network:
- the cumulative stride of every tensor, as an attribute that each call hands on from its inputs to its outputs;
- which tensors are the same (a shortcut reads what the main branch reads), so that each is measured once.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from shiftaudit.stages import ops

_STRIDE = "_shiftaudit_stride"
_TOKEN = "_shiftaudit_token"


@dataclass(frozen=True)
class Slot:
    """One tensor to measure: the input or the output of the watched call with this index."""

    call: int
    is_output: bool
    kind: str
    """The call's kind, checked again on every pass."""
    shape: tuple[int, ...]
    """(C, H, W), or (H, W, C) when `channels_last_axis`."""
    stride: tuple[float, float]
    channels_last_axis: bool

    @property
    def size(self) -> tuple[int, int]:
        """(H, W)."""
        return (self.shape[0], self.shape[1]) if self.channels_last_axis else (self.shape[1], self.shape[2])

    @property
    def channels(self) -> int:
        return self.shape[2] if self.channels_last_axis else self.shape[0]


@dataclass
class Call:
    """A watched call that may turn out to be a stage."""

    index: int
    kind: str
    module: str
    weight: str | None
    strided: bool = True


@dataclass
class _Strided:
    """A tensor that strided slicing took from `base`; it is a stage once something other than slicing reads it."""

    base: Tensor
    first_call: Call
    last_call: Call
    steps: dict[int, int]


@dataclass
class Found:
    """A call that is a stage, and the slots of its input and output."""

    call: Call
    op: str
    layer_stride: tuple[float, float]
    input_slot: int
    output_slot: int


class Watcher(TorchDispatchMode):
    """One watched forward pass: afterwards `calls`, `slots`, `found` and `skipped` tell what was seen.

    Args:
        parameters: the names of the network's tensors by their data pointer.

    The input must be marked with `mark_input`; whatever does not come from it is not followed.
    """

    def __init__(self, parameters: dict[int, str]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.calls: list[Call] = []
        self.slots: list[Slot] = []
        self.found: list[Found] = []
        self.skipped: list[tuple[Call, str, str]] = []
        self.module_stack: list[str] = []
        self.largest_bytes = 0
        self._parameters = parameters
        self._epochs: dict[int, int] = {}
        self._strided: dict[int, _Strided] = {}
        self._pads: dict[int, tuple[Tensor, Call]] = {}
        self._keep: list[Tensor] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        inputs = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        stride = _largest_stride(inputs)
        kind = ops.KINDS.get(func._schema.name)
        call = self._register(kind, inputs) if kind else None
        consumed = [] if kind == ops.SLICE else self._consume(inputs)
        out = func(*args, **kwargs)
        if func._schema.is_mutable:
            self._note_write(args)
        for leaf in tree_leaves(out):
            if isinstance(leaf, Tensor) and stride is not None:
                setattr(leaf, _STRIDE, stride)
        result = ops.output_of(out)
        if result is None:
            return out
        if result.dim() > 1 and not result.is_mkldnn:
            self.largest_bytes = max(self.largest_bytes, result.nbytes // max(1, len(result)))
        if call is not None and func._schema.name == "aten::slice":
            call.strided = ops.slice_step(args, kwargs)[1] > 1
        if call is not None and call.kind == ops.PAD and stride is not None:
            self._pads[id(result)] = (args[0], call)
            self._keep.append(result)
        elif call is not None and stride is not None:
            if func._schema.name == "aten::slice":
                self._look_at_slice(call, args, kwargs, result)
            else:
                self._look(call, func, args, kwargs, result, stride)
        if consumed:
            self._finish_slices(consumed, call, result)
        return out

    def _register(self, kind: str, inputs: list[Tensor]) -> Call:
        has_weight = kind == ops.CONV and len(inputs) > 1 and not inputs[1].is_mkldnn
        weight = self._parameters.get(inputs[1].data_ptr()) if has_weight else None
        call = Call(len(self.calls), kind, self.module_stack[-1] if self.module_stack else "", weight)
        self.calls.append(call)
        return call

    def _look(self, call: Call, func: Any, args: Any, kwargs: Any, out: Tensor, stride: tuple[float, float]) -> None:
        source = ops.input_of(call.kind, args, kwargs)
        found = ops.reduction(call.kind, func, args, kwargs, out, at_input=stride == (1.0, 1.0))
        if source is None or found is None or found.layer_stride == (1.0, 1.0):
            return
        if found.to_point:
            # A squeezed map has no grid left. Were its stride handed on, a squeeze-and-excitation gate would claim the whole map.
            delattr(out, _STRIDE)
        else:
            total = (stride[0] * found.layer_stride[0], stride[1] * found.layer_stride[1])
            setattr(out, _STRIDE, total)
        if max(found.layer_stride) <= 1:
            return
        if found.to_point:
            if call.kind in (ops.CONV, ops.MAX_POOL):
                self.skipped.append(
                    (call, found.kind, "reduces the map to 1×1, where equivariance and invariance are one")
                )
            return
        # What was padded on purpose just before (TensorFlow's "same", a blur's reflection) is compared as it was without:
        # a frame of repeated or empty rows does not move with the picture.
        unpadded, reader = self._pads.get(id(source), (source, call))
        before = self._slot(unpadded, reader, False, stride, False)
        after = self._slot(out, call, True, total, False)
        self.found.append(Found(call, found.kind, found.layer_stride, before, after))

    def _look_at_slice(self, call: Call, args: Any, kwargs: Any, out: Tensor) -> None:
        source = args[0]
        dim, step = ops.slice_step(args, kwargs)
        if source.dim() != 4:
            return
        earlier = self._strided.get(id(source))
        if step > 1 and dim > 0 and out.shape[dim] < source.shape[dim]:
            steps = {**(earlier.steps if earlier else {}), dim: step}
            base, first = (earlier.base, earlier.first_call) if earlier else (source, call)
            self._strided[id(out)] = _Strided(base, first, call, steps)
            self._keep.append(out)
        elif earlier:
            self._strided[id(out)] = earlier
            self._keep.append(out)

    def _consume(self, inputs: list[Tensor]) -> list[_Strided]:
        taken = [self._strided.pop(id(tensor)) for tensor in inputs if id(tensor) in self._strided]
        return [item for item in taken if sorted(item.steps) in ([1, 2], [2, 3], [2], [3])]

    def _finish_slices(self, consumed: list[_Strided], call: Call | None, out: Tensor) -> None:
        """Strided slices that a call has read are one stage; Swin's patch merging concatenates four of them."""
        one = consumed[0]
        nhwc = sorted(one.steps) == [1, 2]
        axes = (1, 2) if nhwc else (2, 3)
        layer = (float(one.steps.get(axes[0], 1)), float(one.steps.get(axes[1], 1)))
        before = getattr(one.base, _STRIDE, None)
        if before is None or any(item.base is not one.base for item in consumed):
            return
        total = (before[0] * layer[0], before[1] * layer[1])
        setattr(out, _STRIDE, total)
        source = self._slot(one.base, one.first_call, False, before, nhwc)
        if call is not None and call.kind == ops.CONCATENATE:
            result = self._slot(out, call, True, total, nhwc)
        else:
            height, width = (-(-one.base.shape[axis] // int(step)) for axis, step in zip(axes, layer, strict=True))
            shape = (height, width, one.base.shape[3]) if nhwc else (one.base.shape[1], height, width)
            self.slots.append(Slot(one.last_call.index, True, ops.SLICE, shape, total, nhwc))
            result = len(self.slots) - 1
        self.found.append(Found(one.first_call, ops.SLICE, layer, source, result))

    def _slot(self, tensor: Tensor, call: Call, is_output: bool, stride: tuple[float, float], nhwc: bool) -> int:
        epoch = self._epochs.get(tensor.untyped_storage().data_ptr(), 0)
        known = getattr(tensor, _TOKEN, None)
        if known is not None and known[1] == epoch:
            return int(known[0])
        self.slots.append(Slot(call.index, is_output, call.kind, tuple(tensor.shape[1:]), stride, nhwc))
        setattr(tensor, _TOKEN, (len(self.slots) - 1, epoch))
        return len(self.slots) - 1

    def _note_write(self, args: Any) -> None:
        if args and isinstance(args[0], Tensor):
            pointer = args[0].untyped_storage().data_ptr()
            self._epochs[pointer] = self._epochs.get(pointer, 0) + 1


def _largest_stride(inputs: list[Tensor]) -> tuple[float, float] | None:
    strides = [stride for tensor in inputs if (stride := getattr(tensor, _STRIDE, None)) is not None]
    return max(strides, key=lambda s: s[0] * s[1]) if strides else None


def mark_input(example: Tensor) -> Tensor:
    """A copy of the network's input that a `Watcher` follows."""
    example = example.clone()
    setattr(example, _STRIDE, (1.0, 1.0))
    return example
