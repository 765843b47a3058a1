"""A refit from two networks and batches of images to a fitted copy: `fit_layers`."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from shiftaudit.errors import InputError, ModelError
from shiftaudit.records.refit import LayerRecord, LeftLayer, RefitSettings
from shiftaudit.stages.calls import tensors_in
from shiftaudit.surgery.refit.fuse import fused
from shiftaudit.surgery.refit.match import match_layers
from shiftaudit.surgery.refit.tape import Pass, Tape, record
from shiftaudit.surgery.refit.walk import Batches, Observer, Walk

_TOLERANCE = 1e-3
_LOOKED_AT = 4
"""Batches among which one image must show something."""


@dataclass(frozen=True, eq=False)
class Fitted:
    """A fitted copy, and what was done layer by layer."""

    module: nn.Module
    layers: tuple[LayerRecord, ...]
    unchanged: tuple[str, ...]
    left: tuple[LeftLayer, ...]


def fit_layers(
    patched: nn.Module,
    original: nn.Module,
    batches: Batches,
    settings: RefitSettings | None = None,
    observer: Observer | None = None,
) -> Fitted:
    """A copy of `patched` whose layers were fitted, in the order of execution, to what `original` computes.

    For each layer a ridge regression leads from what the copy's layer reads, with the errors made so far, to what is missing at
    its output. Both modules must be in eval mode; neither is changed.

    Args:
        patched: an eager module, a ScriptModule or an exported program's module.
        original: the module it was made from, of any of these forms, with the same state-dict keys.
        batches: normalised images (N, C, H, W), all batches of one N.
        settings: `crops`, `min_scale` and `roll` are for whoever makes the batches.
        observer: told the progress.

    Raises:
        InputError: no batches, or images that are all of one colour.
        ModelError: the modules are not the same but for the patch, or hold or compute numbers that are not finite.
    """
    settings = settings or RefitSettings()
    _check(batches)
    batches, tapes = _tapes((patched, original), batches)
    matches, left = match_layers(tapes[0], tapes[1], settings.layers)
    walk = Walk(tapes[0], tapes[1], matches, batches, settings)
    for _ in range(settings.sweeps):
        layers, unchanged = walk.go(observer or (lambda *_: None))
    return Fitted(with_parameters(patched, tapes[0].parameters), tuple(layers), tuple(unchanged), tuple(left))


def with_parameters(module: nn.Module, parameters: dict[str, Tensor]) -> nn.Module:
    """A copy of `module` that holds these values, by state-dict key."""
    with (
        torch.no_grad()
    ):  # with gradients the parameters of a copied ScriptModule would be results, which cannot be trained
        own = copy.deepcopy(module)
        for name, value in own.state_dict().items():
            if isinstance(value, Tensor):
                value.copy_(parameters[name])
    for ours, theirs in zip(own.parameters(), module.parameters(), strict=True):
        ours.requires_grad_(theirs.requires_grad)
    return own


def _check(batches: Batches) -> None:
    if not batches.count:
        raise InputError("a refit got no images", hint="point IMAGES at a folder of photographs")
    first = [batches.load(number).flatten(2) for number in range(min(batches.count, _LOOKED_AT))]
    if not any(bool((images.amax(-1) > images.amin(-1)).any()) for images in first):
        raise InputError("every image is of one colour, so there is nothing to fit", hint="give photographs")


def _tapes(modules: Sequence[nn.Module], batches: Batches) -> tuple[Batches, list[Tape]]:
    """The modules' tapes, and the batches in the layout they take: channels last where they can, which is faster."""
    channels_last = replace(
        batches, load=lambda number: batches.load(number).contiguous(memory_format=torch.channels_last)
    )
    try:
        return channels_last, [_tape(module, channels_last) for module in modules]
    except RuntimeError:  # a `view` that takes the layout for granted
        return batches, [_tape(module, batches) for module in modules]


def _tape(module: nn.Module, batches: Batches) -> Tape:
    """The tape of a module, checked on another batch than it was recorded on.

    Raises:
        ModelError: it computes something else than the module.
    """
    batch = batches.load(0)
    tape = fused(record(module, batch))
    if not all(bool(torch.isfinite(value).all()) for value in tape.parameters.values()):
        raise ModelError("the weights hold NaN or infinity", hint="start from a file with finite weights")
    if not tape.steps:
        raise ModelError("the network's output does not depend on its input")
    other = batches.load(1) if batches.count > 1 else batch
    with torch.inference_mode():
        expected = [tensor for tensor in tensors_in(module(other.clone())) if tensor.is_floating_point()]
    one_pass = Pass(tape, tape.start(other))
    one_pass.advance(len(tape.steps))
    if expected and not any(_close(expected[0], value) for value in one_pass.values.values()):
        raise ModelError("the network takes another way through its layers on other images, so it cannot be refitted")
    return tape


def _close(a: Tensor, b: Tensor) -> bool:
    if a.shape != b.shape:
        return False
    scale = float(a.abs().nan_to_num(0, 0, 0).max())
    return bool(torch.allclose(a, b, rtol=_TOLERANCE, atol=_TOLERANCE * scale, equal_nan=True))
