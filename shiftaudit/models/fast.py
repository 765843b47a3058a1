"""The same network in a form that runs faster: batch-norm folded into the convolution before it. For the audit only.

A batch-norm in eval mode is a scale and an offset a channel, which the convolution that feeds it can apply with its own weights
and bias. Nothing that is measured may change by that, so:
- the convolutions whose output is a feature map to be compared, the strided ones, keep their own values where stages are watched;
- a pair is folded only where a run shows that nobody else reads the convolution's output;
- the result is tried on a random picture, and thrown away unless its logits are the original's.
The model itself, its hash and its names are never touched: the folded network is a copy.
"""

from __future__ import annotations

import copy
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from shiftaudit.errors import InputError, ModelError
from shiftaudit.models import LoadedModel
from shiftaudit.models.pack import can_pack, pack_eager, pack_script

TOLERANCE = 1e-5
"""Largest difference of logits, in units of the largest logit (of 1 where all are smaller), that is still the same network."""


def folded(model: LoadedModel, example: Tensor, *, keep_strided: bool) -> LoadedModel:
    """The model with batch-norm folded wherever that is certain to change nothing; the model itself where nothing can be folded.

    Args:
        model: eager or TorchScript; an exported program, which has no layers left, stays as it is.
        example: (1, C, S, S), to follow the network's run with and to compare on.
        keep_strided: leave strided convolutions alone, because their outputs are measured.

    >>> from torch import nn
    >>> layers = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(144, 2))
    >>> model = LoadedModel.from_module(layers)
    >>> [type(layer).__name__ for layer in folded(model, torch.zeros(1, 3, 8, 8), keep_strided=True).module]
    ['Conv2d', 'Identity', 'Flatten', 'Linear']
    """
    return _first_alike(model, example, lambda: _folded(model, example, keep_strided))


def _folded(model: LoadedModel, example: Tensor, keep_strided: bool) -> nn.Module | None:
    """A copy with batch-norm folded, which has not run yet; None where there is nothing to fold."""
    if isinstance(model.module, torch.jit.ScriptModule):
        return _folded_script(model.module, keep_strided)
    return _folded_eager(model, example, keep_strided)


def _first_alike(model: LoadedModel, example: Tensor, *makers: Callable[[], nn.Module | None]) -> LoadedModel:
    """The model in the first form that can be made and gives its answers; as it is where there is none."""
    for make in makers:
        try:
            module = make()
        except Exception:
            # Whatever a network does that cannot be copied, followed or frozen, it can still be audited in another form.
            continue
        if module is not None and _same_answers(model, other := replace(model, module=module), example):
            return other
    return model


def fastest(model: LoadedModel, example: Tensor, *, keep_strided: bool) -> LoadedModel:
    """`folded`, and on the CPU with the weights of convolutions packed besides, wherever that changes nothing either."""

    def fold() -> nn.Module | None:
        return _folded(model, example, keep_strided)

    def pack() -> nn.Module | None:
        # Not of a script that has run: it would go on with the graph it has compiled.
        module = fold()
        if isinstance(module, torch.jit.ScriptModule):
            with _no_jit_warnings():
                return module if pack_script(module) else None
        module = copy.deepcopy(model.module) if module is None else module
        return module if pack_eager(module) else None

    return _first_alike(model, example, *((pack, fold) if can_pack(example) else (fold,)))


def compiled(model: LoadedModel, example: Tensor) -> LoadedModel:
    """`folded`, and compiled at the first run.

    Raises:
        InputError: the network is no eager module.
    """
    if isinstance(model.module, torch.jit.ScriptModule):
        raise InputError("--compile got a TorchScript model; torch.compile takes eager networks", hint="leave it out")
    fused = folded(model, example, keep_strided=False)
    module: Any = torch.compile(fused.module)
    return replace(fused, module=module)


def _same_answers(model: LoadedModel, other: LoadedModel, example: Tensor) -> bool:
    generator = torch.Generator().manual_seed(0)
    picture = torch.randn(example.shape, generator=generator).to(example.device)
    with torch.inference_mode():
        expected = model(picture)
        try:
            found = other(picture)
        except ModelError:
            return False
    scale = max(1.0, float(expected.abs().max()))
    return found.shape == expected.shape and float((found - expected).abs().max()) <= TOLERANCE * scale


# --- eager modules -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Pair:
    conv: str
    norm: str
    read: Tensor
    """The convolution's output."""


class _Reads(TorchDispatchMode):
    """Counts the calls that read each storage. Tensors are held, so that no storage is used twice."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.count: Counter[int] = Counter()
        self._held: list[Any] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        inputs = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        self.count.update({tensor.untyped_storage().data_ptr() for tensor in inputs})
        out = func(*args, **(kwargs or {}))
        self._held.append(out)
        return out

    def of(self, tensor: Tensor) -> int:
        return self.count[tensor.untyped_storage().data_ptr()]


def _folded_eager(model: LoadedModel, example: Tensor, keep_strided: bool) -> nn.Module | None:
    pairs = _pairs(model, example, keep_strided)
    if not pairs:
        return None
    module = copy.deepcopy(model.module)
    for conv, norm in pairs:
        layers: Any = (module.get_submodule(conv), module.get_submodule(norm))
        module.set_submodule(conv, fuse_conv_bn_eval(*layers))
        module.set_submodule(norm, nn.Identity())
    return module.to(memory_format=torch.channels_last)


def _pairs(model: LoadedModel, example: Tensor, keep_strided: bool) -> list[tuple[str, str]]:
    """Names of convolutions and the batch-norms that alone read them, each called once, as one run shows."""
    names = {layer: name for name, layer in model.module.named_modules() if _is_plain(layer)}
    calls: Counter[str] = Counter()
    made: dict[int, tuple[str, Tensor]] = {}
    pairs: list[_Pair] = []

    def left(layer: nn.Module, args: Any, out: Any) -> None:
        calls[names[layer]] += 1
        if isinstance(layer, nn.Conv2d):
            made[id(out)] = (names[layer], out)
        elif id(args[0]) in made:
            pairs.append(_Pair(made[id(args[0])][0], names[layer], args[0]))

    handles = [layer.register_forward_hook(left) for layer in names]
    reads = _Reads()
    try:
        with torch.inference_mode(), reads:
            model(example)
    finally:
        for handle in handles:
            handle.remove()
    strided = {name for layer, name in names.items() if isinstance(layer, nn.Conv2d) and max(layer.stride) > 1}
    return [
        (pair.conv, pair.norm)
        for pair in pairs
        if calls[pair.conv] == calls[pair.norm] == 1
        and reads.of(pair.read) == 1
        and not (keep_strided and pair.conv in strided)
    ]


def _is_plain(layer: nn.Module) -> bool:
    """An ordinary convolution or batch-norm with fixed statistics: no subclass, and no hooks that would be lost."""
    hooked = layer._forward_hooks or layer._forward_pre_hooks
    if type(layer) is nn.BatchNorm2d:
        return not hooked and not layer.training and layer.running_mean is not None
    return type(layer) is nn.Conv2d and not hooked


# --- TorchScript -------------------------------------------------------------------------------------------------------


def _folded_script(module: torch.jit.ScriptModule, keep_strided: bool) -> nn.Module:
    with _no_jit_warnings():
        frozen: nn.Module = torch.jit.freeze(module, optimize_numerics=False)
        graph: Any = frozen.graph
        held = 0
        if keep_strided:
            for conv in [*graph.findAllNodes("aten::conv2d"), *graph.findAllNodes("aten::_convolution")]:
                if _is_strided(conv):
                    # Folding leaves alone what has a second reader, so give it one for as long as folding takes.
                    graph.registerOutput(conv.output())
                    held += 1
        torch._C._jit_pass_fold_frozen_conv_bn(graph)
        for _ in range(held):
            graph.eraseOutput(len(list(graph.outputs())) - 1)
        torch._C._jit_pass_dce(graph)
    return frozen


def _is_strided(conv: Any) -> bool:
    stride = list(conv.inputs())[3].toIValue()
    return not isinstance(stride, list) or max(stride) > 1


@contextmanager
def _no_jit_warnings() -> Iterator[None]:
    with warnings.catch_warnings():
        # torch.jit is deprecated but is what people's files are.
        warnings.filterwarnings("ignore", message=r".*torch\.jit", category=FutureWarning)
        warnings.filterwarnings("ignore", message=r".*torch\.jit", category=DeprecationWarning)
        yield
