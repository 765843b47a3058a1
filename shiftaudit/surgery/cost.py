"""What a network and a plan cost: multiply-adds, and the drift of the sample grid."""

from __future__ import annotations

import math
from dataclasses import replace

from shiftaudit.records.patch import LEAVE, PATCH_SCHEMA_VERSION, Backend, PatchRecord, SiteRecord
from shiftaudit.stages.ops import CONV
from shiftaudit.surgery.graph import Call, Graph, Shape, Size
from shiftaudit.surgery.plan import IN_FRONT, Decision, Plan, Site, dense_size
from shiftaudit.version import __version__

Pair = tuple[float, float]

FOLDED = (
    "the weights that filters were folded into are wider than the original's: its checkpoints do not load into the copy"
)

_CONVOLUTIONS = frozenset({
    "convolution", "_convolution", "_convolution_mode", *(f"conv{way}{n}d" for way in ("", "_transpose") for n in (1, 2, 3)),
})  # fmt: skip
_PRODUCTS = frozenset({"linear", "matmul", "mm", "bmm"})


def make_record(
    plan: Plan, *, backend: Backend, input_size: Size, network_macs: int, notes: tuple[str, ...] = ()
) -> PatchRecord:
    """The record of a plan that was, or would be, carried out.

    Args:
        network_macs: multiply-adds of all convolutions and linear layers of the original, for one image.
    """
    strides: dict[str, Pair] = {}
    drifts: dict[str, Pair] = {}
    records = []
    for decision in plan.decisions:
        site = decision.site
        at_input = _worst([strides[name] for name in site.after if name in strides], (1.0, 1.0))
        own = _drift(decision, at_input)
        earlier = _worst([drifts[name] for name in site.after if name in drifts], (0.0, 0.0))
        strides[site.name] = (at_input[0] * site.stride[0], at_input[1] * site.stride[1])
        drifts[site.name] = (earlier[0] + own[0], earlier[1] + own[1])
        records.append(_site_record(decision, own))
    if any(decision.folded for decision in plan.decisions):
        notes = (*notes, FOLDED)
    added = sum(record.macs_after - record.macs_before for record in records)
    return PatchRecord(
        schema_version=PATCH_SCHEMA_VERSION,
        tool_version=__version__,
        backend=backend,
        options=plan.options,
        input_size=input_size,
        sites=tuple(records),
        drift=_worst(list(drifts.values()), (0.0, 0.0)),
        macs_before=network_macs,
        macs_after=network_macs + added,
        notes=notes,
        strength=plan.options.strength,
    )


def network_macs(graph: Graph) -> int:
    """Multiply-adds of the convolutions and matrix products that ran on the example, a loop's body once."""
    return sum(_call_macs(call, graph) for call in graph.calls if call.outs)


def _call_macs(call: Call, graph: Graph) -> int:
    shapes: list[Shape] = [graph.shape(value) or () for value in call.reads]
    out, name, macs = graph.shape(call.outs[0]), call.name, 0
    if out is None or not shapes or not shapes[0]:
        pass
    elif name in _CONVOLUTIONS:
        transposed = "transpose" in name or call.numbers.get("transposed") is True
        macs = math.prod(shapes[0] if transposed else out) * math.prod(shapes[1][1:])
    elif name in _PRODUCTS:
        macs = math.prod(out) * shapes[0][-1]
    elif name in ("addmm", "baddbmm"):
        macs = math.prod(out) * shapes[1][-1]
    elif name == "scaled_dot_product_attention":
        macs = 2 * math.prod(shapes[0]) * shapes[1][-2]
    elif name == "einsum":
        macs = _einsum_macs(call.numbers["equation"], shapes)
    return macs


def _einsum_macs(equation: object, operands: list[Shape]) -> int:
    """One multiply-add for each combination of indices; an equation with `...` counts none."""
    if not isinstance(equation, str) or "." in equation or len(operands) < 2:
        return 0
    terms = equation.partition("->")[0].replace(" ", "").split(",")
    pairs = zip(terms, operands, strict=False)
    sizes = {index: size for term, shape in pairs for index, size in zip(term, shape, strict=False)}
    return math.prod(sizes.values())


def _site_record(decision: Decision, drift: Pair) -> SiteRecord:
    site = decision.site
    before = _op_macs(site, site.output_size)
    return SiteRecord(
        name=site.name,
        op=site.op,
        kernel=site.kernel,
        stride=site.stride,
        channels=site.channels,
        input_size=site.input_size,
        output_size=site.output_size,
        action=decision.action,
        filter_size=decision.filter_size,
        pad=decision.pad_used,
        reason=decision.reason,
        drift=drift,
        macs_before=before,
        macs_after=macs_at(decision) if decision.action != LEAVE else before,
        folded=decision.folded,
        not_folded=decision.not_folded,
    )


def _drift(decision: Decision, input_stride: Pair) -> Pair:
    """An even filter is centred half a pixel beside the sample it replaces, on the map the op reads."""
    fy, fx = decision.filter_size
    return (0.0 if fy % 2 else 0.5 * input_stride[0], 0.0 if fx % 2 else 0.5 * input_stride[1])


def wide_kernel(decision: Decision) -> Size:
    """Of a convolution and the filter in front of it in one."""
    (ky, kx), (fy, fx) = decision.site.kernel, decision.filter_size
    return ky + fy - 1, kx + fx - 1


def macs_at(decision: Decision) -> int:
    """Multiply-adds of a site that was changed, its filter included."""
    site = decision.site
    if decision.folded:
        return _op_macs(replace(site, kernel=wide_kernel(decision)), site.output_size)
    taps = decision.filter_size[0] * decision.filter_size[1]
    if taps == 1:
        taps = 0  # plain subsampling
    if decision.action in IN_FRONT:
        height, width = site.input_size if decision.keeps_stride else site.output_size
        return _op_macs(site, site.output_size) + taps * site.in_channels * height * width
    height, width = site.output_size
    return _op_macs(site, dense_size(site)) + taps * site.channels * height * width


def _op_macs(site: Site, size: Size) -> int:
    if site.op != CONV:
        return 0
    return size[0] * size[1] * site.channels * (site.in_channels // site.groups) * site.kernel[0] * site.kernel[1]


def _worst(pairs: list[Pair], start: Pair) -> Pair:
    return max([start[0], *(pair[0] for pair in pairs)]), max([start[1], *(pair[1] for pair in pairs)])
