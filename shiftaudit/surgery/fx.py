"""The torch.fx backend: carry a plan out on a copy of an eager or exported module."""

from __future__ import annotations

from typing import Any, Final

import torch
from torch import Tensor, fx, nn

from shiftaudit.errors import PatchError
from shiftaudit.records.patch import (
    BLUR_AFTER_POOL,
    BLUR_BEFORE_CONV,
    BLUR_BEFORE_SLICE,
    LEAVE,
    PatchOptions,
    PatchRecord,
)
from shiftaudit.surgery.blurpool import BlurPool
from shiftaudit.surgery.cost import make_record
from shiftaudit.surgery.fx_ops import FUNCTIONS, operation_name, source_of
from shiftaudit.surgery.fx_sites import FoundSite, read_graph
from shiftaudit.surgery.fx_trace import SCRIPT_HINT, fixed_arguments, trace
from shiftaudit.surgery.plan import ADAPTIVE_POOLS, CONV, Decision, make_plan
from shiftaudit.surgery.pools import (
    AdaptiveBlurPool,
    ChannelsLastBlur,
    DenseAvgPool2d,
    DenseMaxPool2d,
    dense_avg_pool2d,
    dense_max_pool2d,
)

BACKEND: Final = "fx"


def patch_module(
    module: nn.Module, options: PatchOptions, example: Tensor, *, dry_run: bool = False
) -> tuple[fx.GraphModule, PatchRecord]:
    """A patched copy of `module` and the record; `module` is untouched. With `dry_run` the copy is the unpatched graph.

    Args:
        example: (N, C, H, W); sizes are read by running the network on it once.

    Raises:
        PatchError: the module cannot be traced, has no site to patch, or is quantised.
    """
    copy, expected = trace(module, example)
    with _eval_mode(copy):
        reading = read_graph(copy, example)
        _check_trace(expected, reading.output)
        plan = make_plan([found.site for found in reading.sites], options)
        record = make_record(
            plan,
            backend=BACKEND,
            input_size=(example.shape[-2], example.shape[-1]),
            network_macs=reading.macs,
            notes=_notes(copy, module),
        )
        if dry_run:
            return copy, record
        plan.require_changes()
        shape = _output_shapes(copy, example)
        for found, decision in zip(reading.sites, plan.decisions, strict=True):
            _apply(copy, found, decision)
        copy.graph.lint()
        copy.recompile()
        if _output_shapes(copy, example) != shape:
            raise PatchError("the patched network's output has another shape than the original's; nothing was changed")
    return copy, record


class _eval_mode:  # noqa: N801
    """All submodules in eval mode inside the block, and as they were after it; exported programs refuse `.eval()`."""

    def __init__(self, module: nn.Module) -> None:
        self.module = module
        self.flags = {child: child.training for child in module.modules()}

    def __enter__(self) -> None:
        for child in self.flags:
            child.training = False

    def __exit__(self, *_: object) -> None:
        for child in self.module.modules():
            child.training = self.flags.get(child, self.module_was_training)

    @property
    def module_was_training(self) -> bool:
        """For layers that were added inside the block."""
        return self.flags[self.module]


def _apply(copy: fx.GraphModule, found: FoundSite, decision: Decision) -> None:
    site = found.site
    if decision.action == LEAVE:
        return
    if decision.action == BLUR_BEFORE_SLICE:
        _blur_before_slices(copy, found, decision)
    elif decision.action == BLUR_BEFORE_CONV:
        source = source_of(found.node)
        blur = _add_layer(copy, site.name, _blur_layer(copy, decision, site.in_channels))
        with copy.graph.inserting_before(found.node):
            node = copy.graph.call_module(blur, (source,))
        found.node.replace_input_with(source, node)
        _set_stride(copy, found, decision)
    elif site.op in ADAPTIVE_POOLS:
        _take_values(found.node)
        _replace_adaptive(copy, found, decision)
    else:
        if site.op != CONV:
            _take_values(found.node)
        _set_stride(copy, found, decision)
        blur = _add_layer(copy, site.name, _blur_layer(copy, decision, site.channels))
        _insert_after(copy, found.tail, blur)


def _take_values(pool: fx.Node) -> None:
    """A patched pool puts out its values alone: what took them from a tuple reads them directly."""
    for user in list(pool.users) if pool.meta["several"] else ():
        user.replace_all_uses_with(pool)
        pool.graph.erase_node(user)


def _insert_after(copy: fx.GraphModule, node: fx.Node, layer: str) -> None:
    with copy.graph.inserting_after(node):
        blur = copy.graph.call_module(layer, (node,))
    node.replace_all_uses_with(blur, delete_user_cb=lambda user: user is not blur)


def _blur_layer(copy: fx.GraphModule, decision: Decision, channels: int) -> BlurPool:
    layer = BlurPool(channels, decision.filter_size, decision.blur_stride, decision.pad)
    weight = next((p for p in copy.parameters() if p.is_floating_point()), None)
    return layer if weight is None else layer.to(device=weight.device, dtype=weight.dtype)


def _add_layer(copy: fx.GraphModule, site: str, layer: nn.Module) -> str:
    """Add `blur_NAME` beside the module that was patched."""
    parent, _, leaf = site.replace("/", ".").replace("@", "_").rpartition(".")
    name = f"{parent}.blur_{leaf}" if parent else f"blur_{leaf}"
    while _holds(copy, name):  # the network may have an attribute of this name
        name += "_"
    copy.add_submodule(name, layer)
    return name


def _holds(module: nn.Module, path: str) -> bool:
    found: Any = module
    for part in path.split("."):
        found = getattr(found, part, None)
    return found is not None


def _set_stride(copy: fx.GraphModule, found: FoundSite, decision: Decision) -> None:
    node, stride = found.node, decision.op_stride
    if stride == found.site.stride:
        return
    if decision.action == BLUR_AFTER_POOL:
        _make_pool_dense(copy, found)
    elif node.op == "call_module":
        convolution = copy.get_submodule(str(node.target))
        convolution.stride = stride  # type: ignore[assignment]
    else:
        at = list(FUNCTIONS[node.target][1]).index("stride")
        if at < len(node.args):
            node.update_arg(at, list(stride))
        else:
            node.update_kwarg("stride", list(stride))


def _make_pool_dense(copy: fx.GraphModule, found: FoundSite) -> None:
    """Other calls of a shared pool, which may be left as they are, keep the layer; this one becomes a function."""
    node, op = found.node, found.op
    maximum = op.kind == "max_pool"
    name = str(node.target)
    if node.op == "call_module" and sum(other.target == name for other in copy.graph.nodes) == 1:
        if maximum and not op.ceil_mode:
            layer: nn.Module = nn.MaxPool2d(op.kernel, 1, op.padding, op.dilation)
        elif maximum:
            layer = DenseMaxPool2d(op.kernel, op.stride, op.padding, op.dilation, True)
        elif not op.ceil_mode:
            layer = nn.AvgPool2d(op.kernel, 1, op.padding, False, op.count_include_pad, op.divisor_override)
        else:
            layer = DenseAvgPool2d(op.kernel, op.stride, op.padding, True, op.count_include_pad, op.divisor_override)
        copy.set_submodule(name, layer)
        return
    source = source_of(node)
    kernel, stride, padding = list(op.kernel), list(op.stride), list(op.padding)
    node.op, node.kwargs = "call_function", {}
    if maximum:
        node.target = dense_max_pool2d
        node.args = (source, kernel, stride, padding, list(op.dilation), op.ceil_mode)
    else:
        node.target = dense_avg_pool2d
        node.args = (source, kernel, stride, padding, op.ceil_mode, op.count_include_pad, op.divisor_override)


def _replace_adaptive(copy: fx.GraphModule, found: FoundSite, decision: Decision) -> None:
    site, node = found.site, found.node
    blur = _blur_layer(copy, decision, site.channels)
    maximum = site.op == "adaptive_max_pool"
    layer = _add_layer(copy, site.name, AdaptiveBlurPool(maximum, site.output_size, site.stride, blur))
    source = source_of(node)
    with copy.graph.inserting_after(node):
        replacement = copy.graph.call_module(layer, (source,))
    node.replace_all_uses_with(replacement)
    copy.graph.erase_node(node)


def _blur_before_slices(copy: fx.GraphModule, found: FoundSite, decision: Decision) -> None:
    blur: nn.Module = _blur_layer(copy, decision, found.site.in_channels)
    if found.channels_last:
        blur = ChannelsLastBlur(blur)  # type: ignore[arg-type]
    layer = _add_layer(copy, found.site.name, blur)
    source = source_of(found.slices[0])  # not found.node, where the map itself was patched: its blur comes first
    with copy.graph.inserting_before(found.slices[0]):
        node = copy.graph.call_module(layer, (source,))
    for reader in found.slices:
        reader.replace_input_with(source, node)


def _check_trace(expected: Any, got: Any) -> None:
    """fx cannot see a Python branch that asks for a value's type, so what it recorded is compared with the original."""
    if expected is None:
        return
    pairs = zip(torch.utils._pytree.tree_leaves(expected), torch.utils._pytree.tree_leaves(got), strict=False)
    for a, b in pairs:
        if isinstance(a, Tensor) and not (isinstance(b, Tensor) and torch.allclose(a, b, rtol=1e-3, atol=1e-4)):
            raise PatchError("torch.fx recorded another computation than the model's", hint=SCRIPT_HINT)


def _output_shapes(copy: fx.GraphModule, example: Tensor) -> Any:
    with torch.no_grad():
        leaves = torch.utils._pytree.tree_leaves(copy(example))
    return [tuple(leaf.shape) for leaf in leaves if isinstance(leaf, Tensor)]


def _notes(copy: fx.GraphModule, original: nn.Module) -> tuple[str, ...]:
    """What the traced copy does differently from the original when it is trained."""
    notes = []
    fixed = fixed_arguments(original)
    if fixed:
        values = ", ".join(f"{name}={value!r}" for name, value in fixed.items())
        notes.append(f"the copy takes the picture alone: its forward was recorded for {values}")
    frozen = [node for node in copy.graph.nodes if operation_name(node) in ("dropout", "batch_norm", "feature_dropout")]
    exported = isinstance(original, fx.GraphModule)
    if frozen:
        what = "the exported program stays" if exported else "functional dropout and batch-norm stay"
        notes.append(f"{what} in eval mode: training the copy trains weights alone")
    unused = _unused(copy)
    if unused and not exported:
        names = ", ".join(sorted(unused)[:4])
        notes.append(f"branches that run in training only ({names}) are kept in the state dict but no longer run")
    return tuple(notes)


def _unused(copy: fx.GraphModule) -> set[str]:
    """Top-level modules with parameters that no node of the graph calls or reads."""
    called = {str(node.target) for node in copy.graph.nodes if node.op in ("call_module", "get_attr")}
    used = {name.partition(".")[0] for name in called}
    return {name for name, child in copy.named_children() if name not in used and any(True for _ in child.parameters())}
