"""One operation at another phase: the same windows, begun a few rows and columns further on, over a map that stays.

An operation of stride s keeps every s-th of the values it could compute. Which ones is its phase (py, px), in pixels
of its own input: `out[i] = f(window that begins at i·s + p)`. At phase (0, 0) that is the operation itself. Windows that reach
past a border see the map continued as the operation pads it: zeros for a convolution, the border row for a maximum (the
same as −∞ wherever a window holds one row of the map), the counting rules of average pooling, and what an explicit padding
operation just before did. Where nothing is padded, the map begins anew at the other side, as under a circular shift.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from shiftaudit.stages import ops
from shiftaudit.stages.ops import OpCall, pair

Phase = tuple[int, int]
"""(py, px) in pixels of the operation's input, negative for further up or left; (0, 0) is what the network does."""


@dataclass(frozen=True)
class Border:
    """How a map goes on past its borders, and where the padded map begins.

    `before` and `after` are (y, x) rows and columns, negative where a pad cuts some off.
    """

    before: tuple[int, int] = (0, 0)
    after: tuple[int, int] = (0, 0)
    mode: str = "circular"
    """`circular`, `reflect`, `replicate` or `constant`."""
    value: float = 0.0


def window(source: Tensor, border: Border, begin: Phase, size: tuple[int, int]) -> Tensor:
    """`size` rows and columns of the map continued past its borders, from `begin` rows behind the padded map's corner on.

    >>> window(torch.arange(4.0).view(1, 1, 1, 4), Border((0, 1), (0, 1), "reflect"), (0, 1), (1, 5)).flatten().tolist()
    [0.0, 1.0, 2.0, 3.0, 2.0]
    """
    first = [start - before for start, before in zip(begin, border.before, strict=True)]
    if border.mode == "constant":
        edges = [(-top, top + length - n) for top, length, n in zip(first, size, source.shape[-2:], strict=True)]
        return F.pad(source, (*edges[1], *edges[0]), value=border.value)
    for axis, top, length in zip((-2, -1), first, size, strict=True):
        n = source.shape[axis]
        if (top, length) != (0, n):
            places = _places(torch.arange(top, top + length, device=source.device), n, border.mode)
            source = source.index_select(axis, places)
    return source


def _places(places: Tensor, length: int, mode: str) -> Tensor:
    """Where each place of an endless axis lies in the map of `length` rows it is made of."""
    if mode == "circular":
        return places % length
    if mode == "replicate" or length == 1:
        return places.clamp(0, length - 1)
    period = 2 * (length - 1)
    folded = places % period
    return torch.minimum(folded, period - folded)


def pad_border(call: OpCall) -> Border | None:
    """What an explicit padding call does to a 4-D map; None where it also pads batch or channels."""
    bound = call.bound
    mode = {"aten::reflection_pad2d": "reflect", "aten::replication_pad2d": "replicate"}.get(call.func._schema.name)
    mode = mode or str(bound.get("mode") or "constant")
    widths = [int(width) for width in bound["pad" if "pad" in bound else "padding"]]
    if any(widths[4:]) or len(widths) < 2:
        return None
    left, right, top, bottom = (*widths[:4], *([0] * (4 - len(widths[:4]))))
    return Border((top, left), (bottom, right), mode, float(bound.get("value") or 0.0))


@dataclass(frozen=True)
class Sampling:
    """Which rows of a batch to sample anew, and where."""

    rows: Sequence[int]
    phase: Phase
    axis: int | None = None
    """Of a slice, which strides along one axis alone: 0 for rows, 1 for columns."""
    padded: tuple[Tensor, Border] | None = None
    """The map before an explicit padding call whose result the operation reads, and what that call did."""
    wrapped: bool = False
    """The operation pads circularly, whatever it does by itself."""

    def take(self, source: Tensor) -> Tensor:
        """The rows of a batch that are asked for."""
        return source[list(self.rows)]


def resampled(call: OpCall, size: tuple[int, int], at: Sampling) -> Tensor:
    """What a call would have returned at another phase, for the rows of its batch that are asked for.

    Args:
        call: the call.
        size: of what it returns, (rows, columns).
        at: the rows, the phase, and how the input was padded before.

    Raises:
        NotImplementedError: there is no rule for this operation.
    """
    if call.kind in _ROLLED or "downscale_factor" in call.bound:
        return _rolled(call, at)
    if call.kind in _WINDOWED:
        return _WINDOWED[call.kind](call, _Sliding.of(call, size), at)
    raise NotImplementedError(f"{call.func._schema.name} has no rule for another phase")


def wraps(call: OpCall, size: tuple[int, int]) -> bool:
    """Whether a call would compute something else if it padded circularly: its windows reach past the border of a map."""
    source = call.source
    if call.kind not in _WINDOWED or source is None or source.dim() != 4 or call.bound.get("transposed"):
        return False
    return not source.is_mkldnn and _Sliding.of(call, size).pads(source)


def padded_circularly(call: OpCall, border: Border, size: tuple[int, int]) -> tuple[Tensor, Border]:
    """What an explicit padding call would return if it padded circularly, and what it then does to its map."""
    border = replace(border, mode="circular")
    return window(call.args[0], border, (0, 0), size), border


# --- operations that cut the map into parts ------------------------------------------------------------------------------

_ROLLED = frozenset({ops.SLICE, ops.ADAPTIVE_AVG_POOL, ops.ADAPTIVE_MAX_POOL, ops.INTERPOLATE})


def _rolled(call: OpCall, at: Sampling) -> Tensor:
    """Nothing is padded, so the map is rolled under the parts."""
    source = at.take(_source(call))
    if at.axis is None:
        moved = source.roll((-at.phase[0], -at.phase[1]), (-2, -1))
    else:
        moved = source.roll(-at.phase[at.axis], call.slice_step[0])
    return _again(call, moved)


# --- operations that slide a window --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Sliding:
    """The geometry of a convolution or pool, (y, x) each."""

    covered: tuple[int, int]
    """Rows and columns that all windows together cover."""
    own: tuple[int, int]
    """What the operation pads by itself, on each side."""

    @classmethod
    def of(cls, call: OpCall, size: tuple[int, int]) -> _Sliding:
        bound, weight = call.bound, call.weight
        kernel = tuple(weight.shape[-2:]) if weight is not None else pair(bound["kernel_size"])
        stride = pair(bound.get("stride") or kernel)
        dilation = pair(bound.get("dilation") or 1)
        padding = bound.get("padding", 0)
        if isinstance(padding, str):
            own = pair([d * (k - 1) // 2 if padding == "same" else 0 for d, k in zip(dilation, kernel, strict=True)])
        else:
            own = pair(padding)
        covered = tuple(
            (n - 1) * s + d * (k - 1) + 1 for n, s, d, k in zip(size, stride, dilation, kernel, strict=True)
        )
        return cls((covered[0], covered[1]), own)

    def pads(self, source: Tensor) -> bool:
        """Whether windows reach past the map's border."""
        overhangs = any(c > n + 2 * p for c, n, p in zip(self.covered, source.shape[-2:], self.own, strict=True))
        return any(self.own) or overhangs

    def cut(self, source: Tensor, at: Sampling, mode: str) -> Tensor:
        """The rows and columns under the windows; `mode` is how the operation pads by itself."""
        mode = "circular" if at.wrapped else mode
        if self.pads(source):
            return window(at.take(source), Border(self.own, self.own, mode), at.phase, self.covered)
        before, border = at.padded or (source, Border())
        return window(at.take(before), border, at.phase, self.covered)


def _convolve(call: OpCall, sliding: _Sliding, at: Sampling) -> Tensor:
    padding = "valid" if isinstance(call.bound["padding"], str) else [0, 0]
    return _again(call, sliding.cut(_source(call), at, "constant"), padding=padding)


def _maximum(call: OpCall, sliding: _Sliding, at: Sampling) -> Tensor:
    return _again(call, sliding.cut(_source(call), at, "replicate"), padding=[0, 0], ceil_mode=False)


def _average(call: OpCall, sliding: _Sliding, at: Sampling) -> Tensor:
    """Sums over the windows, divided by how many of their places count."""
    source, bound = _source(call), call.bound
    kernel = pair(bound["kernel_size"])
    stride = pair(bound["stride"] or kernel)
    area = kernel[0] * kernel[1]
    sums = F.avg_pool2d(sliding.cut(source, at, "constant"), kernel, stride, divisor_override=1)
    if bound["divisor_override"]:
        divided: Tensor = sums / bound["divisor_override"]
        return divided
    if at.wrapped or not sliding.pads(source):
        return sums / area
    counted = source.new_ones(1, 1, *source.shape[-2:])
    (top, left), (down, right) = sliding.own, at.phase
    if bound["count_include_pad"]:
        # The padding that counts is as wide as the operation pads, and reaches to where the windows have moved.
        counted = F.pad(
            counted, (left + max(0, -right), left + max(0, right), top + max(0, -down), top + max(0, down)), value=1.0
        )
        top, left = max(0, down), max(0, right)
        begin = Border((0, 0), mode="constant"), (top, left)
    else:
        begin = Border((top, left), mode="constant"), at.phase
    count = F.avg_pool2d(window(counted, *begin, sliding.covered), kernel, stride, divisor_override=1)
    return sums / count.clamp_min(1)


_WINDOWED: dict[str, Callable[[OpCall, _Sliding, Sampling], Tensor]] = {
    ops.CONV: _convolve,
    ops.MAX_POOL: _maximum,
    ops.AVG_POOL: _average,
}


def _source(call: OpCall) -> Tensor:
    if call.source is None or call.source.is_mkldnn:
        raise NotImplementedError("its input is in a layout of its own")
    if call.source.is_quantized:
        raise NotImplementedError("it computes with quantised numbers")
    return call.source


def _again(call: OpCall, source: Tensor, **changed: Any) -> Tensor:
    """The call once more, with another input and other arguments."""
    bound = {**call.bound, **changed, next(iter(call.bound)): source}
    known = [argument for argument in call.func._schema.arguments if argument.name in bound]
    args = [bound[argument.name] for argument in known if not argument.kwarg_only]
    kwargs = {argument.name: bound[argument.name] for argument in known if argument.kwarg_only}
    out = ops.output_of(call.func(*args, **kwargs))
    if out is None:
        raise NotImplementedError(f"{call.func._schema.name} returned no tensor")
    return out
