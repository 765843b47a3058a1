"""Watch a forward pass: which operations make feature maps smaller, and which tensors lie before and behind them.

A `TorchDispatchMode` sees every ATen call of eager modules, TorchScript and exported programs alike. The naive way reads module
types and their `stride` instead, and fails on all that is no module: Swin's patch merging is four slices and a concatenation,
Inception's pools are functions, a TorchScript file refuses Python hooks. Reading a call's own numbers is not enough either. Take
`x = relu_(conv(x))` behind a stride of 4, with a shortcut that reads x as well:
- the call knows its own stride, not that its input has one pixel for four of the image's. So every tensor has its places in the
  image (`shiftaudit.stages.places`), which calls hand on from their inputs to their outputs;
- the shortcut's input and the branch's are one tensor, to be measured once; the convolution's output and the shortcut's input are
  one piece of memory with two contents. So a tensor is known by itself and by how often its memory was written (`Trail.slot`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, cast

from torch import Tensor

from shiftaudit.records.words import OpName
from shiftaudit.stages import ops
from shiftaudit.stages.calls import Call, tensors_in
from shiftaudit.stages.follow import Follower, Taken
from shiftaudit.stages.ops import OpCall, Pair
from shiftaudit.stages.slots import FoundStage, Sampler, Slot

_AT_A_POINT = "reduces the map to 1×1, where equivariance and invariance are one"
_IN_WINDOWS = "works inside windows that are stacked in the batch, where the map is not one to compare"


@dataclass(frozen=True)
class _Output:
    """A watched call that has run, as its handler sees it."""

    op: OpCall
    call: Call
    tensor: Tensor


class StageWatcher(Follower):
    """One watched forward pass: afterwards `calls`, `slots`, `found` and `skipped` tell what was seen.

    What does not come from the tensor given to `follow` is recorded and not followed.
    """

    def __init__(self, parameters: dict[int, str]) -> None:
        super().__init__(parameters)
        self.slots: list[Slot] = []
        self.found: list[tuple[Call, FoundStage]] = []
        self.skipped: list[tuple[Call, OpName, str]] = []
        self.strides_skipped: list[Pair] = []

    def on_other(self, func: Any, args: Any, kwargs: Any) -> Any:
        call = OpCall(-1, "", func, args, kwargs)
        inputs = tensors_in((args, kwargs))
        ended = self._end_slices(inputs)
        self._settle_for(call)
        out = call.run()
        self._hand_on(call, inputs, out)
        if ended is not None:
            self._add_slices(ended, None, ops.output_of(out))
        return out

    def on_call(self, call: OpCall) -> Any:
        inputs = tensors_in((call.args, call.kwargs))
        ended = None if call.is_slice else self._end_slices(inputs)
        seen, out = self.record(call)
        is_followed = self._hand_on(call, inputs, out)
        result = ops.output_of(out)
        if result is not None and is_followed:
            _HANDLERS[call.kind](self, _Output(call, seen, result))
        if ended is not None:
            self._add_slices(ended, seen, result)
        return out

    # --- handlers, by kind of call ---

    def _pad(self, out: _Output) -> None:
        """What was padded on purpose (TensorFlow's "same", a blur's reflection) is compared as it was without: a frame of
        repeated or empty rows does not move with the image."""
        self._trail(out.tensor).unpadded = (out.op.args[0], out.call)

    def _concatenate(self, out: _Output) -> None:
        """Joins maps of one size; where it joins slices, `_add_slices` sees it."""

    def _reduce(self, out: _Output) -> None:
        """Convolutions, pools and interpolations: a stage where the map gets smaller and stays a map."""
        op, source = out.op, out.op.source
        found = ops.reduction(op, out.tensor)
        stride = self._stride(source, (2, 3)) if source is not None and source.dim() == 4 else None
        if source is None or found is None or stride is None or found.layer_stride == (1.0, 1.0):
            return
        layer = found.layer_stride
        total = _times(stride, layer)
        self._account(out.tensor, total)
        if max(layer) <= 1:
            return
        at_input = stride == (1.0, 1.0)
        name = cast(OpName, op.kind)  # the helpers, which are no stages, leave a map as large as it was
        if at_input and ops.is_patch_embedding(op, layer):
            name = ops.PATCH_EMBEDDING
        if found.to_point:
            if op.kind in (ops.CONV, ops.MAX_POOL):
                self.skipped.append((out.call, name, _AT_A_POINT))
            return
        places = self._places(source)
        if places is not None and places.is_stacked:
            self.skipped.append((out.call, name, _IN_WINDOWS))
            self.strides_skipped.append(total)
            return
        unpadded, reader = self._trail(source).unpadded or (source, out.call)
        before = self._slot(unpadded, reader, False, stride, False)
        after = self._slot(out.tensor, out.call, True, total, False)
        samplers = (Sampler(out.call.index, op.kind),)
        self.found.append((out.call, FoundStage("", name, layer, before, after, samplers, out.call.low_pass)))

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
            earlier = earlier or Taken(whole, out.call, out.call, {}, ())
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

    def _end_slices(self, inputs: list[Tensor]) -> list[Taken] | None:
        """The strided slices of one map among the inputs of a call that is no slice, from now on at their own stride."""
        sliced = []
        for tensor in inputs:
            trail = self._trails.get(tensor)
            if trail is not None and trail.taken is not None:
                sliced.append((tensor, trail.taken))
                trail.taken = None
        sliced = [(tensor, taken) for tensor, taken in sliced if sorted(taken.steps) in ([1, 2], [2, 3], [2], [3])]
        if not sliced or any(taken.base is not sliced[0][1].base for _, taken in sliced):
            return None
        one = sliced[0][1]
        places = self._places(one.base)
        # Rotary embeddings take every second channel of their tokens: what is sliced there is no map's rows or columns.
        if places is not None and not places.lies_on(*one.axes):
            return None
        before = self._stride(one.base, one.axes)
        if before is None:
            return None
        for tensor, taken in sliced:
            self._account(tensor, _times(before, taken.layer))
        return [taken for _, taken in sliced]

    def _add_slices(self, read: list[Taken], call: Call | None, out: Tensor | None) -> None:
        """Make one stage of the strided slices that a call has read."""
        one = read[0]
        before = self._stride(one.base, one.axes)
        if before is None or out is None:
            return
        nhwc, layer = one.axes == (1, 2), one.layer
        total = _times(before, layer)
        source = self._slot(one.base, one.first, False, before, nhwc)
        if call is not None and call.kind == ops.CONCATENATE:
            result = self._slot(out, call, True, total, nhwc)
        else:
            shape = list(one.base.shape[1:])
            for axis in one.axes:
                shape[axis - 1] = -(-shape[axis - 1] // one.steps.get(axis, 1))
            result = self._add(Slot(one.last.index, True, ops.SLICE, tuple(shape), total, nhwc))
        calls = sorted({call for taken in read for call in taken.calls})
        samplers = tuple(Sampler(index, ops.SLICE, one.axes.index(axis)) for index, axis in calls)
        self.found.append((one.first, FoundStage("", ops.SLICE, layer, source, result, samplers)))

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


def _times(stride: Pair, layer: Pair) -> Pair:
    return stride[0] * layer[0], stride[1] * layer[1]


_HANDLERS: dict[str, Callable[[StageWatcher, _Output], None]] = {
    **dict.fromkeys(ops.KINDS.values(), StageWatcher._reduce),
    ops.SLICE: StageWatcher._take,
    ops.CONCATENATE: StageWatcher._concatenate,
    ops.PAD: StageWatcher._pad,
}
