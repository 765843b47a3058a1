"""What to do at each downsampling site, decided without looking at how the network is stored.

`read_sites` reads a network's operations into `Site`s, `make_plan` makes one `Decision` of each, `apply` carries them out.
The rules (Zhang 2019), all of which compute the original exactly when the filter has size 1:

- strided convolution: `conv(stride k)` → norm → activation becomes `conv(stride 1)` → norm → activation → BlurPool(k);
- 1×1 strided convolution: BlurPool(k) → `conv(stride 1)`; it commutes with the filter, so this is the same and cheaper;
- max- and average-pool: the pool at stride 1, then BlurPool(k);
- strided slicing (patch merging): the map is filtered at stride 1, the slices stay;
- placement `pre-conv`, and convolutions whose windows do not overlap: the input is filtered at stride 1 and the
  convolution keeps its stride. Convolution and filter commute, so this filters what the convolution puts out, at a
  fraction of the cost; norm and activation come after the filter then.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

from shiftaudit.errors import PatchError
from shiftaudit.records.patch import (
    BLUR_AFTER_OP,
    BLUR_AFTER_POOL,
    BLUR_AFTER_TAIL,
    BLUR_BEFORE_CONV,
    BLUR_BEFORE_SLICE,
    LEAVE,
    PRE_CONV,
    Action,
    PatchOptions,
)
from shiftaudit.records.words import OpName
from shiftaudit.stages.ops import ADAPTIVE_AVG_POOL, ADAPTIVE_MAX_POOL, CONV, INTERPOLATE, SLICE
from shiftaudit.surgery.blurpool import blur_padding, effective_pad_mode
from shiftaudit.surgery.graph import Size

ADAPTIVE_POOLS: tuple[OpName, ...] = (ADAPTIVE_AVG_POOL, ADAPTIVE_MAX_POOL)
IN_FRONT: tuple[Action, ...] = (BLUR_BEFORE_CONV, BLUR_BEFORE_SLICE)
"""Actions whose filter reads the map that the op reads."""


@dataclass(frozen=True)
class Site:
    """One operation that makes a feature map (N, C, H, W) smaller, as it was read from a graph. Pairs are (y, x).

    A reduction of the whole map to 1×1 by a pool is the network's head, not a site: it is left out.
    """

    name: str
    """Unique: the module's qualified name, with `/op` where its own code holds the op and `@2` at a second call."""
    op: OpName
    kernel: Size
    """(1, 1) for slices; for adaptive pools and interpolation, input size over output size, rounded down."""
    stride: Size
    input_size: Size
    output_size: Size
    in_channels: int
    channels: int
    padding: Size = (0, 0)
    dilation: Size = (1, 1)
    groups: int = 1
    tail: tuple[str, ...] = ()
    """Names of the pointwise norms and activations after a conv, each with a single user: the blur goes behind them."""
    on_input: bool = False
    """No convolution, linear layer or pool lies between the network's input and this op."""
    after: tuple[str, ...] = ()
    """Names of the sites this one's input depends on; the nearest on each path suffice."""
    group: str | None = None
    """The module that holds a convolution: calls that share it get one stride, or none is changed."""
    opaque: bool = False
    """A convolution inside code that cannot be changed: its stride stays, so only its input can be filtered."""
    kernel_stays: str | None = None
    """Of a convolution: why it cannot be given a wider kernel, or None."""
    blocker: str | None = None
    """Why the graph cannot change this op (`its indices are used`), or None."""
    place: Any = field(default=None, compare=False, repr=False)
    """Where it is: the reader's note to `apply`."""


@dataclass(frozen=True)
class Decision:
    """What is done at one site. Pairs are (y, x).

    Actions (constants in `shiftaudit.records.patch`):
        blur_after_tail: op at `op_stride`, its tail, then BlurPool(channels, filter_size, blur_stride, pad).
        blur_after_op, blur_after_pool: op at `op_stride`, then the BlurPool.
        blur_before_conv: BlurPool(in_channels, filter_size, blur_stride, pad) on its input, then the op at `op_stride`.
        blur_before_slice: BlurPool(in_channels, ...) on the sliced map; the slices stay.
        leave: nothing.
    """

    site: Site
    action: Action
    reason: str
    filter_size: Size = (1, 1)
    keeps_stride: bool = True
    """Whether the op still makes the map smaller; else the BlurPool does."""
    pad: str = "reflect"
    """For the BlurPool, which falls back by itself on small maps."""
    pad_used: str | None = None
    """The mode at the size the plan was made for."""
    folded: bool = False
    """The filter goes into the convolution's kernel; see `shiftaudit.surgery.fold`."""
    not_folded: str | None = None
    """Why not, where that was asked for."""

    @property
    def op_stride(self) -> Size:
        """What the op has in the copy."""
        return self.site.stride if self.keeps_stride else (1, 1)

    @property
    def blur_stride(self) -> Size:
        """What the BlurPool has."""
        return (1, 1) if self.keeps_stride else self.site.stride


@dataclass(frozen=True)
class Plan:
    """One decision for each site, in the order of execution."""

    decisions: tuple[Decision, ...]
    options: PatchOptions

    @property
    def changes(self) -> tuple[Decision, ...]:
        """The decisions that change something."""
        return tuple(decision for decision in self.decisions if decision.action != LEAVE)

    def require_changes(self) -> None:
        """Raises: PatchError when there is nothing to patch."""
        if self.changes:
            return
        if not self.decisions:
            what = "no convolution, pool, slice or interpolation"
            raise PatchError(f"nothing to patch: {what} of this network makes a feature map smaller")
        reasons = "; ".join(f"{decision.site.name}: {decision.reason}" for decision in self.decisions[:3])
        more = f"; and {len(self.decisions) - 3} more" if len(self.decisions) > 3 else ""
        several = len(self.decisions) > 1
        which = f"all {len(self.decisions)} downsampling sites were" if several else "the only downsampling site was"
        raise PatchError(f"nothing to patch: {which} left ({reasons}{more})")


def make_plan(sites: Sequence[Site], options: PatchOptions) -> Plan:
    """Decide for every site, in order.

    Raises:
        PatchError: an `only` or `skip` pattern matches no site.
    """
    for pattern in (*options.only, *options.skip):
        if sites and not any(_matches(site, (pattern,)) for site in sites):
            names = ", ".join(site.name for site in sites[:6])
            more = ", …" if len(sites) > 6 else ""
            raise PatchError(f"pattern {pattern!r} matches no downsampling site", hint=f"sites are named {names}{more}")
    decisions = [_decide(site, options) for site in sites]
    return Plan(tuple(_agree_within_groups(decisions)), options)


def dense_size(site: Site) -> Size:
    """Size of the op's output at stride 1, extended where `ceil_mode` adds a window that hangs over the edge."""
    if site.op in ADAPTIVE_POOLS:
        return _each(lambda axis: site.input_size[axis] - site.kernel[axis] + 1)
    return _each(
        lambda axis: max(
            site.input_size[axis] + 2 * site.padding[axis] - site.dilation[axis] * (site.kernel[axis] - 1),
            (site.output_size[axis] - 1) * site.stride[axis] + 1,
        )
    )


def is_patchify(site: Site) -> bool:
    """A convolution whose windows do not overlap: a patch embedding, or a ConvNeXt downsampling layer."""
    return site.op == CONV and site.kernel == site.stride and site.dilation == (1, 1)


def is_shortcut(site: Site) -> bool:
    """A 1×1 strided convolution: it reads only the pixels it keeps."""
    return site.op == CONV and site.kernel == (1, 1) and site.padding == (0, 0)


def _decide(site: Site, options: PatchOptions) -> Decision:
    reason = _why_left(site, options)
    if reason is not None:
        return Decision(site, LEAVE, reason)
    if site.op == SLICE:
        return _blur(site, options, BLUR_BEFORE_SLICE, "blur, then the slices", keeps_stride=True)
    if site.op != CONV:
        return _blur(site, options, BLUR_AFTER_POOL, f"{site.op.replace('_', '-')} at stride 1, then blur")
    if is_shortcut(site) and not site.opaque:
        return _blur(site, options, BLUR_BEFORE_CONV, "blur, then 1×1 conv at stride 1")
    if is_patchify(site) or site.opaque or options.placement == PRE_CONV:
        why = (
            "windows do not overlap: " if is_patchify(site) else "its stride is fixed in code: " if site.opaque else ""
        )
        return _blur(site, options, BLUR_BEFORE_CONV, f"{why}blur, then the strided conv", keeps_stride=True)
    if site.tail:
        return _blur(site, options, BLUR_AFTER_TAIL, " → ".join(("conv at stride 1", *site.tail, "blur")))
    reason = "conv at stride 1 → blur (no unshared pointwise norm or activation follows)"
    return _blur(site, options, BLUR_AFTER_OP, reason)


def _why_left(site: Site, options: PatchOptions) -> str | None:
    if site.blocker is not None:
        return site.blocker
    if options.only and not _matches(site, options.only):
        return "not selected by --only"
    if _matches(site, options.skip):
        return "selected by --skip"
    if is_patchify(site) and not options.patchify:
        return "windows do not overlap (patch embedding): --patchify patches it"
    if site.op == CONV and site.on_input and not is_patchify(site) and not options.stem:
        return "reads the network's input, as in the paper's weights: --stem patches it"
    if site.op == INTERPOLATE:
        return "interpolation has no dense form to filter"
    if site.op in ADAPTIVE_POOLS and not _divides(site):
        return f"adaptive pool with windows of unequal size ({_text(site.input_size)} to {_text(site.output_size)})"
    return None


def _divides(site: Site) -> bool:
    return all(big % small == 0 for big, small in zip(site.input_size, site.output_size, strict=True))


def _blur(site: Site, options: PatchOptions, action: Action, reason: str, *, keeps_stride: bool = False) -> Decision:
    filter_size = _each(lambda axis: options.filter_size if site.stride[axis] > 1 else 1)
    blurred = site.input_size if action in IN_FRONT else dense_size(site)
    left, right, top, bottom = blur_padding(list(filter_size))
    used = {
        effective_pad_mode(options.pad, blurred[0], top, bottom),
        effective_pad_mode(options.pad, blurred[1], left, right),
    }
    pad_used = next(iter(used - {options.pad}), options.pad)
    if pad_used != options.pad:
        reason += f"; a map of {_text(blurred)} is too small for {options.pad} padding: {pad_used}"
    return Decision(site, action, reason, filter_size, keeps_stride, options.pad, pad_used)


def _agree_within_groups(decisions: list[Decision]) -> Iterable[Decision]:
    """Calls that share a convolution's module get one stride: leave all of them where they differ."""
    strides: dict[str, set[Size]] = {}
    for decision in decisions:
        if decision.site.group is not None:
            strides.setdefault(decision.site.group, set()).add(decision.op_stride)
    for decision in decisions:
        group = decision.site.group
        if group is not None and len(strides[group]) > 1 and decision.action != LEAVE:
            yield Decision(decision.site, LEAVE, f"shares module {group} with a call that is left as it is")
        else:
            yield decision


def _matches(site: Site, patterns: Sequence[str]) -> bool:
    """A convolution is also found as `MODULE/conv`, as reports of code that computes its weight first name it."""
    longer = f"{site.name}/{CONV}" if site.op == CONV else site.name
    return any(pattern == longer or fnmatchcase(site.name, pattern) for pattern in patterns)


def _text(size: Size) -> str:
    return f"{size[0]}×{size[1]}"


def _each(value: Callable[[int], int]) -> Size:
    return value(0), value(1)
