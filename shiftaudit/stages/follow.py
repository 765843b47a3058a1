"""Follow what comes from the image through a forward pass: where the values of every tensor lie, and how far apart.

A stage's own stride is what a call says of itself; the stride of its input is read off the places of the tensor, so that it
holds whatever has happened on the way. A map that has become coarser than the stages before it account for was made so by
something that is no watched call: it is noted too, for no shift may be called harmless that such a step does not keep.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor, nn
from torch.utils.weak import WeakTensorKeyDictionary

from shiftaudit.stages import ops
from shiftaudit.stages.calls import Call, CallRecorder, running_modules, tensors_in
from shiftaudit.stages.carry import carried
from shiftaudit.stages.ops import OpCall, Pair
from shiftaudit.stages.places import Places, grid

_LAYERS = {
    "linear": -1, "layer_norm": -1, "native_layer_norm": -1, "batch_norm": 1, "native_batch_norm": 1, "group_norm": 1,
    "conv1d": 1, "conv3d": 1, "adaptive_avg_pool1d": 1, "rms_norm": -1, "_linear_pointwise": -1,
}  # fmt: skip
"""Calls that read a map as it is, and their axis of channels."""
_MEANS = ("mean", "sum", "amax")
_SAME = 0.02
_COARSER = 1.4


@dataclass(frozen=True)
class Taken:
    """What strided slicing has taken of `base` so far: the step along each axis."""

    base: Tensor
    first: Call
    last: Call
    steps: dict[int, int]
    calls: tuple[tuple[int, int], ...]
    """(index, axis) of each slice with a step."""

    @property
    def axes(self) -> tuple[int, int]:
        """Of the rows and the columns."""
        return (1, 2) if sorted(self.steps) == [1, 2] else (2, 3)

    @property
    def layer(self) -> Pair:
        """The step, (y, x)."""
        return float(self.steps.get(self.axes[0], 1)), float(self.steps.get(self.axes[1], 1))


@dataclass
class Trail:
    """What is known of one tensor that comes from the network's input."""

    places: Places | None = None
    """Where in the image its values lie; None where a call lost them."""
    slot: tuple[int, int] | None = None
    """Its slot, and how often its memory had been written then."""
    unpadded: tuple[Tensor, Call] | None = None
    """What it was before the call that padded it."""
    taken: Taken | None = None
    """Slices that nothing but slicing has read yet."""
    whole_of: Tensor | None = None
    """The map of which it is a slice that leaves nothing out; exported programs write `x[:, :, ::2]` with two of them."""


@dataclass(frozen=True)
class Unseen:
    """A map found smaller than the stages before it account for."""

    module: str
    """The qualified name of the one that reads it first; empty where hooks do not work."""
    is_window: bool
    """Whether that module makes it smaller itself, with windows over another number of axes than two."""
    layer_stride: Pair
    stride: Pair


class Follower(CallRecorder):
    """A watched pass in which tensors know where in the image they lie.

    What does not come from the tensor given to `following` is recorded and not followed.
    """

    def __init__(self, parameters: dict[int, str]) -> None:
        super().__init__(parameters)
        self.unseen: list[Unseen] = []
        self.largest_bytes = 0
        self._image = (1, 1)
        self._trails = WeakTensorKeyDictionary()
        self._writes: dict[int, int] = {}

    @contextmanager
    def following(self, example: Tensor, module: nn.Module) -> Iterator[Tensor]:
        """Watch what runs inside; it is to run on the copy of the network's input that is handed over."""
        marked = example.clone()
        self._image = (marked.shape[-2], marked.shape[-1])
        self._trail(marked).places = grid(marked, 2, 3)
        with running_modules(self.running, module), self:
            yield marked

    def _trail(self, tensor: Tensor) -> Trail:
        trail: Trail = self._trails.setdefault(tensor, Trail())
        return trail

    def _hand_on(self, call: OpCall, inputs: list[Tensor], out: Any) -> bool:
        """Give the outputs their places, and return whether an input comes from the image."""
        followed = any(tensor in self._trails for tensor in inputs)
        if call.func._schema.is_mutable and inputs:
            memory = inputs[0].untyped_storage().data_ptr()
            self._writes[memory] = self._writes.get(memory, 0) + 1
        if followed:
            for tensor, places in zip(tensors_in(out), carried(call, out, self._places), strict=True):
                self._trail(tensor).places = places
            self._settle_behind(call, ops.output_of(out))
        result = ops.output_of(out)
        if result is not None and result.dim() > 1 and not result.is_mkldnn:
            self.largest_bytes = max(self.largest_bytes, result.nbytes // max(1, len(result)))
        return followed

    # --- strides, from places ---

    def _places(self, tensor: Tensor) -> Places | None:
        trail: Trail | None = self._trails.get(tensor)
        return trail.places if trail is not None else None

    def _stride(self, tensor: Tensor, axes: tuple[int, int]) -> Pair | None:
        """Input pixels per pixel of a map with these axes of rows and columns, (y, x); None where it is no map."""
        trail = self._trails.get(tensor)
        if trail is None:
            return None
        if trail.places is None and max(tensor.shape[axis] for axis in axes) > 1:
            # A call that hides what it does: a map that covers the image evenly is the best guess.
            height, width = (tensor.shape[axis] for axis in axes)
            trail.places = grid(tensor, *axes, (self._image[0] / height, self._image[1] / width))
        return self._settle(tensor, next(axis for axis in (1, 2, 3) if axis not in axes))

    def _settle_for(self, call: OpCall) -> None:
        """Look at the map that a layer of another kind reads, in case it was made smaller by what is no watched call."""
        name = call.func._schema.name.partition("::")[2]
        source = call.source
        if source is None or source.dim() < 3:
            return
        if name in _LAYERS:
            self._settle(source, _LAYERS[name])
        elif name in _MEANS and isinstance(dims := call.bound.get("dim"), list):
            # The head of a network: a mean over all rows and columns, or over all tokens.
            channels = set(range(1, source.dim())) - {dim % source.dim() for dim in dims}
            if len(channels) == 1:
                self._settle(source, channels.pop())

    def _settle_behind(self, call: OpCall, out: Tensor | None) -> None:
        """Look at the map that a convolution or pool over one or three axes has made."""
        name = call.func._schema.name.partition("::")[2]
        if out is not None and out.dim() in (3, 5) and ("conv" in name or "pool" in name):
            self._settle(out, 1, is_window=True)

    def _settle(self, tensor: Tensor, channels: int, *, is_window: bool = False) -> Pair | None:
        """The distance of neighbours in a map, (y, x); a step in it that no watched call has made is noted."""
        trail: Trail | None = self._trails.get(tensor)
        if trail is None or trail.places is None:
            return None
        known, seen = trail.places.step, trail.places.spacing(channels)
        if known is None or seen == (None, None):
            return None
        stride = (_settled(known[0], seen[0]), _settled(known[1], seen[1]))
        if stride == known:
            return known
        trail.places = replace(trail.places, step=stride)
        layer = (stride[0] / known[0], stride[1] / known[1])
        step = Unseen(self.running[-1] if self.running else "", is_window, layer, stride)
        # A network that does so in every block is told so once.
        if (
            max(layer) > _COARSER
            and None not in seen
            and not any(replace(step, module=one.module) == one for one in self.unseen)
        ):
            self.unseen.append(step)
        return stride

    def _account(self, tensor: Tensor, stride: Pair) -> None:
        """Note that a stage has given a tensor this stride."""
        trail = self._trail(tensor)
        if trail.places is not None:
            trail.places = replace(trail.places, step=stride)


def _settled(known: float, seen: float | None) -> float:
    """The distance that was seen, unless it is the known one but for rounding, or there are no neighbours to see it by."""
    return known if seen is None or abs(seen / known - 1) < _SAME else seen
