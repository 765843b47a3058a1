"""Carry places along with every call of a forward pass: what a call does to values, done to their coordinates.

Calls that move values about (views, permutations, slices, indices) are run on the two tensors of coordinates as well. Windows
take the coordinates of their middles, reductions the middle of what they are taken of, contractions those of the rows that they
keep, and what works on each value alone passes them on. A call of which nothing is known, and that changes the shape, loses them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from shiftaudit.stages.calls import tensors_in
from shiftaudit.stages.ops import RESHAPES, OpCall
from shiftaudit.stages.places import Places, core, expanded, mean, sampled

Known = Callable[[Tensor], Places | None]


def carried(call: OpCall, out: Any, known: Known) -> list[Places | None]:
    """The places of each tensor that a call returned, in order; None where they cannot be told.

    Args:
        call: the call, of any kind.
        known: the places of the tensors it read.
    """
    outs = tensors_in(out)
    name = call.func._schema.name.partition("::")[2].rstrip("_")
    rule = _RULES.get(name, _passed_on)
    try:
        found = list(rule(call, outs, known))
    except (RuntimeError, IndexError, TypeError, ValueError, KeyError, NotImplementedError):
        found = []  # a form of the call that the rule does not know
    found += [None] * (len(outs) - len(found))
    return [
        places if places and places.y.shape == one.shape else None for places, one in zip(found, outs, strict=False)
    ]


# --- rules, by call ---

Found = Iterator[Places | None]


def _passed_on(call: OpCall, outs: Sequence[Tensor], known: Known) -> Found:
    """What works on each value alone: the places of the largest input, of several as large the first that is no single point."""
    read = [places for tensor in tensors_in((call.args, call.kwargs)) if (places := known(tensor)) is not None]
    for out in outs:
        fitting = [places for places in read if _broadcasts(places.y.shape, out.shape)]
        largest = max((places.y.numel() for places in fitting), default=0)
        fitting = [places for places in fitting if places.y.numel() == largest]
        best = fitting[0] if len(fitting) == 1 else next((places for places in fitting if places.varies), None)
        yield expanded(best, out.shape) if best is not None else None


def _moved(call: OpCall, outs: Sequence[Tensor], known: Known) -> Found:
    """What moves values about does the same with their coordinates."""
    places = known(call.args[0])
    if places is None:
        return
    both = [call.func(values, *call.args[1:], **call.kwargs) for values in (places.y, places.x)]
    for y, x in zip(*map(tensors_in, both), strict=True):
        yield replace(places, y=y, x=x)


def _reshaped(call: OpCall, outs: Sequence[Tensor], known: Known) -> Found:
    places = known(call.args[0])
    yield places.each(lambda values: values.reshape(outs[0].shape)) if places else None


def _windowed(call: OpCall, outs: Sequence[Tensor], known: Known) -> Found:
    """Convolutions and pools: the middles of their windows."""
    bound, source = call.bound, call.args[0]
    places = known(source)
    if places is None:
        return
    weight = bound.get("weight", bound.get("W"))
    n_axes = (weight if weight is not None else outs[0]).dim() - 2
    kernel = _numbers(weight.shape[2:] if weight is not None else bound["kernel_size"], n_axes)
    stride = _numbers(bound.get("stride") or kernel, n_axes)
    dilation = _numbers(bound.get("dilation", 1), n_axes)
    padding = bound.get("padding", 0)
    if isinstance(padding, str):
        padding = [d * (k - 1) // 2 if padding == "same" else 0 for d, k in zip(dilation, kernel, strict=True)]
    padding = _numbers(padding, n_axes)
    if weight is not None:
        places = mean(places, 1)
    for i in range(n_axes):
        at = torch.arange(outs[0].shape[i - n_axes], device=source.device, dtype=torch.float32)
        middle = dilation[i] * (kernel[i] - 1) / 2 - padding[i]
        at = (at - middle) / stride[i] if bound.get("transposed") else at * stride[i] + middle
        places = sampled(places, i - n_axes, at)
    yield from (expanded(places, out.shape) for out in outs)


def _resized(call: OpCall, outs: Sequence[Tensor], known: Known) -> Found:
    """Interpolations and adaptive pools: as many places as there are, evenly spread."""
    places = known(call.args[0])
    for axis in range(2, outs[0].dim()):
        if places is not None:
            n, size = call.args[0].shape[axis], outs[0].shape[axis]
            at = (torch.arange(size, device=outs[0].device, dtype=torch.float32) + 0.5) * (n / size) - 0.5
            places = sampled(places, axis, at)
    yield from (expanded(places, out.shape) if places else None for out in outs)


def _padded(call: OpCall, outs: Sequence[Tensor], known: Known) -> Found:
    places, widths = known(call.args[0]), call.args[1]
    for i in range(len(widths) // 2):
        if places is not None and (widths[2 * i] or widths[2 * i + 1]):
            size = outs[0].shape[-1 - i]
            at = torch.arange(size, device=outs[0].device, dtype=torch.float32) - widths[2 * i]
            places = sampled(places, -1 - i, at)
    yield expanded(places, outs[0].shape) if places else None


def _reduced(call: OpCall, outs: Sequence[Tensor], known: Known) -> Found:
    """A mean, sum or maximum over some axes lies in the middle of what it was taken of."""
    if "other" in call.bound:  # the larger of two tensors
        yield from _passed_on(call, outs, known)
        return
    places, dims = known(call.args[0]), call.bound.get("dim")
    if places is None or dims is None or dims == []:
        return
    places = mean(places, *_numbers(dims, None), keepdim=bool(call.bound.get("keepdim")))
    yield from (expanded(places, out.shape) for out in outs)


def _contracted(call: OpCall, outs: Sequence[Tensor], known: Known) -> Found:
    """`a @ b` has the places of a's rows, or of b's columns where a's rows are no places: attention over channels, or written the
    other way round (`v @ attention.T`), where windows may be stacked before the rows."""
    tensors = [leaf for leaf in call.args if isinstance(leaf, Tensor)]
    left, right = tensors[-2:]
    yield expanded(_kept(known(left), known(right)), outs[0].shape)


def _kept(rows: Places | None, columns: Places | None) -> Places:
    rows, columns = rows and mean(rows, -1), columns and mean(columns, -2)
    own = [places for places, axis in ((rows, -2), (columns, -1)) if places is not None and places.varies_along(axis)]
    found = next((places for places in (*own, rows, columns) if places is not None and places.varies), rows or columns)
    if found is None:
        raise ValueError("neither factor comes from the image")
    return found


def _projected(call: OpCall, outs: Sequence[Tensor], known: Known) -> Found:
    """Linear layers and attention: every row lies where the row of the first input lies."""
    places = known(call.args[0])
    yield expanded(mean(places, -1), outs[0].shape) if places else None


def _einsum(call: OpCall, outs: Sequence[Tensor], known: Known) -> Found:
    """The places of the first operand that has some left when its contracted axes are gone."""
    inputs, _, output = call.args[0].replace(" ", "").partition("->")
    found = None
    for letters, tensor in zip(inputs.split(","), call.args[1], strict=True):
        places = known(tensor)
        if places is None or "." in letters:
            continue
        kept = places.each(lambda values, letters=letters: _rearranged(values, letters, output))  # type: ignore[misc]
        if found is None or (kept.varies and not found.varies):
            found = kept
    yield expanded(found, outs[0].shape) if found else None


def _rearranged(values: Tensor, letters: str, output: str) -> Tensor:
    """Coordinates of axes `letters` with the axes `output`: the mean along those that go, length 1 along those that come."""
    values = core(values)
    gone = [axis for axis, letter in enumerate(letters) if letter not in output]
    if gone:
        values = values.nanmean(gone, keepdim=True)
    values = values.permute(*(letters.index(letter) for letter in output if letter in letters), *gone)
    for _ in gone:
        values = values.squeeze(-1)
    for axis, letter in enumerate(output):
        if letter not in letters:
            values = values.unsqueeze(axis)
    return values


def _joined(call: OpCall, outs: Sequence[Tensor], known: Known) -> Found:
    tensors, axis = call.args[0], int(call.bound.get("dim") or 0)
    read = [known(tensor) for tensor in tensors]
    first = next((places for places in read if places is not None), None)
    if first is None:
        return
    stacks = "stack" in call.func._schema.name
    cores = [core(places.y if i == 0 else places.x) for i in (0, 1) for places in read if places is not None]
    half = len(cores) // 2
    alike = all(
        core.shape[axis] == 1 and torch.equal(core, part[0]) for part in (cores[:half], cores[half:]) for core in part
    )
    if None not in read and alike and not stacks:
        yield expanded(first.each(lambda values: values.narrow(axis, 0, 1)), outs[0].shape)
        return

    def join(values: list[Tensor]) -> Tensor:
        return torch.stack(values, axis) if stacks else torch.cat(values, axis)

    nowhere = [torch.full((1,), math.nan, device=tensor.device).expand(tensor.shape) for tensor in tensors]
    ys = [places.y if places else nothing for places, nothing in zip(read, nowhere, strict=True)]
    xs = [places.x if places else nothing for places, nothing in zip(read, nowhere, strict=True)]
    yield replace(first, y=join(ys), x=join(xs))


def _broadcasts(shape: Sequence[int], to: Sequence[int]) -> bool:
    pairs = zip(reversed(shape), reversed(to), strict=False)
    return len(shape) <= len(to) and all(own in (1, wanted) for own, wanted in pairs)


def _numbers(value: Any, length: int | None) -> list[int]:
    values = [int(one) for one in value] if isinstance(value, (list, tuple)) else [int(value)]
    return values * length if length is not None and len(values) == 1 else values


def _rules(rule: Callable[..., Found], names: str) -> dict[str, Callable[..., Found]]:
    return dict.fromkeys(names.split(), rule)


_RULES: dict[str, Callable[[OpCall, Sequence[Tensor], Known], Found]] = {
    **_rules(
        _moved,
        "permute transpose t numpy_T adjoint mT movedim moveaxis swapaxes swapdims squeeze unsqueeze expand expand_as repeat "
        "tile repeat_interleave select narrow slice split split_with_sizes unsafe_split unsafe_chunk chunk tensor_split unbind "
        "flip roll rot90 index_select gather take_along_dim index unfold im2col pixel_unshuffle pixel_shuffle "
        "channel_shuffle native_channel_shuffle diagonal",
    ),
    **dict.fromkeys(RESHAPES, _reshaped),
    **_rules(
        _windowed,
        "conv1d conv2d conv3d convolution _convolution _convolution_mode cudnn_convolution mkldnn_convolution "
        "_convolution_pointwise max_pool1d max_pool2d max_pool3d max_pool2d_with_indices mkldnn_max_pool2d avg_pool1d "
        "avg_pool2d avg_pool3d",
    ),
    **_rules(
        _resized,
        "adaptive_avg_pool2d _adaptive_avg_pool2d adaptive_max_pool2d adaptive_avg_pool1d adaptive_max_pool1d "
        "upsample_nearest2d _upsample_nearest_exact2d upsample_bilinear2d _upsample_bilinear2d_aa upsample_bicubic2d "
        "_upsample_bicubic2d_aa upsample_linear1d upsample_nearest1d",
    ),
    **_rules(_padded, "pad constant_pad_nd reflection_pad2d replication_pad2d reflection_pad1d replication_pad1d"),
    **_rules(
        _reduced, "mean sum amax amin max min var std median logsumexp linalg_vector_norm norm prod nansum nanmean"
    ),
    **_rules(_contracted, "matmul mm bmm addmm baddbmm"),
    **_rules(
        _projected,
        "linear _linear_pointwise scaled_dot_product_attention _scaled_dot_product_flash_attention "
        "_scaled_dot_product_efficient_attention _scaled_dot_product_flash_attention_for_cpu _scaled_dot_product_cudnn_attention",
    ),
    **_rules(_einsum, "einsum"),
    **_rules(_joined, "cat concat concatenate stack"),
}
