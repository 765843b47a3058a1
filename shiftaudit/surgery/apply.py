"""Carry a plan out on a graph."""

from __future__ import annotations

from dataclasses import replace

from torch import nn

from shiftaudit.records.patch import BLUR_BEFORE_CONV, BLUR_BEFORE_SLICE
from shiftaudit.surgery.blurpool import BlurPool
from shiftaudit.surgery.fold import PadMap, merged, own_padding
from shiftaudit.surgery.graph import Graph, NewLayer
from shiftaudit.surgery.plan import ADAPTIVE_POOLS, IN_FRONT, Decision, Plan
from shiftaudit.surgery.pools import AdaptiveBlurPool, ChannelsLastBlur, DenseAvgPool2d, DenseMaxPool2d
from shiftaudit.surgery.sites import Place

_BLUR, _DENSE, _PAD = "blur", "dense", "pad"
"""What inserted layers are called, with the site's name."""


def apply(graph: Graph, plan: Plan) -> None:
    """Change the graph, site by site in the order of execution."""
    for decision in plan.changes:
        _apply(graph, decision, plan.options.strength, decision.site.place)


def _apply(graph: Graph, decision: Decision, strength: float, place: Place) -> None:
    site, op, call = decision.site, place.op, place.call
    channels = site.in_channels if decision.action in IN_FRONT else site.channels
    blur = BlurPool(channels, decision.filter_size, decision.blur_stride, decision.pad, strength=strength)
    new = NewLayer(blur, _BLUR, site.name)
    if decision.folded:
        _fold(graph, decision, blur)
        return
    if decision.action == BLUR_BEFORE_SLICE:
        layer = ChannelsLastBlur(blur) if place.channels_last else blur
        graph.insert_before(place.readers, replace(new, layer=layer))
    elif decision.action == BLUR_BEFORE_CONV:
        graph.insert_before([op.entry], new)
        if not decision.keeps_stride:
            graph.set_argument(call, "stride", decision.op_stride)
    elif site.op in ADAPTIVE_POOLS:
        maximum = site.op == "adaptive_max_pool"
        pool = AdaptiveBlurPool(maximum, site.output_size, site.stride, blur)
        graph.replace(call, replace(new, layer=pool))
    else:
        graph.insert_after(place.end, new)
        if op.ceil_mode:
            graph.replace(call, NewLayer(_dense_pool(place), _DENSE, site.name))
        else:
            graph.set_argument(call, "stride", decision.op_stride)


def _fold(graph: Graph, decision: Decision, blur: BlurPool) -> None:
    """One convolution in place of the filter and the one behind it."""
    call, padding = decision.site.place.call, own_padding(decision)
    stored = graph.stored(call.tensors["weight"])
    assert stored is not None and stored.name is not None
    graph.set_kernel(call, merged(graph.parameter(stored.name), blur.kernel), padding)
    graph.set_argument(call, "stride", decision.op_stride)
    if padding is None:
        graph.insert_before([call], NewLayer(PadMap(blur.padding, decision.pad), _PAD, decision.site.name))


def _dense_pool(place: Place) -> nn.Module:
    """The pool at stride 1, with the windows that `ceil_mode` adds at the edge."""
    op = place.op
    if op.kind == "max_pool":
        return DenseMaxPool2d(op.kernel, op.stride, op.padding, op.dilation)
    return DenseAvgPool2d(op.kernel, op.stride, op.padding, op.count_include_pad, op.divisor_override)
