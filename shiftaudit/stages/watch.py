"""Watch a forward pass: which operations make feature maps smaller, and which tensors lie before and behind them.

A `TorchDispatchMode` sees every ATen call of eager modules, TorchScript and exported programs alike. The naive way reads module
types and their `stride` instead, and fails on all that is no module: Swin's patch merging is four slices and a concatenation,
Inception's pools are functions, a TorchScript file refuses Python hooks. Reading a call's own numbers is not enough either. Take
`x = relu_(conv(x))` behind a stride of 4, with a shortcut that reads x as well:
- the call knows its own stride, not that its input has one pixel for four of the image's. So every tensor gets a `_Trail` that
  calls hand on from their inputs to their outputs;
- the shortcut's input and the branch's are one tensor, to be measured once; the convolution's output and the shortcut's input are
  one piece of memory with two contents. So a tensor is known by itself and by how often its memory was written (`_Trail.slot`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, cast

from torch import Tensor, nn
from torch.utils.weak import WeakTensorKeyDictionary

from shiftaudit.records.words import OpName
from shiftaudit.stages import ops
from shiftaudit.stages.calls import Call, CallRecorder, running_modules, tensors_in
from shiftaudit.stages.ops import OpCall, Pair

_AT_A_POINT = "reduces the map to 1×1, where equivariance and invariance are one"


@dataclass(frozen=True)
class Slot:
    """One tensor to measure: the input or the output of the watched call with this index."""

    call: int
    is_output: bool
    kind: str
    """The call's kind, checked again on every pass."""
    shape: tuple[int, ...]
    """(C, H, W), or (H, W, C) when `channels_last_axis`."""
    stride: Pair
    channels_last_axis: bool

    @property
    def size(self) -> tuple[int, int]:
        """(H, W)."""
        return (self.shape[0], self.shape[1]) if self.channels_last_axis else (self.shape[1], self.shape[2])

    @property
    def channels(self) -> int:
        return self.shape[2] if self.channels_last_axis else self.shape[0]


@dataclass(frozen=True)
class Sampler:
    """A call that keeps every n-th value."""

    index: int
    kind: str
    axis: int | None = None
    """Of a slice: whether it skips rows (0) or columns (1)."""


@dataclass(frozen=True)
class Found:
    """A call that is a stage, and the slots of its input and output."""

    call: Call
    op: OpName
    layer_stride: Pair
    input_slot: int
    output_slot: int
    samplers: tuple[Sampler, ...]


@dataclass(frozen=True)
class _Taken:
    """What strided slicing has taken of `base` so far: the step along each axis."""

    base: Tensor
    first: Call
    last: Call
    steps: dict[int, int]
    calls: tuple[tuple[int, int], ...]
    """(index, axis) of each slice with a step."""


@dataclass
class _Trail:
    """What is known of one tensor that comes from the network's input."""

    stride: Pair | None = None
    """Input pixels per pixel of the map; None where there is no grid."""
    slot: tuple[int, int] | None = None
    """Its slot, and how often its memory had been written then."""
    unpadded: tuple[Tensor, Call] | None = None
    """What it was before the call that padded it."""
    taken: _Taken | None = None
    """Slices that nothing but slicing has read yet."""
    whole_of: Tensor | None = None
    """The map of which it is a slice that leaves nothing out; exported programs write `x[:, :, ::2]` with two of them."""


@dataclass(frozen=True)
class _Output:
    """A watched call that has run, as its handler sees it."""

    op: OpCall
    call: Call
    tensor: Tensor
    stride: Pair
    """Of the inputs."""


class StageWatcher(CallRecorder):
    """One watched forward pass: afterwards `calls`, `slots`, `found` and `skipped` tell what was seen.

    What does not come from the tensor given to `follow` is recorded and not followed.
    """

    def __init__(self, parameters: dict[int, str]) -> None:
        super().__init__(parameters)
        self.slots: list[Slot] = []
        self.found: list[Found] = []
        self.skipped: list[tuple[Call, OpName, str]] = []
        self.largest_bytes = 0
        self._trails = WeakTensorKeyDictionary()
        self._writes: dict[int, int] = {}

    @contextmanager
    def following(self, example: Tensor, module: nn.Module) -> Iterator[Tensor]:
        """Watch what runs inside; it is to run on the copy of the network's input that is handed over."""
        marked = example.clone()
        self._trail(marked).stride = (1.0, 1.0)
        with running_modules(self.running, module), self:
            yield marked

    def on_other(self, func: Any, args: Any, kwargs: Any) -> Any:
        inputs = tensors_in((args, kwargs))
        out = func(*args, **kwargs)
        self._hand_on(func, inputs, out)
        result = ops.output_of(out)
        if result is not None:
            self._end_slices(inputs, None, result)
        return out

    def on_call(self, call: OpCall) -> Any:
        inputs = tensors_in((call.args, call.kwargs))
        seen, out = self.record(call)
        stride = self._hand_on(call.func, inputs, out)
        result = ops.output_of(out)
        if result is None:
            return out
        if stride is not None:
            _HANDLERS[call.kind](self, _Output(call, seen, result, stride))
        if call.kind != ops.SLICE:
            self._end_slices(inputs, seen, result)
        return out

    def _trail(self, tensor: Tensor) -> _Trail:
        trail: _Trail = self._trails.setdefault(tensor, _Trail())
        return trail

    def _hand_on(self, func: Any, inputs: list[Tensor], out: Any) -> Pair | None:
        """Give the outputs the largest stride among the inputs, and return it."""
        strides = [trail.stride for tensor in inputs if (trail := self._trails.get(tensor)) and trail.stride]
        stride = max(strides, key=lambda pair: pair[0] * pair[1], default=None)
        if func._schema.is_mutable and inputs:
            memory = inputs[0].untyped_storage().data_ptr()
            self._writes[memory] = self._writes.get(memory, 0) + 1
        for tensor in tensors_in(out):
            if stride is not None:
                self._trail(tensor).stride = stride
        result = ops.output_of(out)
        if result is not None and result.dim() > 1 and not result.is_mkldnn:
            self.largest_bytes = max(self.largest_bytes, result.nbytes // max(1, len(result)))
        return stride

    # --- handlers, by kind of call ---

    def _pad(self, out: _Output) -> None:
        """What was padded on purpose (TensorFlow's "same", a blur's reflection) is compared as it was without: a frame of
        repeated or empty rows does not move with the image."""
        self._trail(out.tensor).unpadded = (out.op.args[0], out.call)

    def _concatenate(self, out: _Output) -> None:
        """Joins maps of one size; where it joins slices, `_end_slices` sees it."""

    def _reduce(self, out: _Output) -> None:
        """Convolutions, pools and interpolations: a stage where the map gets smaller and stays a map."""
        op, source = out.op, out.op.source
        found = ops.reduction(op, out.tensor)
        if source is None or found is None or found.layer_stride == (1.0, 1.0):
            return
        layer = found.layer_stride
        total = (out.stride[0] * layer[0], out.stride[1] * layer[1])
        # A squeezed map has no grid left. Were its stride handed on, a squeeze-and-excitation gate would claim the whole map.
        self._trail(out.tensor).stride = None if found.to_point else total
        if max(layer) <= 1:
            return
        at_input = out.stride == (1.0, 1.0)
        name = cast(OpName, op.kind)  # the helpers, which are no stages, leave a map as large as it was
        if at_input and ops.is_patch_embedding(op, layer):
            name = ops.PATCH_EMBEDDING
        if found.to_point:
            if op.kind in (ops.CONV, ops.MAX_POOL):
                self.skipped.append((out.call, name, _AT_A_POINT))
            return
        unpadded, reader = self._trail(source).unpadded or (source, out.call)
        before = self._slot(unpadded, reader, False, out.stride, False)
        after = self._slot(out.tensor, out.call, True, total, False)
        self.found.append(Found(out.call, name, layer, before, after, (Sampler(out.call.index, op.kind),)))

    def _take(self, out: _Output) -> None:
        """Slices: note the steps, and wait for whoever reads the last of them."""
        op = out.op
        if not op.is_slice:
            self._reduce(out)
            return
        source: Tensor = op.args[0]
        axis, step = op.slice_step
        earlier, whole = self._trail(source).taken, self._trail(source).whole_of
        whole = source if whole is None else whole
        if out.tensor.shape == source.shape:
            self._trail(out.tensor).whole_of = whole
        if source.dim() == 4 and step > 1 and axis > 0 and out.tensor.shape[axis] < source.shape[axis]:
            earlier = earlier or _Taken(whole, out.call, out.call, {}, ())
            calls = (*earlier.calls, (out.call.index, axis))
            earlier = replace(earlier, last=out.call, steps={**earlier.steps, axis: step}, calls=calls)
        self._trail(out.tensor).taken = earlier if source.dim() == 4 else None

    # --- the alignment of slices ---
    #
    # One stage may be several slices. The naive way makes every slice with a step a stage; then Swin's patch merging,
    # `cat([x[:, ::2, ::2], x[:, 1::2, ::2], x[:, ::2, 1::2], x[:, 1::2, 1::2]], -1)`, is six or eight stages of stride 2 along
    # one axis, where together they keep every value and have one stride of (2, 2). So slices only note their steps, and the first
    # call that is no slice ends them: all that it reads from one base is one stage. Its output is the whole where the slices are
    # joined, and the map at the phase of the last slice where a single one is read.

    def _end_slices(self, inputs: list[Tensor], call: Call | None, out: Tensor) -> None:
        """Make one stage of the strided slices among the inputs of a call that is no slice."""
        read = []
        for tensor in inputs:
            trail = self._trails.get(tensor)
            if trail is not None and trail.taken is not None:
                read.append(trail.taken)
                trail.taken = None
        read = [taken for taken in read if sorted(taken.steps) in ([1, 2], [2, 3], [2], [3])]
        if not read or any(taken.base is not read[0].base for taken in read):
            return
        one = read[0]
        before = self._trail(one.base).stride
        if before is None:
            return
        nhwc = sorted(one.steps) == [1, 2]
        axes = (1, 2) if nhwc else (2, 3)
        layer = (float(one.steps.get(axes[0], 1)), float(one.steps.get(axes[1], 1)))
        total = (before[0] * layer[0], before[1] * layer[1])
        self._trail(out).stride = total
        source = self._slot(one.base, one.first, False, before, nhwc)
        if call is not None and call.kind == ops.CONCATENATE:
            result = self._slot(out, call, True, total, nhwc)
        else:
            shape = list(one.base.shape[1:])
            for axis in axes:
                shape[axis - 1] = -(-shape[axis - 1] // one.steps.get(axis, 1))
            result = self._add(Slot(one.last.index, True, ops.SLICE, tuple(shape), total, nhwc))
        calls = sorted({call for taken in read for call in taken.calls})
        samplers = tuple(Sampler(index, ops.SLICE, axes.index(axis)) for index, axis in calls)
        self.found.append(Found(one.first, ops.SLICE, layer, source, result, samplers))

    def _slot(self, tensor: Tensor, call: Call, is_output: bool, stride: Pair, nhwc: bool) -> int:
        """The slot of a tensor: the one it has, unless its memory was written since, or a new one."""
        trail, writes = self._trail(tensor), self._writes.get(tensor.untyped_storage().data_ptr(), 0)
        if trail.slot is None or trail.slot[1] != writes:
            trail.slot = (
                self._add(Slot(call.index, is_output, call.kind, tuple(tensor.shape[1:]), stride, nhwc)),
                writes,
            )
        return trail.slot[0]

    def _add(self, slot: Slot) -> int:
        self.slots.append(slot)
        return len(self.slots) - 1


_HANDLERS: dict[str, Callable[[StageWatcher, _Output], None]] = {
    **dict.fromkeys(ops.KINDS.values(), StageWatcher._reduce),
    ops.SLICE: StageWatcher._take,
    ops.CONCATENATE: StageWatcher._concatenate,
    ops.PAD: StageWatcher._pad,
}
