"""The TorchScript backend: carry a plan out on a copy of a scripted or traced module, by rewriting its graph.

The graph of `forward` is flattened and its operations are changed in place. What is inserted are the layers that the eager
backend inserts, as attributes of the module, so a saved file needs `torch.jit.load` alone; `set_strength` finds them by class.
"""

from __future__ import annotations

import re
from typing import Any, Final

import torch
from torch import Tensor, nn

from shiftaudit.errors import PatchError
from shiftaudit.records.patch import BLUR_BEFORE_CONV, BLUR_BEFORE_SLICE, LEAVE, PatchOptions, PatchRecord
from shiftaudit.surgery.blurpool import BlurPool
from shiftaudit.surgery.cost import make_record
from shiftaudit.surgery.plan import ADAPTIVE_POOLS, CONV, Decision, Site, make_plan
from shiftaudit.surgery.pools import AdaptiveBlurPool, ChannelsLastBlur, DenseAvgPool2d, DenseMaxPool2d
from shiftaudit.surgery.torchscript_shapes import add_call, copied, first_line, scripted
from shiftaudit.surgery.torchscript_sites import FoundSite, Reading, read_module

BACKEND: Final = "torchscript"

_CONV_STRIDE = 3
_POOL_STRIDE = 2


def read_sites(module: torch.jit.ScriptModule, example: Tensor) -> list[Site]:
    """The downsampling sites of a scripted or traced module, in program order; `module` is untouched.

    Args:
        example: (N, C, H, W); sizes are read by running the network on it once, in eval mode.

    Raises:
        PatchError: the model does not run on the example, or computes with quantised or packed weights.
    """
    return [found.site for found in read_module(copied(module), example).sites]


def patch_module(
    module: torch.jit.ScriptModule, options: PatchOptions, example: Tensor, *, dry_run: bool = False
) -> tuple[torch.jit.ScriptModule, PatchRecord]:
    """A patched copy of `module` and the record; `module` is untouched. With `dry_run` the copy is unpatched.

    Args:
        example: (N, C, H, W); sizes are read by running the network on it once, in eval mode.

    Raises:
        PatchError: the module does not run, has no site to patch, or is quantised.
    """
    if not module._c._has_method("forward"):
        raise PatchError("the TorchScript model has no forward method, so there is nothing to patch")
    copy = copied(module)
    reading = read_module(copy, example)
    plan = make_plan([found.site for found in reading.sites], options)
    record = make_record(
        plan,
        backend=BACKEND,
        input_size=(example.shape[-2], example.shape[-1]),
        network_macs=reading.macs,
        notes=_notes(reading),
    )
    if dry_run:
        return copied(module), record
    plan.require_changes()
    surgeon = _Surgeon(copy, reading.graph)
    for found, decision in zip(reading.sites, plan.decisions, strict=True):
        surgeon.apply(found, decision)
    reading.graph.lint()
    patched = copied(copy)
    _check(patched, example, reading.output)
    return patched, record


def _notes(reading: Reading) -> tuple[str, ...]:
    if not reading.not_run:
        return ()
    which = "operation is" if reading.not_run == 1 else "operations are"
    return (
        f"{reading.not_run} downsampling {which} in branches that did not run on the example, and left as they were",
    )


def _check(patched: torch.jit.ScriptModule, example: Tensor, original: Any) -> None:
    training = any(bool(getattr(child, "training", False)) for child in patched.modules())
    tried = copied(patched).eval() if training else patched
    try:
        with torch.no_grad():
            output = tried(example)
    except Exception as error:
        raise PatchError(f"the patched network does not run, and was not written: {first_line(error)}") from error
    if _shapes(output) != _shapes(original):
        raise PatchError("the patched network's output has another shape than the original's; nothing was changed")


def _shapes(output: Any) -> list[tuple[int, ...]]:
    return [tuple(leaf.shape) for leaf in torch.utils._pytree.tree_leaves(output) if isinstance(leaf, Tensor)]


class _Surgeon:
    """Changes one flat graph."""

    def __init__(self, module: torch.jit.ScriptModule, graph: Any) -> None:
        self.module = module
        self.graph = graph
        self.itself = next(iter(graph.inputs()))
        self.training = bool(getattr(module, "training", False))  # frozen modules have no such flag

    def apply(self, found: FoundSite, decision: Decision) -> None:
        site = found.site
        if decision.action == LEAVE:
            return
        if decision.action == BLUR_BEFORE_SLICE:
            layer: nn.Module = self._blur(decision, site.in_channels)
            layer = ChannelsLastBlur(layer) if found.channels_last else layer  # type: ignore[arg-type]
            blurred = self._call("blur", site, layer, found.readers[0].inputsAt(0), before=found.readers[0])
            for reader in found.readers:
                reader.replaceInput(0, blurred)
        elif decision.action == BLUR_BEFORE_CONV:
            blurred = self._call(
                "blur", site, self._blur(decision, site.in_channels), found.node.inputsAt(0), before=found.node
            )
            found.node.replaceInput(0, blurred)
            self._set_stride(found.node, _CONV_STRIDE, decision.op_stride)
        elif site.op in ADAPTIVE_POOLS:
            maximum = site.op == "adaptive_max_pool"
            blur = self._blur(decision, site.channels)
            self._replace("blur", found, AdaptiveBlurPool(maximum, site.output_size, site.stride, blur))
        else:
            result = self._make_dense(found, decision)
            self._insert_after(result, site, self._blur(decision, site.channels))

    def _make_dense(self, found: FoundSite, decision: Decision) -> Any:
        """Run the op at stride 1; the value the blur reads."""
        op = found.op
        if op.kind == CONV:
            self._set_stride(found.node, _CONV_STRIDE, decision.op_stride)
            return found.result
        if not op.ceil_mode:
            self._set_stride(found.node, _POOL_STRIDE, decision.op_stride)
            return found.result
        if op.kind == "max_pool":
            layer: nn.Module = DenseMaxPool2d(op.kernel, op.stride, op.padding, op.dilation, True)
        else:
            layer = DenseAvgPool2d(op.kernel, op.stride, op.padding, True, op.count_include_pad, op.divisor_override)
        return self._replace("dense", found, layer)

    def _set_stride(self, node: Any, at: int, stride: tuple[int, int]) -> None:
        with self.graph.insert_point_guard(node):
            node.replaceInput(at, self.graph.insertConstant(list(stride)))

    def _insert_after(self, value: Any, site: Site, layer: nn.Module) -> None:
        blurred = self._call("blur", site, layer, value, after=value.node())
        value.replaceAllUsesAfterNodeWith(blurred.node(), blurred)

    def _replace(self, prefix: str, found: FoundSite, layer: nn.Module) -> Any:
        result = self._call(prefix, found.site, layer, found.node.inputsAt(0), before=found.node)
        for output in found.node.outputs():  # nothing reads a max-pool's indices, but a tuple may hold them
            output.replaceAllUsesWith(result)
        found.node.destroy()
        return result

    def _blur(self, decision: Decision, channels: int) -> BlurPool:
        return BlurPool(channels, decision.filter_size, decision.blur_stride, decision.pad)

    def _call(
        self, prefix: str, site: Site, layer: nn.Module, value: Any, *, after: Any = None, before: Any = None
    ) -> Any:
        """Add `self.<prefix>_<site>(value)`, and the layer as an attribute of the module."""
        name = f"{prefix}_{re.sub('[^0-9A-Za-z]', '_', site.name)}"
        while self.module._c.hasattr(name):
            name += "_"
        compiled = scripted(layer.train(self.training))
        self.module._c._register_attribute(name, compiled._c._type(), compiled._c)
        return add_call(self.graph, self.itself, (name, compiled), value, after=after, before=before)
