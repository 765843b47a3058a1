"""Give a network anti-aliased downsampling: `patch(module)` returns a blurpooled copy and the record of what was done."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.nn.parameter import is_lazy

from shiftaudit.errors import PatchError
from shiftaudit.models import LoadedModel
from shiftaudit.models.onnx import HEADER
from shiftaudit.models.runner import RunnerModule
from shiftaudit.records.patch import BLUR_AFTER_TAIL, PatchOptions, PatchRecord
from shiftaudit.surgery.apply import apply
from shiftaudit.surgery.cost import make_record, network_macs
from shiftaudit.surgery.fold import fold_plan
from shiftaudit.surgery.graph import Graph
from shiftaudit.surgery.plan import Plan, make_plan
from shiftaudit.surgery.sites import read_sites

__all__ = ["PatchOptions", "PatchRecord", "PatchResult", "patch", "plan_patch"]


@dataclass(frozen=True)
class PatchResult:
    """A patched copy and what was done to make it."""

    module: nn.Module
    """Trainable, in the train/eval mode of the original, with its state-dict keys and no others."""
    record: PatchRecord


def patch(
    module: nn.Module,
    options: PatchOptions | None = None,
    *,
    input_size: int | tuple[int, int] = 224,
    example_input: Tensor | None = None,
    weights: Mapping[str, Tensor] | None = None,
) -> PatchResult:
    """A copy of `module` with BlurPool at its downsampling sites; `module` itself is not touched.

    Eager modules and exported programs (`torch.export.load(...).module()`) come back as `torch.fx.GraphModule`s, scripted and
    traced ones as ScriptModules; an eager module that torch.fx cannot follow is exported first, else scripted or traced, and the
    record's notes say so. The copy has the original's state-dict keys, so a checkpoint of one loads strictly into the
    other. Without training it answers worse than the original: the weights were learned for aliased features.

    Args:
        module: takes a float tensor (N, C, H, W).
        options: what to patch and how; see `PatchOptions`. Default: filter size 3, reflect padding, no stem.
        input_size: H and W at which the network is run once to read its sizes.
        example_input: (N, C, H, W), instead of random numbers of `input_size`.
        weights: the copy's, under the original's keys; default: the original's. With `fold` in the options, a copy that was
            fitted is made anew with its filters folded.

    >>> from torch import nn
    >>> result = patch(nn.Sequential(nn.Conv2d(3, 4, 3), nn.MaxPool2d(2)), input_size=16)
    >>> [(site.name, site.action) for site in result.record.sites]
    [('1', 'blur_after_pool')]

    Raises:
        PatchError: nothing to patch, no module, a quantised model, or control flow that cannot be traced.
    """
    graph, plan, record = _plan(module, options, input_size, example_input)
    plan.require_changes()
    if weights is not None:
        graph.load(weights)
    apply(graph, plan)
    return PatchResult(graph.finish(), record)


def patched(model: LoadedModel, options: PatchOptions, *, weights: Mapping[str, Tensor] | None = None) -> LoadedModel:
    """The copy of a loaded model, with the record of what was done; see `patch`."""
    result = patch(model.module, options, example_input=model.random_input(), weights=weights)
    return model.with_module(result.module, patch_record=result.record)


def plan_patch(
    module: nn.Module,
    options: PatchOptions | None = None,
    *,
    input_size: int | tuple[int, int] = 224,
    example_input: Tensor | None = None,
) -> PatchRecord:
    """What `patch` would do, with the same arguments; a network without downsampling gives a record without sites."""
    return _plan(module, options, input_size, example_input)[2]


def _plan(
    module: nn.Module, options: PatchOptions | None, input_size: int | tuple[int, int], example_input: Tensor | None
) -> tuple[Graph, Plan, PatchRecord]:
    _check_module(module)
    example = _example(module, input_size) if example_input is None else example_input
    graph = open_graph(module, example)
    found = read_sites(graph)
    plan = make_plan(found.sites, options or PatchOptions())
    plan = fold_plan(plan) if plan.options.fold else plan
    notes = (*graph.notes, *_not_run(found.not_run), *_in_training(module, plan))
    record = make_record(
        plan,
        backend=graph.backend,
        input_size=(example.shape[-2], example.shape[-1]),
        network_macs=network_macs(graph) // example.shape[0],
        notes=notes,
    )
    return graph, plan, record


def open_graph(module: nn.Module, example: Tensor) -> Graph:
    """The graph of a copy of `module`, run once on `example` (N, C, H, W); its notes tell where it is not torch.fx that reads it.

    Raises:
        PatchError: the module cannot be traced or run, or is quantised.
    """
    if isinstance(module, torch.jit.ScriptModule):
        from shiftaudit.surgery.torchscript.graph import ScriptGraph

        return ScriptGraph(module, example)
    if isinstance(module, fx.GraphModule) and HEADER in module.meta:
        from shiftaudit.surgery.onnx.graph import OnnxGraph

        return OnnxGraph(module, example)
    from shiftaudit.surgery.fx.graph import FxGraph
    from shiftaudit.surgery.fx.trace import NotFollowedError

    try:
        return FxGraph(module, example)
    except NotFollowedError as error:
        if isinstance(module, fx.GraphModule):
            raise
        from shiftaudit.surgery.forms import recorded

        return recorded(module, example, error)


def _not_run(count: int) -> tuple[str, ...]:
    if not count:
        return ()
    which = "operation is" if count == 1 else "operations are"
    return (f"{count} downsampling {which} in branches that did not run on the example, and left as they were",)


def _in_training(module: nn.Module, plan: Plan) -> tuple[str, ...]:
    """What a copy of a network in train mode does differently, whatever its filters."""
    norms = any("BatchNorm" in getattr(child, "original_name", type(child).__name__) for child in module.modules())
    if (
        not getattr(module, "training", False)
        or not norms
        or all(decision.action != BLUR_AFTER_TAIL for decision in plan.decisions)
    ):
        return ()
    return ("in train mode a batch-norm in front of a blur takes its statistics before the map is made smaller",)


def _check_module(module: Any) -> None:
    wrapped = {
        "ExportedProgram": "program.module()",
        "OptimizedModule": "the module inside, ._orig_mod, and compile the copy",
        "DataParallel": "the module inside, .module",
        "DistributedDataParallel": "the module inside, .module",
    }
    kind = type(module).__name__
    if isinstance(module, RunnerModule):
        raise PatchError(module.unseen, hint="patch the network that it was made from")
    if kind in wrapped or not isinstance(module, nn.Module):
        raise PatchError(f"patch takes a torch.nn.Module, not {kind}", hint=f"pass {wrapped.get(kind, 'the network')}")
    if not isinstance(module, torch.jit.ScriptModule):
        from shiftaudit.surgery.fx.trace import refuse_quantised

        refuse_quantised(module)
        if any(map(is_lazy, module.parameters())):
            raise PatchError("the model has lazy layers without weights", hint="run it once on a batch of images first")


def _example(module: nn.Module, input_size: int | tuple[int, int]) -> Tensor:
    """Random numbers in the dtype, on the device and with the channels of the first convolution."""
    height, width = (input_size, input_size) if isinstance(input_size, int) else input_size
    state = module.state_dict().items()
    maps = {name: tensor for name, tensor in state if isinstance(tensor, Tensor) and tensor.dim() == 4}
    weights = [tensor for name, tensor in maps.items() if name.endswith("weight")]
    weight = next(iter([*weights, *maps.values()]), None)
    first = next((layer for layer in module.modules() if isinstance(layer, nn.Conv2d)), None)
    if weight is None:
        if any(True for _ in module.parameters()) and not isinstance(module, torch.jit.ScriptModule):
            raise PatchError(
                "the model has no 2-D convolution, so its input cannot be guessed", hint="pass example_input"
            )
        weight = torch.zeros(1, 3, 1, 1)
    generator = torch.Generator().manual_seed(0)
    channels = weight.shape[1] if first is None else first.in_channels
    example = torch.randn(1, channels, height, width, generator=generator)
    return example.to(device=weight.device, dtype=weight.dtype)
