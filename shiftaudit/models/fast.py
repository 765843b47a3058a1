"""The same network in a form that runs faster: batch-norm folded into the convolution before it. For the audit only.

A batch-norm in eval mode is a scale and an offset a channel, which the convolution that feeds it can apply with its own weights
and bias. Nothing that is measured may change by that, so:
- the convolutions whose output is a feature map to be compared, the strided ones, keep their own values where stages are watched:
  a batch-norm that switches a channel off would leave nothing of it to compare;
- a pair is folded only where a run shows that nobody else reads the convolution's output;
- each form is tried on a random image, and thrown away unless its logits are the original's.
The model itself, its hash and its names are never touched: the folded network is a copy.

Which forms there are is decided by type before any of them runs. A frozen TorchScript module has no parameters left to tell
its type by, and handing float32 to the kernels of a half, bfloat16 or double one ends the process. So scripts have other forms
in float32 alone.
"""

from __future__ import annotations

import contextlib
import copy
import math
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from shiftaudit.errors import ModelError
from shiftaudit.models import LoadedModel
from shiftaudit.models.pack import can_pack, pack_eager, pack_script
from shiftaudit.models.torchscript import no_jit_warnings
from shiftaudit.stages.calls import tensors_in
from shiftaudit.stages.mode import Mode

TOLERANCE = 1e-5
"""Largest `difference` that is still the same network."""

T = TypeVar("T")


@dataclass(frozen=True)
class Followed:
    """One run of a network as it is, and what it says about other forms of it."""

    model: LoadedModel
    image: Tensor
    answers: Tensor
    """(1, classes)."""
    pairs: tuple[tuple[str, str], ...]
    """Names of convolutions and of the batch-norms that alone read them. Empty for scripts, whose graphs are folded instead."""

    def first_alike(
        self, run: Callable[[LoadedModel], tuple[Tensor, T]], *, keep_strided: bool, pack: bool
    ) -> tuple[LoadedModel, T] | None:
        """The fastest form that gives the network's answers, and what its run gave besides; None where there is none.

        Args:
            run: a form's answers to `image`, and whatever else is to be known of that run.
            keep_strided: leave strided convolutions alone, because their outputs are measured.
            pack: try packed weights too.
        """
        makers = [self._packed, self._folded] if pack and can_pack(self.image) else [self._folded]
        for make in makers:
            try:
                module = make(keep_strided)
            except Exception:
                # Whatever a network does that cannot be copied or frozen, it can still be audited in another form.
                continue
            if module is None:
                continue
            try:
                answers, seen = run(form := replace(self.model, module=module))
            except ModelError:
                continue
            if difference(answers, self.answers) <= TOLERANCE:
                return form, seen
        return None

    def _folded(self, keep_strided: bool) -> nn.Module | None:
        """A copy with batch-norm folded, which has not run yet; None where there is nothing to fold."""
        module: Any = self.model.module
        if isinstance(module, torch.jit.ScriptModule):
            return _folded_script(module, keep_strided) if _is_float32(module) else None
        pairs = [pair for pair in self.pairs if not (keep_strided and max(module.get_submodule(pair[0]).stride) > 1)]
        if not pairs:
            return None
        module = copy.deepcopy(module)
        for conv, norm in pairs:
            module.set_submodule(conv, fuse_conv_bn_eval(module.get_submodule(conv), module.get_submodule(norm)))
            module.set_submodule(norm, nn.Identity())
        order = torch.contiguous_format if self.model.channels_first else torch.channels_last
        folded: nn.Module = module.to(memory_format=order)
        return folded

    def _packed(self, keep_strided: bool) -> nn.Module | None:
        """`_folded` with the weights of convolutions packed; None where there is none to pack."""
        # Not of a script that has run: it would go on with the graph it has compiled.
        module = self._folded(keep_strided)
        if isinstance(self.model.module, torch.jit.ScriptModule):
            with no_jit_warnings():
                return module if module is not None and pack_script(module) else None
        module = copy.deepcopy(self.model.module) if module is None else module
        return module if pack_eager(module) else None


def difference(got: Tensor, wanted: Tensor) -> float:
    """The largest difference of logits, in units of the largest one wanted, or of 1; infinite where there are other classes."""
    if got.shape != wanted.shape:
        return math.inf
    return float((got - wanted).abs().max()) / max(1.0, float(wanted.abs().max()))


def random_image(example: Tensor) -> Tensor:
    """An image of the shape and device of `example`, the same at every call, to compare forms of a network on."""
    return torch.randn(example.shape, generator=torch.Generator().manual_seed(0)).to(example.device)


def answers_of(model: LoadedModel, image: Tensor) -> tuple[Tensor, None]:
    """A form's answers, for `Followed.first_alike`."""
    with torch.inference_mode():
        return model(image), None


def folded(model: LoadedModel, example: Tensor, *, keep_strided: bool) -> LoadedModel:
    """The model with batch-norm folded wherever that is certain to change nothing; the model itself where nothing can be folded.

    Args:
        model: eager or TorchScript; an exported program, which has no layers left, stays as it is.
        example: (1, C, S, S), whose shape and device the comparison takes.
        keep_strided: leave strided convolutions alone, because their outputs are measured.

    >>> from torch import nn
    >>> layers = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(144, 2))
    >>> model = LoadedModel.from_module(layers)
    >>> [type(layer).__name__ for layer in folded(model, torch.zeros(1, 3, 8, 8), keep_strided=True).module]
    ['Conv2d', 'Identity', 'Flatten', 'Linear']
    """
    image = random_image(example)
    found = follow(model, image).first_alike(
        lambda form: answers_of(form, image), keep_strided=keep_strided, pack=False
    )
    return found[0] if found else model


# --- eager modules -----------------------------------------------------------------------------------------------------


class _Reads(Mode):
    """Counts the calls that read each storage. Tensors are held, so that no storage is used twice."""

    def __init__(self) -> None:
        super().__init__()
        self._count: Counter[int] = Counter()
        self._held: list[Any] = []

    def handle(self, func: Any, args: Any, kwargs: Any) -> Any:
        inputs = tensors_in((args, kwargs))
        self._count.update({tensor.untyped_storage().data_ptr() for tensor in inputs if not tensor.is_mkldnn})
        out = func(*args, **kwargs)
        self._held.append(out)
        return out

    def of(self, tensor: Tensor) -> int:
        return self._count[tensor.untyped_storage().data_ptr()]


def follow(model: LoadedModel, image: Tensor) -> Followed:
    """Run a model once on an image (1, C, S, S), in inference mode, to learn its answers and which layers can be folded.

    Raises:
        ModelError: the model cannot run on it.
    """
    with torch.inference_mode():
        if isinstance(model.module, torch.jit.ScriptModule):
            return Followed(model, image, model(image), ())
        names = {layer: name for name, layer in model.module.named_modules() if _is_plain(layer)}
        calls: Counter[str] = Counter()
        made: dict[int, tuple[str, Tensor]] = {}
        pairs: list[tuple[str, str, Tensor]] = []

        def left(layer: nn.Module, args: Any, out: Any) -> None:
            calls[names[layer]] += 1
            if isinstance(layer, nn.Conv2d):
                made[id(out)] = (names[layer], out)
            elif args and id(args[0]) in made:
                pairs.append((made[id(args[0])][0], names[layer], args[0]))

        with contextlib.ExitStack() as hooks, _Reads() as reads:
            for layer in names:
                hooks.enter_context(layer.register_forward_hook(left))
            answers = model(image)
    alone = tuple((conv, norm) for conv, norm, read in pairs if calls[conv] == calls[norm] == 1 == reads.of(read))
    return Followed(model, image, answers, alone)


def _is_plain(layer: nn.Module) -> bool:
    """An ordinary convolution or batch-norm with fixed statistics: no subclass, and no hooks that would be lost."""
    hooked = layer._forward_hooks or layer._forward_pre_hooks
    if type(layer) is nn.BatchNorm2d:
        return not hooked and not layer.training and layer.running_mean is not None
    return type(layer) is nn.Conv2d and not hooked


# --- TorchScript -------------------------------------------------------------------------------------------------------


def _is_float32(module: torch.jit.ScriptModule) -> bool:
    """Whether all that a script computes with is float32."""
    tensors = [tensor for tensor in module.state_dict().values() if isinstance(tensor, Tensor)]
    return all(tensor.dtype == torch.float32 for tensor in tensors if tensor.is_floating_point())


def _folded_script(module: torch.jit.ScriptModule, keep_strided: bool) -> nn.Module:
    with no_jit_warnings():
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
